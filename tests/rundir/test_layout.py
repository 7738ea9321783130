import contextlib
import dataclasses
import errno
import json
import pathlib
import re

import pytest

from jaxdqn import errors
from jaxdqn.rundir import layout
from jaxdqn.settings import presets
from jaxdqn.storage import atomic_files

CONFIG = presets.resolve("CartPole", "classic", {})


def stored(config):
    return json.loads(json.dumps(dataclasses.asdict(config)))


def test_a_run_older_than_a_setting_goes_on():
    settings = stored(CONFIG)
    del settings["compute_dtype"]
    layout.check_same(pathlib.Path("run"), settings, CONFIG, steps_done=0)


def test_a_run_with_a_setting_that_is_refused_now_goes_on():
    config = presets.resolve("CartPole", "classic_pqn", {})
    begun = stored(config) | {"learning_starts_steps": 30_000}
    layout.check_same(pathlib.Path("run"), begun, config, steps_done=0)


def test_a_setting_that_differs_is_named():
    settings = stored(CONFIG) | {"seed": 3}
    with pytest.raises(errors.SettingError, match=r"--seed=0 \(the run has 3\)"):
        layout.check_same(pathlib.Path("run"), settings, CONFIG, steps_done=0)


def test_of_another_preset_its_name_is_told_alone():
    other = presets.resolve("CartPole", "cartpole", {})
    with pytest.raises(
        errors.SettingError, match=r"settings: --preset=\w+ \(the run has \w+\); use"
    ):
        layout.check_same(pathlib.Path("run"), stored(other), CONFIG, steps_done=0)


@pytest.mark.parametrize(
    ("env", "preset", "told"),
    [
        ("CartPole", "", "--env=CartPole-v1 (the run has Breakout-v5)"),
        ("Breakout", "atari", "--preset=atari (the run has laptop)"),
    ],
)
def test_what_does_not_follow_from_another_setting_is_told_too(env, preset, told):
    begun = presets.resolve("Breakout", "", {})
    config = presets.resolve(env, preset, {"seed": 5, "target_tau": 0.5})
    told += ", --seed=5 (the run has 0), --target_tau=0.5 (the run has 0.05); use"
    with pytest.raises(errors.SettingError, match=re.escape(f"settings: {told}")):
        layout.check_same(pathlib.Path("run"), stored(begun), config, steps_done=0)


LINEAR = {"learning_rate_end": 0.0}  # over all steps
PRIORITIZED = {"sampler": "prioritized", "importance_start": 0.4}


@pytest.mark.parametrize(
    ("changes", "total_steps", "refused"),
    [
        ({}, 60_000, ""),
        ({}, 40_000, ""),
        ({}, 39_999, "; 40,000 are done"),
        (LINEAR, 60_000, "; --total_steps cannot change: --learning_rate_end is reached"),
        (LINEAR | {"learning_rate_decay_steps": 9}, 60_000, ""),
        (LINEAR | {"learning_rate_end": 3e-3}, 60_000, ""),  # that of the start
        (PRIORITIZED, 60_000, "; --total_steps cannot change: --importance_end is reached"),
        (PRIORITIZED | {"importance_end": 0.4}, 60_000, ""),
    ],
)
def test_a_run_gets_another_end_unless_a_schedule_spans_it(changes, total_steps, refused):
    begun = presets.resolve("CartPole", "classic", {"learning_rate_end": None, **changes})
    config = dataclasses.replace(begun, total_steps=total_steps)
    told = re.escape(f"--total_steps={total_steps} (the run has 50000){refused}")
    with pytest.raises(errors.SettingError, match=told) if refused else contextlib.nullcontext():
        layout.check_same(pathlib.Path("run"), stored(begun), config, steps_done=40_000)


def test_an_overwrite_that_is_cut_off_leaves_nothing_to_resume(tmp_path, monkeypatch):
    path = tmp_path / "run"
    layout.create(path, CONFIG)
    for step in (100, 200):
        (path / "checkpoints" / str(step)).mkdir(parents=True)
    (path / "notes.txt").touch()  # somebody's own

    def cut_off(file):
        if file.exists():
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(atomic_files, "discard", cut_off)
        with pytest.raises(KeyboardInterrupt):
            layout.clear(path)
    assert layout.read_settings(path) and not (path / "checkpoints").exists()
    layout.clear(path)
    assert [part.name for part in path.iterdir()] == ["notes.txt"]


def test_an_overwrite_that_cannot_delete_something_names_it(tmp_path, monkeypatch):
    """Of the old run only the settings are left, so the next start is no resume of it."""
    path = tmp_path / "run"
    layout.create(path, CONFIG)
    for name in ("checkpoints/100", "replay/1", "videos"):
        (path / name).mkdir(parents=True)
    (path / "metrics.jsonl").touch()
    discard = atomic_files.discard

    def held(part):
        if part.name == "replay":
            raise OSError(errno.ENOTEMPTY, "Directory not empty")
        discard(part)

    with monkeypatch.context() as patch:
        patch.setattr(atomic_files, "discard", held)
        with pytest.raises(errors.RunError, match=r"run/replay cannot be deleted: Directory not"):
            layout.clear(path)
    assert {part.name for part in path.iterdir()} == {"config.json", "replay"}
    layout.clear(path)
    assert not list(path.iterdir())
