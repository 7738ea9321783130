"""Predictions for accelerators, beside what was measured on one."""

import json

import pytest

from benchmarks import model
from jaxdqn.settings import presets
from tests import program

H100 = model.ACCELERATORS["h100"]


def predict(preset, emulators=18_000.0, **changes):
    return model.predict(presets.resolve("Breakout", preset, changes), H100, emulators)


# On an H200, 2026-11-27; see docs/measurements.md.
@pytest.mark.parametrize(
    ("preset", "milliseconds"), [("atari", 0.303), ("atari_gpu", 0.471), ("atari_fast", 1.14)]
)
def test_updates_as_measured(preset, milliseconds):
    assert predict(preset)["update_ms"] == pytest.approx(milliseconds, rel=0.1)


def test_the_slowest_side_decides():
    slow, fast = predict("atari_fast", 1_000.0), predict("atari_fast", 1e9)
    assert (slow["bound_by"], fast["bound_by"]) == ("emulators", "device")
    assert slow["steps_per_second"] == pytest.approx(1_000.0)
    assert fast["steps_per_second"] == pytest.approx(128 / fast["turn_device_ms"] * 1e3)
    # A slice of four updates for 16 steps.
    host_s = H100.act_start_s + H100.slice_start_s + H100.turn_s
    assert fast["turn_host_ms"] == pytest.approx(1e3 * host_s)
    host = predict("atari", 1e9, steps_per_update=64, updates_per_slice=1)
    quarter_s = H100.act_start_s + H100.slice_start_s / 4 + H100.turn_s
    assert host["bound_by"] == "host" and host["turn_host_ms"] == pytest.approx(1e3 * quarter_s)


def test_more_samples_take_longer_but_not_more_launches():
    one, two = predict("atari"), predict("atari", batch_size=64)
    assert one["update_launches_ms"] == two["update_launches_ms"]
    assert two["update_gflop"] == pytest.approx(2 * one["update_gflop"])
    assert one["update_memory_ms"] < two["update_memory_ms"] < 2 * one["update_memory_ms"]


def test_devices_are_known_by_their_kind():
    assert model.of_device("NVIDIA H200") is H100
    assert model.of_device("NVIDIA H100 80GB HBM3") is H100
    assert model.of_device("TPU v5 lite") is model.ACCELERATORS["v5e"]
    assert model.of_device("cpu") is None


def test_the_table(tmp_path):
    flags = ("--emulators_steps_per_second=1000", f"--out={tmp_path}")
    result = program.run("model", *flags, package="benchmarks", cwd=program.ROOT)
    assert result.returncode == 0, result.stderr
    (path,) = tmp_path.iterdir()
    told = json.loads(path.read_text())["predictions"]
    assert told["h100 atari_fast"]["steps_per_second"] == pytest.approx(1_000)
    assert "| v5e    | rainbow    |" in result.stdout
