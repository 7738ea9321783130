"""The films of a run."""

from jaxdqn.rundir import run_films


def test_films_after_the_step_of_a_resume_go(tmp_path):
    run_films.drop_after(tmp_path, 0)  # a run that has no films yet
    (tmp_path / "videos").mkdir()
    for name in ("100.mp4", "200.mp4", "300.mp4", "1000.mp4", "best.mp4", "300.gif"):
        (tmp_path / "videos" / name).write_bytes(b"film")
    run_films.drop_after(tmp_path, 200)
    left = sorted(path.name for path in (tmp_path / "videos").iterdir())
    assert left == ["100.mp4", "200.mp4", "300.gif", "best.mp4"]
