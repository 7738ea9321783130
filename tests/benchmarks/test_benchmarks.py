"""Benchmarks run and count what they say; how fast anything is decides no test."""

import json
import os
import shlex
import shutil
import sys
import venv

import jax
import jax.numpy as jnp
import pytest

from benchmarks import classic, clock, flops, report
from jaxdqn import errors
from jaxdqn.envs import registry
from jaxdqn.settings import presets
from tests import program

ROOT = program.ROOT


def benchmark(module, *flags, **how):
    return program.run(module, *flags, package="benchmarks", cwd=ROOT, **how)


# Command lines that are refused, with what they are told.
WRONG = [
    ("cartpole --variants=dqn,ddqn", "--variants: has ddqn; must be of double_dqn, dqn, dueling"),
    ("classic --games=Acrobot", "--games=Acrobot"),
    ("classic --peer_seeds=1 --peer_python=sbx=FILE", "--peer_python: is 'sbx=FILE'"),
    ("classic --seeds=0", "--seeds=0"),
    ("collectives --env=CartPole --out=FILE", "--out: FILE cannot be written: File exists"),
    ("collectives --rounds=-1", "--rounds=-1"),
    ("endurance --out=FILE", "--out: FILE cannot be written: File exists"),
    ("endurance --kills=-1", "--kills=-1"),
    ("endurance --longest_life_s=0", "--longest_life_s=0"),
    ("family --presets=atari", "--presets: has atari; must be of nature_dqn, double_dqn"),
    ("parallel --out=FILE", "--out: FILE cannot be written: File exists"),
    ("parallel --counts=2,4", "--counts: begin with 1"),
    ("parallel --counts=1,0", "--counts: is [1, 0]; must be different numbers"),
    ("parallel --env=Breakot", "nearest: Breakout"),
    ("parallel --rounds=0", "--rounds=0"),
    ("peers --out=FILE", "--out: FILE cannot be written: File exists"),
    ("peers --peers_dir=FILE", "--peers_dir: FILE cannot be written: File exists"),
    ("peers --env=CartPole", "--env: is CartPole; the peers only play Atari games"),
    ("peers --peers=dopamine", "--peers=dopamine"),
    ("peers --peer_python=sbx=FILE", "--peer_python: is 'sbx=FILE'; must be a peer"),
    ("peers --seconds=0", "--seconds=0"),
    ("peers --rounds=0", "--rounds=0"),
    ("replay --out=FILE/below", "--out: FILE/below cannot be written: Not a directory"),
    ("replay --rounds=0", "--rounds=0"),
    ("scaling --out=FILE", "--out: FILE cannot be written: File exists"),
    ("scaling --only=3", "--only: is 3; the sweep of num_envs has 2, 8, 16"),
    ("scaling --sweeps=devices --only=2", "--only: begin with 1"),
    ("scaling --sweeps=colours", "--sweeps=colours"),
    ("scaling --replay_capacity=-1", "--replay_capacity: is -1"),
    ("scaling --seconds=-1", "--seconds=-1"),
    ("startup --env=Catch --out=FILE", "--out: FILE cannot be written: File exists"),
    ("startup --rounds=0", "--rounds=0"),
    ("suite --out=FILE", "--out: FILE cannot be written: File exists"),
    ("suite --pieces=everything", "--pieces=everything"),
    ("suite -- --out=elsewhere", "--out: must be given before --"),
    ("time_to_score --variants=fast", "--variants: has fast; must be of atari"),
    ("time_to_score --games=Pong --games=Pongg", "nearest: Pong"),
    ("time_to_score --cleanrl_files=none.py", "--cleanrl_files: has"),
    ("time_to_score --runs_dir=FILE", "--runs_dir: FILE cannot be written: File exists"),
    ("time_to_score --minutes=0", "--minutes=0"),
    ("time_to_score --rate_rounds=1 --rate_minutes=0", "--rate_minutes=0"),
    ("turn --preset=classic_pqn", "--algorithm: is pqn; only updates from a replay"),
    ("turn --rounds=0", "--rounds=0"),
    ("throughput --env=CartPole --out=FILE", "--out: FILE cannot be written: File exists"),
    ("throughput --seconds=nan", "--seconds=nan: must be a finite number"),
    ("throughput --rounds=0", "--rounds=0"),
    ("throughput --env=CartPole --frame_skip=4", "--frame_skip"),
]


def test_wrong_usage_is_refused_in_one_line_before_anything_is_measured(tmp_path):
    file = tmp_path / "file"
    file.touch()
    for line, told in WRONG:
        module, *flags = shlex.split(line.replace("FILE", str(file)))
        if not any("out=" in flag for flag in flags):
            flags.insert(0, f"--out={tmp_path}")
        result = benchmark(module, *flags)
        assert result.returncode == 2 and result.stdout == "", line
        assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1, line
        assert told.replace("FILE", str(file)) in result.stderr, line
    assert list(tmp_path.iterdir()) == [file]


def test_flops_of_a_product_and_a_convolution():
    def function(a, b, image, kernel):
        product = jax.jit(jnp.matmul)(a, b)
        return product, jax.lax.conv_general_dilated(image, kernel, (2, 2), "VALID")

    args = jnp.ones((3, 5)), jnp.ones((5, 7)), jnp.ones((1, 2, 9, 9)), jnp.ones((4, 2, 3, 3))
    assert flops.of_products(function, *args) == [2 * 3 * 5 * 7, 2 * (4 * 4 * 4) * (2 * 3 * 3)]


@pytest.mark.parametrize(("double_q", "passes"), [(True, 3), (False, 2)])
def test_flops_of_an_update_of_the_nature_network(double_q, passes):
    config = presets.resolve("Breakout", "atari", {"double_q": double_q})
    conv1 = 2 * 32 * 20 * 20 * 32 * (8 * 8 * 4)
    conv2 = 2 * 32 * 9 * 9 * 64 * (4 * 4 * 32)
    conv3 = 2 * 32 * 7 * 7 * 64 * (3 * 3 * 64)
    forward = conv1 + conv2 + conv3 + 2 * 32 * (3136 * 512 + 512 * 4)
    spec = registry.describe(config.env, config.env_options)
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
    flags = (
        "--env=CartPole",
        "--preset=classic",
        "--rounds=2",
        "--seconds=0.3",
        f"--out={tmp_path}",
    )
    result = benchmark("throughput", *flags)
    assert result.returncode == 0, result.stderr
    (path,) = tmp_path.iterdir()
    told = json.loads(path.read_text())
    assert told["command"] == f"python -m benchmarks.throughput {' '.join(flags)}"
    assert told["hardware"]["cores"] and told["versions"]["jax"] == jax.__version__
    # 64 every 2 steps; a busy machine has few turns, and its updates are one turn before or behind.
    assert told["samples_per_step"] == pytest.approx(32, rel=0.25)
    training = told["rates"]["training"]["median"]
    assert told["share_of_bound"] == pytest.approx(training / told["bound_steps_per_second"])
    assert told["update_ms"] * told["samples_per_second"] == pytest.approx(64 * 1e3)
    assert told["rates"]["training"]["rounds"] == 2
    assert "training_steps_per_second" in result.stdout


def test_startup(tmp_path):
    result = benchmark("startup", "--env=Catch", "--rounds=1", f"--out={tmp_path}")
    assert result.returncode == 0, result.stderr
    (path,) = tmp_path.iterdir()
    assert {"cold", "warm"} == set(json.loads(path.read_text())["seconds"])


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    """Short forms of some pieces, in two calls: (their folder, one result for each call)."""
    out = tmp_path_factory.mktemp("suite")
    # One that ends well.
    replay = ("--pieces=replay", f"--out={out}", "--", "--replay_capacity=1600", "--rounds=1")
    # One that fails when it has left something, and one that leaves nothing.
    scaling = ("--pieces=scaling-num_envs", "--pieces=scaling-batch_size", f"--out={out}", "--")
    scaling += (
        "--env=CartPole",
        "--preset=cartpole",
        "--rounds=1",
        "--seconds=0.1",
        "--only=1,2,8",
    )
    scaling += ("--sweeps=processes", "--", "--no_such_flag")
    results = [benchmark("suite", *flags) for flags in (replay, scaling)]
    (folder,) = out.iterdir()
    return folder, *results


def test_the_suite_joins_what_its_pieces_left(suite):
    folder, replay, scaling = suite
    assert replay.returncode == 0, replay.stderr
    assert "== replay: done" in replay.stdout
    assert scaling.returncode == 1
    assert "== scaling-num_envs: code 1" in scaling.stdout and "no_such_flag" in scaling.stderr
    assert "== scaling-batch_size: code 2" in scaling.stdout
    assert list(json.loads((folder / "report.json").read_text())) == ["scaling-num_envs", "replay"]
    text = (folder / "report.md").read_text()
    assert "## replay\n" in text and "## scaling-num_envs (incomplete: code 1)\n" in text
    assert "batch_size\n" not in text


def test_replay(suite):
    (path,) = (suite[0] / "replay").iterdir()
    sizes = json.loads(path.read_text())["bytes"]
    assert sizes["flashbax"] == pytest.approx(sizes["jaxdqn"], rel=0.01)
    assert sizes["flashbax, stacked"] == pytest.approx(4 * sizes["jaxdqn"], rel=0.01)


def test_scaling(suite):
    (path,) = (suite[0] / "scaling-num_envs").glob("*.json")
    points = json.loads(path.read_text())["points"]
    assert [point["settings"]["num_envs"] for point in points] == [2, 8]
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_collectives_of_two_processes(tmp_path):
    launch = ("--processes=2", "--devices=cpu", "--module=benchmarks.collectives", "--")
    flags = ("--env=CartPole", "--preset=classic", "--rounds=2", f"--out={tmp_path}")
    result = program.run("local", *launch, *flags, package="launch", cwd=ROOT)
    assert result.returncode == 0, result.stdout
    (path,) = tmp_path.iterdir()
    told = json.loads(path.read_text())
    assert told["processes"] == told["devices"] == 2
    assert told["gradient_bytes"] == 4 * 67_586
    assert told["note_bytes"] == 2 * 16 * 7 * 4
    assert told["gradient_mean_us"] > 0 and len(told["note_gather_us_rounds"]) == 2


def test_scaling_over_devices(tmp_path):
    """Counts that the machine does not have are left out."""
    flags = (
        "--over=devices",
        "--counts=1,2,1000",
        "--on=cpu",
        "--env=CartPole",
        "--preset=classic",
        "--rounds=1",
    )
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


def test_one_worker_that_cannot_be_measured_ends_a_comparison(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    result = benchmark("parallel", "--on=gpu", "--counts=1", f"--out={tmp_path}")
    assert result.returncode == 1 and not list(tmp_path.iterdir())
    assert "launch.local failed with code 2: error: --devices_per_process: is 1" in result.stderr
    assert result.stderr.count("\n") == 1


def make_peers(folder):
    """A Python with stand-ins for the packages of the peers."""
    venv.create(folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    for name in ("ale_py", "gymnasium", "stable_baselines3", "sbx"):
        shutil.copy(ROOT / "tests" / "peer_library.py", packages / f"{name}.py")
    return folder / "bin" / "python"


# Trains jaxdqn once for all rounds.
TRAIN_ONCE = """
import functools
from benchmarks import peer_training
peer_training.jaxdqn = functools.cache(peer_training.jaxdqn)
"""


def test_peers(tmp_path):
    """From the search to the table, with a peer and arrangements that cannot be measured."""
    python = make_peers(tmp_path / "peers")
    flags = ("--rounds=1", "--seconds=2", "--steps=400", f"--out={tmp_path / 'out'}")
    flags += tuple(f"--peer_python={name}={python}" for name in ("stable_baselines3", "sbx"))
    result = benchmark("peers", *flags, driver=TRAIN_ONCE)
    assert result.returncode == 0, result.stderr
    (path,) = (tmp_path / "out").iterdir()
    told = json.loads(path.read_text())
    # What `peer_library.SPEEDS` says. That with one environment ends after the last update's steps,
    # and that with 16 is measured over a longer time.
    speeds = {"1 environments": 49, "8 environments": 32, "16 environments": 128}
    speeds |= {"16 environments in processes": 64, "32 environments in processes": 64}
    sbx = speeds | {"32 environments": 512}
    assert told["search"] == {"stable_baselines3": pytest.approx(speeds), "sbx": pytest.approx(sbx)}
    failed = "peer_dqn.py failed with code 1: "
    short = "trained on 0.00 samples per step, not 8, even over 4 times the window"
    crashed = f"{failed}OSError: no room for so many processes"
    assert told["left_out"] == {
        "stable_baselines3, 32 environments": short,
        "stable_baselines3, 8 environments in processes": crashed,
        "sbx, 8 environments in processes": crashed,
        "sbx, after 0 rounds": f"{failed}RuntimeError: sbx stops here, as the rounds begin",
    }
    rates, ratios = told["rates"], told["ratios"]
    assert set(rates) == {"jaxdqn", "stable_baselines3"} and set(ratios) == {"stable_baselines3"}
    assert rates["stable_baselines3"] == {"median": 128, "lowest": 128, "highest": 128, "rounds": 1}
    assert rates["jaxdqn"]["rounds"] == 1
    ratio = rates["jaxdqn"]["median"] / 128
    assert ratios["stable_baselines3"]["median"] == pytest.approx(ratio)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in told["table"]]
    assert ["stable_baselines3", "16 environments", "128", f"{ratio:.2f} times"] in rows
    assert ["sbx", "32 environments", "-", ""] in rows
    shown = "\n".join(told["table"])
    assert "- sbx, after 0 rounds: peer_dqn.py failed" in shown and shown in result.stdout


def test_peers_without_a_peer(tmp_path, monkeypatch):
    for name in ("FIND_LINKS", "EXTRA_INDEX_URL", "CONSTRAINT"):
        monkeypatch.delenv(f"PIP_{name}", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    out = tmp_path / "out"
    result = benchmark("peers", "--peers=sbx", f"--peers_dir={tmp_path / 'made'}", f"--out={out}")
    assert result.returncode == 1 and not list(out.iterdir())
    assert result.stderr.startswith("error: no peer is left: sbx: pip failed with code 1: ERROR: ")
    assert "torch==2.13.0" in result.stderr and result.stderr.count("\n") == 1


def test_family(tmp_path):
    result = benchmark(
        "family", "--presets=qr_dqn,pqn", "--batch_size=2", "--rounds=1", f"--out={tmp_path}"
    )
    assert result.returncode == 0, result.stderr
    (path,) = tmp_path.iterdir()
    told = json.loads(path.read_text())["presets"]
    assert list(told) == ["double_dqn", "qr_dqn", "pqn", "prioritized draws alone"]
    assert told["double_dqn"]["parameters"] == 1_686_180
    assert told["qr_dqn"]["parameters"] == 1_686_180 + 513 * 4 * 199
    assert told["double_dqn"]["ratio"]["median"] == 1
    for one in told.values():
        assert one["milliseconds"]["median"] > 0 and one["ratio"]["median"] > 0
    assert told["qr_dqn"]["memory_bytes"] > 3 * 4 * told["qr_dqn"]["parameters"]  # Adam's


def test_cartpole(tmp_path):
    more = ("--total_steps=2048", "--eval_every_steps=0", "--eval_episodes=3", "--hidden_sizes=8")
    flags = ("--variants=pqn,c51", "--seeds=1", f"--out={tmp_path}")
    flags += tuple(f"--more={flag}" for flag in more)
    result = benchmark("cartpole", *flags)
    assert result.returncode == 0, result.stderr
    (path,) = tmp_path.iterdir()
    told = json.loads(path.read_text())
    assert told["settings"]["c51"]["head"] == "c51"
    for variant in ("pqn", "c51"):
        (run,) = told["runs"][variant].values()
        ((step, mean),) = run["evaluations"]
        assert step >= 2048 and run["best"] == run["last"] == mean > 0
        assert run["solved_step"] is None and f"{variant}, seed 0: not solved" in result.stdout


# Stands for Stable-Baselines3 and Gymnasium: evaluations after 5,000 and 10,000 steps.
CLASSIC_PEER = """
import sys
for part in ("common", "common.callbacks", "common.evaluation", "common.vec_env"):
    sys.modules[f"{__name__}.{part}"] = sys.modules[__name__]
BaseCallback = type("BaseCallback", (), {})
make = str
class DummyVecEnv:
    def __init__(self, envs):
        assert [env() for env in envs] == ["CartPole-v1"] * 10
    def seed(self, seed):
        assert seed == 10_000
class DQN:
    def __init__(self, policy, env, seed, **settings):
        assert (policy, env, seed, settings["batch_size"]) == ("MlpPolicy", "CartPole-v1", 0, 64)
    def learn(self, steps, callback):
        callback.model = self
        for self.done in range(1, steps + 1):
            callback.num_timesteps = self.done
            if not callback._on_step():
                break
def evaluate_policy(model, env, n_eval_episodes, warn):
    return 400.0 + model.done / 100, 0.0
"""


def test_classic(tmp_path, monkeypatch):
    """One seed of each: ours too short to learn anything, the peers known beforehand."""
    for name in ("gymnasium", "stable_baselines3"):
        (tmp_path / "stub" / f"{name}.py").parent.mkdir(exist_ok=True)
        (tmp_path / "stub" / f"{name}.py").write_text(CLASSIC_PEER)
    python = tmp_path / "python"
    path = f"{tmp_path / 'stub'}:$PYTHONPATH"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={path} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    script = tmp_path / "cleanrl" / "dqn.py"
    script.parent.mkdir()
    lines = "for i in range(150): print(f'global_step={i}, episodic_return=[{400 + i}.]')\n"
    script.write_text(f"import sys\nassert '--no-cuda' in sys.argv\n{lines}")
    flags = ("--games=CartPole", "--seeds=1", "--peer_seeds=1", f"--cleanrl_file={script}")
    flags += (f"--peer_python=stable_baselines3={python}", f"--out={tmp_path / 'out'}")
    flags += ("--more=--total_steps=2048", "--more=--eval_episodes=3")
    result = benchmark("classic", *flags)
    assert result.returncode == 0, result.stderr
    (path,) = (tmp_path / "out").iterdir()
    (ours,), (sb3,), (cleanrl,) = json.loads(path.read_text())["games"]["CartPole"].values()
    assert ours["seconds"] is None and 0 < ours["training_seconds"] < ours["whole_seconds"]
    assert ours["evaluations"][-1][0] >= 2048
    assert sb3["evaluations"] == [[5000, 450.0], [10_000, 500.0]] and sb3["seconds"] > 0
    # The mean of 100 returns that begin at 426 is above 475; no game comes after that.
    assert cleanrl["seconds"] > 0
    assert "| CartPole | jaxdqn " in result.stdout and "0 of 1" in result.stdout


def test_runs_that_did_not_learn_take_for_ever():
    def runs(*seconds):
        return [{"seconds": one} for one in seconds]

    found = {"jaxdqn": runs(4.0, 8.0, None), "slow": runs(16.0, 20.0, 24.0)}
    shown = classic.table({"CartPole": found | {"lucky": runs(2.0, None, None)}})
    rows = [[cell.strip() for cell in line.split("|")[2:-1]] for line in shown.splitlines()[2:]]
    assert rows == [
        ["jaxdqn", "2 of 3", "8.0", "4.0 to 8.0", ""],
        ["slow", "3 of 3", "20.0", "16.0 to 24.0", "2.5 times"],
        ["lucky", "1 of 3", "-", "2.0 to 2.0", ""],
    ]


def test_turn(tmp_path):
    flags = ("--preset=classic", "--learning_starts_steps=100", "--replay_capacity=1000")
    result = benchmark("turn", *flags, "--rounds=1", "--seconds=0.2", f"--out={tmp_path}")
    assert result.returncode == 0, result.stderr
    (path,) = tmp_path.iterdir()
    told = {name: one["median"] for name, one in json.loads(path.read_text())["turn"].items()}
    parts = ("receive", "pack", "act", "wait", "send", "learn", "rest")
    assert all(told[part] > 0 for part in parts)
    assert told["turn"] == pytest.approx(sum(told[part] for part in parts))
    spent = told["emulators"] + told["acting"] + told["learning"]
    assert told["own"] == pytest.approx(told["turn"] - spent)
    assert told["updates"] == pytest.approx(2, abs=0.2)  # 4 environments, an update every 2 steps
    assert "| turn " in result.stdout


def test_endurance(tmp_path):
    flags = ("--total_steps=2000", "--checkpoint_every_steps=500", "--more=--eval_episodes=2")
    # Lives that end before any machine could have trained so long; what memory does is for runs
    # that go on for longer.
    flags += ("--kills=2", "--longest_life_s=1", "--flips=5", "--memory_growth=1")
    result = benchmark("endurance", *flags, f"--out={tmp_path}")
    assert result.returncode == 0, result.stderr
    (path,) = tmp_path.iterdir()
    told = json.loads(path.read_text())
    assert told["kills"] == len(told["steps_at_kills"]) == 2
    assert told["same_metrics"] is told["same_learner"] is True
    assert told["flips"] == told["flips_noticed"] == 5
    assert told["checkpoints"] == 4 and told["undisturbed_s"] > 0
    times, memory = zip(*told["memory_bytes_by_time_s"], strict=True)
    assert len(times) > 50 and list(times) == sorted(times)
    assert min(memory) <= told["memory_bytes_at_end"] <= max(memory)
    assert told["training_command"].endswith("--learning_rate_end=1e-05 --eval_episodes=2")


def test_endurance_of_a_run_that_is_refused(tmp_path):
    result = benchmark("endurance", "--more=--no_such_flag", f"--out={tmp_path}")
    assert result.returncode == 1 and not list(tmp_path.iterdir())
    assert "jaxdqn.train failed with code 2: error: " in result.stderr
    assert "no_such_flag" in result.stderr and result.stderr.count("\n") == 1


def test_what_was_measured_stays_when_a_later_piece_fails(tmp_path, capsys, monkeypatch):
    made_with = {"hardware": {"cpu": "Abacus", "cores": 1, "devices": ["cpu"]}, "versions": {}}
    with pytest.raises(errors.RunError), report.Result("speed", tmp_path) as result:
        result.keep({"rounds": 1}, "| 1 |", made_with)
        path = result.keep({"rounds": 2}, "| 2 |", made_with)
        raise errors.RunError("the third failed")
    assert list(tmp_path.iterdir()) == [path] and path.name.startswith("speed_1core-abacus_")
    told = json.loads(path.read_text())
    assert (told["benchmark"], told["rounds"], told["table"]) == ("speed", 2, ["| 2 |"])
    assert capsys.readouterr().out == f"| 2 |\nwritten to {path}\n"
    # The same command replaces its result; another one leaves it.
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--rounds=3"])
    with report.Result("speed", tmp_path) as another:
        assert another.keep({"rounds": 3}, "| 3 |", made_with).stem == f"{path.stem}-2"
    assert json.loads(path.read_text()) == told
    kept = []
    clock.interleaved({"a": lambda: 1.0}, rounds=2, keep=lambda taken: kept.append(taken["a"][:]))
    assert kept == [[1.0], [1.0, 1.0]]


def test_figures_that_cannot_be_written_are_shown(tmp_path, capsys):
    made_with = {"hardware": {"cpu": "Abacus", "cores": 1, "devices": ["cpu"]}, "versions": {}}
    with pytest.raises(errors.RunError, match="cannot be written"):
        report.finish("speed", {}, "| 1 |", tmp_path / "gone", made_with)
    assert capsys.readouterr().out == "| 1 |\n"
