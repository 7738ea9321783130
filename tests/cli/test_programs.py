"""The programs for trained agents, as their users see them."""

import json
import shutil

import pytest

from tests import program, saved


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return saved.make_run(tmp_path_factory.mktemp("saved") / "run", changes=saved.TINY)


def test_evaluate_scores_a_run(run):
    before = saved.listing(run)
    result = program.run("evaluate", f"--run_dir={run}", "--episodes=4", "--checkpoint=best")
    assert result.returncode == 0, result.stderr
    assert "step 20 of" in result.stdout and "nature: 5% random actions" in result.stdout
    assert "4 on 4 environments, seed 0" in result.stdout
    assert "of the way from random play (1.7) to a human tester (30.5)" in result.stdout
    told = program.run(
        *("evaluate", f"--run_dir={run}", "--episodes=4", "--json", "--protocol=greedy")
    )
    assert told.returncode == 0 and told.stderr == ""
    assert len(json.loads(told.stdout)["returns"]) == 4
    assert saved.listing(run) == before


def test_record_films_a_run_and_random_play(run, tmp_path):
    result = program.run(
        "record", f"--run_dir={run}", f"--out={tmp_path / 'play.mp4'}", "--overlay"
    )
    assert result.returncode == 0 and result.stderr == "", result.stderr
    assert "15 frames per second" in result.stdout
    (tmp_path / "bare").mkdir()
    shutil.copy(run / "config.json", tmp_path / "bare")
    result = program.run(
        *("record", f"--run_dir={tmp_path / 'bare'}", f"--out={tmp_path / 'play.gif'}", "--random")
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "play.gif").read_bytes()[:6] == b"GIF89a"


def test_export_says_what_it_checked(run, tmp_path):
    flags = ("export", f"--run_dir={run}", "--format=safetensors", f"--out={tmp_path / 'out'}")
    result = program.run(*flags)
    assert result.returncode == 0, result.stderr
    assert "256 actions equal" in result.stdout
    assert program.run(*flags, "--overwrite").returncode == 0


def cut_files(run):
    for file in (run / "checkpoints" / "30" / "learner" / "d").iterdir():
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def change_shapes(run):
    stored = json.loads((run / "config.json").read_text())
    stored["settings"]["hidden_sizes"] = [3]
    (run / "config.json").write_text(json.dumps(stored))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut_files, "differs from what was written"),
        (change_shapes, "cannot be read: parameter"),
        (change_shapes, "has shape (4,); the settings need (3,)"),
    ],
)
def test_a_checkpoint_that_cannot_be_used_is_named(run, tmp_path, damage, message):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    damage(copy)
    result = program.run("evaluate", f"--run_dir={copy}", "--episodes=1")
    assert result.returncode == 1 and result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ") and "/checkpoints/30" in line and message in line
