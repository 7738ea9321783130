"""Benchmarks run and count what they say; how fast anything is decides no test."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from benchmarks import clock, flops, report, suite
from jaxdqn import presets
from jaxdqn.envs import envpool
from tests import program

ROOT = pathlib.Path(__file__).parent.parent


def benchmark(module, *flags):
    return program.run(module, *flags, package="benchmarks", cwd=ROOT)


def test_flops_of_a_product_and_a_convolution():
    def function(a, b, image, kernel):
        product = jax.jit(jnp.matmul)(a, b)
        return product, jax.lax.conv_general_dilated(image, kernel, (2, 2), "VALID")

    args = jnp.ones((3, 5)), jnp.ones((5, 7)), jnp.ones((1, 2, 9, 9)), jnp.ones((4, 2, 3, 3))
    assert flops.of_products(function, *args) == [2 * 3 * 5 * 7, 2 * (4 * 4 * 4) * (2 * 3 * 3)]


@pytest.mark.parametrize(("double_q", "passes"), [(True, 3), (False, 2)])
def test_flops_of_an_update_of_the_nature_network(double_q, passes):
    config = presets.resolve("Breakout", "", {"double_q": double_q})
    conv1 = 2 * 32 * 20 * 20 * 32 * (8 * 8 * 4)
    conv2 = 2 * 32 * 9 * 9 * 64 * (4 * 4 * 32)
    conv3 = 2 * 32 * 7 * 7 * 64 * (3 * 3 * 64)
    forward = conv1 + conv2 + conv3 + 2 * 32 * (3136 * 512 + 512 * 4)
    spec = envpool.describe(config.env, config.env_options)
    assert flops.of_update(config, spec) == (passes + 2) * forward - conv1


def test_the_first_round_does_not_count():
    values = iter(range(8))
    taken = clock.interleaved({"a": lambda: next(values), "b": lambda: next(values)}, rounds=3)
    assert taken == {"a": [2, 4, 6], "b": [3, 5, 7]}
    assert clock.Rate.of(taken["b"]) == (5, 3, 7, 3)


def test_a_table():
    shown = report.table(("what", "value"), [("speed", 12345.6), ("share", 0.98765), ("count", 2)])
    assert shown.splitlines() == [
        "| what  | value  |",
        "|-------|--------|",
        "| speed | 12,346 |",
        "| share | 0.988  |",
        "| count | 2      |",
    ]


def test_throughput(tmp_path):
    flags = ("--env=CartPole", "--rounds=2", "--seconds=0.3", f"--out={tmp_path}")
    result = benchmark("throughput", *flags)
    assert result.returncode == 0, result.stderr
    (path,) = tmp_path.iterdir()
    told = json.loads(path.read_text())
    assert told["command"] == f"python -m benchmarks.throughput {' '.join(flags)}"
    assert told["hardware"]["cores"] and told["versions"]["jax"] == jax.__version__
    assert told["samples_per_step"] == pytest.approx(32, rel=0.05)  # 64 every 2 steps
    training = told["rates"]["training"]["median"]
    assert told["share_of_bound"] == pytest.approx(training / told["bound_steps_per_second"])
    assert told["update_ms"] * told["samples_per_second"] == pytest.approx(64 * 1e3)
    assert told["rates"]["training"]["rounds"] == 2
    assert "training_steps_per_second" in result.stdout


def test_throughput_refuses_what_training_refuses(tmp_path):
    result = benchmark("throughput", "--env=CartPole", "--frame_skip=4", f"--out={tmp_path}")
    assert result.returncode == 2 and "--frame_skip" in result.stderr
    assert not list(tmp_path.iterdir())


def test_replay(tmp_path):
    result = benchmark("replay", "--replay_capacity=1600", "--rounds=1", f"--out={tmp_path}")
    assert result.returncode == 0, result.stderr
    (path,) = tmp_path.iterdir()
    sizes = json.loads(path.read_text())["bytes"]
    assert sizes["flashbax"] == pytest.approx(sizes["jaxdqn"], rel=0.01)
    assert sizes["flashbax, stacked"] == pytest.approx(4 * sizes["jaxdqn"], rel=0.01)


def test_startup(tmp_path):
    result = benchmark("startup", "--env=Catch", "--rounds=1", f"--out={tmp_path}")
    assert result.returncode == 0, result.stderr
    (path,) = tmp_path.iterdir()
    assert {"cold", "warm"} == set(json.loads(path.read_text())["seconds"])


def test_scaling(tmp_path):
    flags = ("--env=CartPole", "--rounds=1", "--seconds=0.1", "--sweeps=num_envs", "--only=2,8")
    result = benchmark("scaling", *flags, f"--out={tmp_path}")
    assert result.returncode == 0, result.stderr
    (path,) = tmp_path.glob("*.json")
    points = json.loads(path.read_text())["points"]
    assert [point["settings"]["num_envs"] for point in points] == [2, 8]
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_the_suite_joins_what_its_pieces_left(tmp_path, monkeypatch):
    """One that fails and one that leaves nothing make it fail, and what is there is reported."""
    result = {"benchmark": "b", "command": "c", "table": ["| speed |"], "date": "2000-01-01"}
    result |= {"hardware": {"cpu": "Abacus", "cores": 1, "devices": ["cpu"]}, "versions": {}}
    write = f"import pathlib, sys; pathlib.Path(sys.argv[1], 'b.json').write_text({result!r})"
    write = write.replace(repr(result), repr(json.dumps(result)))
    programs = {"good": write, "late": f"{write}; sys.exit(3)", "bad": "raise SystemExit(4)"}
    monkeypatch.setattr(suite, "_PIECES", {name: [name] for name in programs})
    popen = subprocess.Popen

    def started(command, **options):
        program = programs[command[2].removeprefix("benchmarks.")]
        return popen([sys.executable, "-c", program, command[-1].removeprefix("--out=")], **options)

    monkeypatch.setattr(subprocess, "Popen", started)
    outcomes = {name: suite._run(name, tmp_path) for name in programs}
    folder = tmp_path / "1core-abacus_2000-01-01"
    assert outcomes == {"good": (folder, True), "late": (folder, False), "bad": (None, False)}
    suite._report(folder)
    text = (folder / "report.md").read_text()
    assert "## good\n" in text and "## late (incomplete: code 3)\n" in text and "bad" not in text
    assert list(json.loads((folder / "report.json").read_text())) == ["good", "late"]


def test_collectives_of_two_processes(tmp_path):
    launch = ("--processes=2", "--devices=cpu", "--module=benchmarks.collectives", "--")
    flags = ("--env=CartPole", "--rounds=2", f"--out={tmp_path}")
    result = program.run("local", *launch, *flags, package="launch", cwd=ROOT)
    assert result.returncode == 0, result.stdout
    (path,) = tmp_path.iterdir()
    told = json.loads(path.read_text())
    assert told["processes"] == told["devices"] == 2
    assert told["gradient_bytes"] == 4 * 67_586
    assert told["note_bytes"] == 2 * 16 * 6 * 4
    assert told["gradient_mean_us"] > 0 and len(told["note_gather_us_rounds"]) == 2


def test_scaling_over_devices(tmp_path):
    """Counts that the machine does not have are left out."""
    flags = ("--over=devices", "--counts=1,2,1000", "--on=cpu", "--env=CartPole", "--rounds=1")
    flags += ("--num_envs=8", "--replay_capacity=8000", "--total_steps=1000", f"--out={tmp_path}")
    result = benchmark("parallel", *flags)
    assert result.returncode == 0, result.stderr
    assert "devices 1,000: not here" in result.stdout
    (path,) = tmp_path.glob("*.json")
    told = json.loads(path.read_text())
    assert told["hardware"]["cores"] == len(os.sched_getaffinity(0))
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    points = {(each["scaling"], each["workers"]): each for each in told["points"]}
    assert list(points) == [("strong", 1), ("strong", 2), ("weak", 1), ("weak", 2)]
    alone = points["strong", 1]
    assert alone["share_of_ideal"] == points["weak", 1]["share_of_ideal"] == 1
    assert alone["bytes_per_update"] == alone["mean_of_gradients_share"] == 0
    for (scaling, workers), each in points.items():
        assert each["samples_per_second"] == pytest.approx(32 * each["steps_per_second"])
        ideal = workers * alone["steps_per_second"]
        assert each["share_of_ideal"] == pytest.approx(each["steps_per_second"] / ideal)
        assert each["settings"]["num_envs"] == 8 * (workers if scaling == "weak" else 1)
        assert len(each["hardware"]["devices"]) == workers
    assert points["weak", 2]["bytes_per_update"] == 4 * 67_586


def test_counts_to_compare_begin_with_one(tmp_path):
    result = benchmark("parallel", "--counts=2,4", f"--out={tmp_path}")
    assert result.returncode == 2 and "--counts: begin with 1" in result.stderr
