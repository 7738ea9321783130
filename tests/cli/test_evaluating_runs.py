"""`evaluate --runs` scores several runs in one call."""

import json

from tests import program, saved

FLAGS = ("--episodes=2", "--protocol=run")


def test_runs_are_scored_one_after_the_other(tmp_path):
    for seed in range(2):
        saved.make_run(tmp_path / f"run{seed}", changes={**saved.TINY, "seed": seed})
    (tmp_path / "other").mkdir()
    runs = f"--runs={tmp_path}/run*,{tmp_path}/other"

    result = program.run("evaluate", runs, *FLAGS)
    assert result.returncode == 1
    assert result.stderr == f"error: --run_dir: {tmp_path}/other holds no run\n"
    one, two, empty, mean = result.stdout.splitlines()
    for line, seed in ((one, 0), (two, 1)):
        assert line.startswith(f"{tmp_path}/run{seed}: step 30, run, 2 games, mean return ")
        assert line.endswith("of a human tester")
    assert empty == "" and mean.startswith("Breakout, laptop: 2 runs, mean return ")

    result = program.run("evaluate", f"--runs={tmp_path}/run*", "--json", "--checkpoint=20", *FLAGS)
    assert result.returncode == 0 and result.stderr == ""
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [each["run_dir"] for each in found] == [f"{tmp_path}/run{seed}" for seed in range(2)]
    alone = program.run(
        "evaluate", f"--run_dir={tmp_path}/run1", "--json", "--checkpoint=20", *FLAGS
    )
    assert json.loads(alone.stdout) == found[1]
