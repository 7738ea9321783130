"""The training program as its users see it."""

import json
import re
import shlex
import subprocess
import sys

import pytest
from tensorboard.backend.event_processing import event_accumulator

from jaxdqn import errors
from jaxdqn.rundir import tracking
from tests import program


def test_eight_devices_train(tmp_path):
    result = program.train(
        "--env=CartPole",
        "--preset=classic",
        f"--run_dir={tmp_path / 'run'}",
        "--num_envs=16",
        "--total_steps=1600",
        "--replay_capacity=16000",
        "--eval_episodes=8",
        "--max_episode_steps=100",
        "--hidden_sizes=32",
        num_devices=8,
    )
    assert result.returncode == 0, result.stderr
    assert "8 x cpu" in result.stdout
    training, _ = program.rows(tmp_path / "run")
    assert training[-1]["updates"] == (training[-1]["step"] - 1000) // 2 // 4 * 4


def test_games_are_filmed_on_the_way(tmp_path):
    flags = (
        "--env=CartPole",
        "--preset=classic",
        f"--run_dir={tmp_path / 'run'}",
        "--total_steps=2400",
    )
    flags += ("--eval_episodes=0", "--record_every_steps=1000", "--max_episode_steps=60")
    result = program.train(*flags)
    assert result.returncode == 0 and result.stderr == "", result.stderr
    films = sorted((tmp_path / "run" / "videos").iterdir(), key=lambda film: int(film.stem))
    assert [int(film.stem) // 100 for film in films] == [10, 20, 24]
    assert all(film.read_bytes()[4:12] == b"ftypisom" for film in films)
    events = event_accumulator.EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    shown = events.Images("play")
    assert [event.step for event in shown] == [int(film.stem) for film in films]
    assert all(event.encoded_image_string[:6] == b"GIF89a" for event in shown)
    assert (shown[0].width, shown[0].height) == (600, 400)


def test_metrics_are_mirrored(tmp_path, monkeypatch):
    """A service of that name stands in, for the real one needs an account or leaves files."""
    flags = ("--env=CartPole", "--preset=classic", f"--run_dir={tmp_path / 'run'}", "--track=wandb")
    result = program.train(*flags)
    assert result.returncode == 2 and not (tmp_path / "run").exists()
    assert "--track: wandb is not installed: pip install wandb" in result.stderr

    (tmp_path / "wandb.py").write_text(
        "import json\n"
        f"def tell(**what): print(json.dumps(what), file=open({str(tmp_path / 'told')!r}, 'a'))\n"
        "Settings = dict\n"
        "class Run:\n"
        "    id = 'run7'\n"
        "    def log(self, row): tell(row=row)\n"
        "    def define_metric(self, name, step_metric): assert step_metric == 'step'\n"
        "    def finish(self): tell(finish=True)\n"
        "def init(*, id, name, config, **_):\n"
        "    tell(id=id, name=name, config=config)\n"
        "    return Run()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    flags += ("--total_steps=600", "--eval_episodes=4", "--log_every_steps=200")
    for _ in range(2):
        result = program.train(*flags)
        assert result.returncode == 0, result.stderr
    told = [json.loads(line) for line in (tmp_path / "told").read_text().splitlines()]
    starts = [what for what in told if "name" in what]
    assert [start["id"] for start in starts] == [None, "run7"]  # the second goes on as the first
    assert starts[0]["name"] == "run" and starts[0]["config"]["env"] == "CartPole-v1"
    assert told[-1] == {"finish": True}
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    mirrored = [what["row"] for what in told if "row" in what]
    assert mirrored == [{k: v for k, v in row.items() if v is not None} for row in rows]


def test_a_tracker_that_dies_is_left_out(tmp_path, monkeypatch):
    (tmp_path / "wandb.py").write_text(
        "rows = []\n"
        "class Run:\n"
        "    id = 'run7'\n"
        "    def log(self, row):\n"
        "        rows.append(row)\n"
        "        if len(rows) > 1: raise ConnectionResetError('Connection lost')\n"
        "    def define_metric(self, name, step_metric): pass\n"
        "    def finish(self): raise RuntimeError('called after it failed')\n"
        "Settings, init = dict, lambda **_: Run()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    flags = ("--env=CartPole", "--preset=classic", f"--run_dir={tmp_path / 'run'}", "--track=wandb")
    flags += ("--total_steps=600", "--eval_episodes=4", "--log_every_steps=200")
    result = program.train(*flags)
    assert result.returncode == 0 and result.stderr == ""
    warnings = [line for line in result.stdout.splitlines() if "WARNING" in line]
    assert warnings == ["WARNING: --track=wandb receives no more metrics: Connection lost"]
    training, evaluations = program.rows(tmp_path / "run")
    assert len(training) == 3 and len(evaluations) == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("wandb/data.txt", "", "wandb is an unrelated folder with that name: pip install wandb"),
        ("wandb.py", "import no_such_library", "No module named 'no_such_library': pip install"),
        ("wandb.py", "raise RuntimeError('broken')", "RuntimeError: broken: pip install wandb"),
    ],
)
def test_a_tracker_that_cannot_be_used(tmp_path, monkeypatch, name, content, message):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    with pytest.raises(errors.SettingError, match=message) as caught:
        tracking.check_installed("wandb")
    assert caught.value.setting == "track"
    sys.modules.pop("wandb", None)


ATOMS = ("--num_atoms=25", "--value_min=-0.12", "--value_max=0.12")  # rewards count a tenth


RAINBOW = (*("--head=c51", *ATOMS), "--sampler=prioritized", "--noisy", "--dueling")
RAINBOW += ("--epsilon_start=0", "--epsilon_end=0", "--replay_capacity=8000")
RAINBOW += ("--hidden_sizes=64", "--total_steps=3500")


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("--compute_dtype=bfloat16",),
        ("--head=c51", *ATOMS),
        ("--head=hl_gauss", *ATOMS),
        ("--head=qr", "--num_quantiles=32"),
        ("--head=iqn", "--num_quantiles=8", "--hidden_sizes=64,64", "--total_steps=4000"),
        ("--algorithm=munchausen",),
        RAINBOW,
        ("--algorithm=munchausen", "--head=iqn", "--num_quantiles=8", "--layer_norm=channels"),
        ("--preset=classic_pqn", "--rollout_steps=16", "--batch_size=64", "--total_steps=20000"),
    ],
)
def test_catch_is_learned(tmp_path, flags):
    """The whole way: from the emulators through the replay and the learner to evaluations."""
    result = program.train(
        "--env=Catch",
        f"--run_dir={tmp_path / 'run'}",
        "--total_steps=5000",
        "--eval_every_steps=0",
        "--log_every_steps=2500",
        "--held_out_observations=0",
        "--seed=1",
        *flags,
        is_long=True,
    )
    assert result.returncode == 0, result.stderr
    _, evaluations = program.rows(tmp_path / "run")
    assert evaluations[-1]["eval_episodes"] == 100
    assert evaluations[-1]["eval_return_mean"] >= 0.9


def test_nothing_is_compiled_after_the_first_evaluation(tmp_path):
    """Nor is anything before it compiled twice; the log of compilations goes to stderr."""
    log = tmp_path / "log"
    script = f"exec {shlex.join(program.command('--env=Catch', *program.SMALL))} > {log} 2>&1"
    environment = program.environment() | {"JAX_LOG_COMPILES": "1"}
    subprocess.run(["sh", "-c", script], cwd=tmp_path, env=environment, check=True, timeout=300)
    lines = log.read_text().splitlines()
    compiled = [number for number, line in enumerate(lines) if "Compiling jit(" in line]
    evaluations = [number for number, line in enumerate(lines) if "evaluation:" in line]
    saved = next(n for n, line in enumerate(lines) if n > evaluations[0] and "step 6" in line)
    assert len(evaluations) == 2 and compiled
    assert not [lines[number] for number in compiled if number > saved]
    for name in ("learn", "act_and_record"):  # ahead, and their first calls take that
        assert sum(f"Compiling jit({name})" in lines[number] for number in compiled) == 1


def test_overwrite_starts_anew_and_spares_other_files(tmp_path):
    flags = ("--env=Catch", f"--run_dir={tmp_path / 'run'}", "--total_steps=200")
    assert program.train(*flags, "--eval_episodes=0").returncode == 0
    (tmp_path / "run" / "thesis.txt").write_text("mine")
    result = program.train(*flags, "--eval_episodes=0", "--seed=3", "--overwrite")
    assert result.returncode == 0, result.stderr
    assert "resuming" not in result.stdout
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["settings"]["seed"] == 3
    assert (tmp_path / "run" / "thesis.txt").read_text() == "mine"


def test_overwrite_spares_what_is_no_run(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    result = program.train("--env=Catch", f"--run_dir={tmp_path}", "--overwrite")
    assert result.returncode == 2 and "not a run directory" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_flagfile(tmp_path):
    (tmp_path / "my.flags").write_text("--env=Catch\n--total_steps=100\n--eval_episodes=0\n")
    result = program.train("--flagfile=my.flags", "--seed=5", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "runs" / "Catch-classic-seed5" / "metrics.jsonl").exists()


def test_a_replay_that_does_not_fit_names_the_largest(tmp_path):
    result = program.train("--env=Breakout", "--replay_capacity=3200000000", cwd=tmp_path)
    assert result.returncode == 2 and result.stdout == "" and not list(tmp_path.iterdir())
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    largest = int(re.search(r"the largest that fits is (\d+)", line).group(1))
    assert largest % 32 == 0 and 0 < largest < 3_200_000_000
