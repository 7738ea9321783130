"""Whatever is wrong is said in one line that names it; nothing is written.

Exit code 2 is for what was typed, 1 for what was found. The programs are forked from a process that
has imported what they need; each starts once from nothing too, as its users start it.
"""

import json
import os
import shlex
import shutil
import subprocess

import pytest

from tests import program, saved

CARTPOLE = "train --env=CartPole"
TRAIN = [
    ("train", "--env: name a game, such as --env=Breakout"),
    (
        "train --env=Breakot",
        "--env: EnvPool, ALE and Gymnasium have no environment 'Breakot'; nearest: Breakout",
    ),
    ("train --env=FrozenLake-v1", "--env: "),
    ("train --env=HalfCheetah-v4", "--env: "),
    ("train --env=Chess-v1", "--env: Chess-v1 has several players (2); a run plays one"),
    ("train --env=VizdoomCustom-v1", "--env: VizdoomCustom-v1 cannot be created by EnvPool: File"),
    ("train --preset=atari", "--env: name a game"),
    ("train --preset=best --env=Pong", "--preset: is 'best'; must be one of adventures"),
    ("train --env=CartPole --preset=atari", "--preset=atari"),
    ("train stray --env=Pong", "unexpected argument 'stray': settings are given as --name=value"),
    (f"{CARTPOLE} --no_such_flag=1", "no_such_flag"),
    (f"{CARTPOLE} --gamma=0.9", "there is no flag --gamma; --discount sets it"),
    (f"{CARTPOLE} --total-timesteps=9", "no flag --total-timesteps; --total_steps sets it"),
    (f"{CARTPOLE} --device=cpu", "there is no flag --device; JAX_PLATFORMS=cpu"),
    (f"{CARTPOLE} --gradient_steps=2", "--gradient_steps; --steps_per_update is train_freq /"),
    (f"{CARTPOLE} --exploration_fraction=0.1", "--epsilon_decay_steps is this share of --total_s"),
    (f"{CARTPOLE} --eps=0.1", "random actions, --optimizer_epsilon the optimizer's"),
    (f"{CARTPOLE} --flagfile=missing.flags", "missing.flags"),
    (f"{CARTPOLE} --flagfile=folder", "folder"),
    (f"{CARTPOLE} --flagfile=binary/metrics.jsonl", "--flagfile: is not a text file"),
    (f"{CARTPOLE} --track=tensorboard", "tensorboard"),
    (f"{CARTPOLE} --verbose=perhaps", "verbose"),
    # The wrong type.
    (f"{CARTPOLE} --seed=one", "--seed=one"),
    (f"{CARTPOLE} --total_steps=1e6", "--total_steps=1e6"),
    (f"{CARTPOLE} --total_steps=", "total_steps"),
    (f"{CARTPOLE} --num_envs=8.0", "--num_envs=8.0"),
    (f"{CARTPOLE} --learning_rate=small", "--learning_rate=small"),
    (f"{CARTPOLE} --double_q=perhaps", "double_q"),
    (f"{CARTPOLE} --hidden_sizes=64,wide", "--hidden_sizes: is '64,wide'; must be whole"),
    # Out of range.
    (f"{CARTPOLE} --seed=-1", "--seed: is -1; must be at least 0"),
    (f"{CARTPOLE} --seed=2147483648", "--seed: is 2147483648; must be at least 0, below"),
    (
        f"{CARTPOLE} --preset=cartpole --total_steps=99",
        "--total_steps: is 99; the first update is due",
    ),
    (f"{CARTPOLE} --total_steps=0", "--total_steps: is 0; must be at least 1"),
    (f"{CARTPOLE} --num_envs=-8", "--num_envs: is -8; must be at least 1"),
    (f"{CARTPOLE} --batch_size=0", "--batch_size: is 0; must be at least 1"),
    (f"{CARTPOLE} --discount=2", "--discount: is 2.0; must be between 0 and 1"),
    (f"{CARTPOLE} --epsilon_end=-0.1", "--epsilon_end: is -0.1; must be between 0 and 1"),
    (f"{CARTPOLE} --learning_rate=0", "--learning_rate: is 0.0; must be a finite number"),
    (f"{CARTPOLE} --learning_rate=nan", "--learning_rate: is nan; must be a finite number"),
    (f"{CARTPOLE} --max_grad_norm=inf", "--max_grad_norm: is inf; must be at least 0 and"),
    (f"{CARTPOLE} --target_tau=1.5", "--target_tau: is 1.5; must be above 0, at most 1"),
    (f"{CARTPOLE} --terminal_repeats=4", "--terminal_repeats: is 4; must be 1, 2 or 3"),
    (f"{CARTPOLE} --hidden_sizes=64,0", "--hidden_sizes: "),
    (f"{CARTPOLE} --env_timeout_seconds=0", "--env_timeout_seconds: is 0.0"),
    (f"{CARTPOLE} --env_threads=100000", "--env_threads: is 100000; must be at least 0, at"),
    (
        f"{CARTPOLE} --max_episode_steps=3000000000",
        "--max_episode_steps: is 3000000000; must be at least 1, below",
    ),
    (f"{CARTPOLE} --keep_checkpoints=0", "--keep_checkpoints: is 0; must be at least 1"),
    (f"{CARTPOLE} --loss=l1", "--loss: is 'l1'; must be one of huber, mse"),
    (f"{CARTPOLE} --optimizer=sgd", "--optimizer: is 'sgd'; must be one of adam"),
    (f"{CARTPOLE} --algorithm=ppo", "--algorithm: is 'ppo'; must be one of dqn"),
    (f"{CARTPOLE} --compute_dtype=float16", "--compute_dtype: is 'float16'; must be one"),
    (f"{CARTPOLE} --on_nonfinite=ignore", "--on_nonfinite: is 'ignore'; must be one of"),
    # What does not go together.
    (f"{CARTPOLE} --frame_skip=4", "--frame_skip"),
    (f"{CARTPOLE} --network=nature", "--network: nature needs images of at least 36x36"),
    (f"{CARTPOLE} --network=conv", "--conv_features: "),
    (f"{CARTPOLE} --conv_features=8", "--network: is mlp, but --conv_features has 1"),
    (f"{CARTPOLE} --motion_trace", "--motion_trace: needs images"),
    (
        "train --env=gymnasium:ALE/Pong-v5",
        "name of an Atari game; use --env=Pong, or --env=ale:Pong",
    ),
    (f"{CARTPOLE} --life_loss_ends", "--life_loss_ends: has no effect: CartPole-v1 has no lives"),
    (f"{CARTPOLE} --noscale_pixels", "--scale_pixels: is false, which has no effect"),
    (f"{CARTPOLE} --updates_per_slice=1000000", "--updates_per_slice: is 1000000; the whole run"),
    (f"{CARTPOLE} --batch_size=200000", "--batch_size: is 200000, more than the replay holds"),
    (
        f"{CARTPOLE} --replay_capacity=100001",
        "--num_envs=32 does not divide; nearest: 100000 or 100032",
    ),
    (f"{CARTPOLE} --learning_starts_steps=3", "--learning_starts_steps: is 3; the first batch"),
    (f"{CARTPOLE} --target_period_updates=0", "--target_period_updates: is 0; at least"),
    (f"{CARTPOLE} --loss=mse --huber_delta=2", "--huber_delta: has no effect with --loss=mse"),
    ("train --env=Pong --learning_rate_decay_steps=9", "--learning_rate_end is not set"),
    (f"{CARTPOLE} --rmsprop_decay=0.9", "--rmsprop_decay: has no effect with --optimizer=adam"),
    (f"{CARTPOLE} --sweep_max_epochs_end=9", "--sweep_max_epochs_end: has no effect with --algo"),
    ("train --preset=hvass_breakout --nodouble_q", "--double_q: has no effect with --algorithm"),
    ("train --preset=hvass_breakout --n_step=3", "--n_step: is 3; must be 1 for sweeps"),
    ("train --env=Pong --frame_skip=2 --frame_skip_min=3", "--frame_skip_min: is 3; must be"),
    ("train --env=Pong --img_height=20", "--network: small needs images of at least 36x36"),
    # Wrong files.
    (f"{CARTPOLE} --run_dir={'x' * 300}", "--run_dir: "),
    (f"{CARTPOLE} --run_dir=/proc/run", "--run_dir: "),
    (f"{CARTPOLE} --run_dir=film.mp4", "--run_dir: film.mp4 is not a directory"),
    (f"{CARTPOLE} --run_dir=film.mp4/run", "--run_dir: "),
    (f"{CARTPOLE} --run_dir=folder", "--run_dir: folder is not a run directory"),
    (f"{CARTPOLE} --run_dir=folder --overwrite", "--run_dir: folder is not a run directory"),
    (f"{CARTPOLE} --run_dir=RUN", "RUN was started with other settings: "),
    (f"{CARTPOLE} --run_dir=linked", "checkpoints is a symbolic link"),
    (f"{CARTPOLE} --run_dir=linked --overwrite", "checkpoints is a symbolic link"),
    (f"{CARTPOLE} --run_dir=planted", ".metrics.part.jsonl is a symbolic link"),
]
PROGRAMS = [
    ("evaluate", "--run_dir: name the folder of a run"),
    ("evaluate --run_dir=nowhere", "--run_dir: nowhere holds no run"),
    ("evaluate --run_dir=folder", "--run_dir: folder is not a run directory"),
    ("evaluate --run_dir=unreadable", "--run_dir: unreadable is not a run directory"),
    ("evaluate --run_dir=piped", "--run_dir: piped is not a run directory"),
    ("evaluate --run_dir=bare", "--run_dir: bare has no checkpoint yet"),
    ("evaluate --run_dir=RUN --protocol=fair", "fair"),
    ("evaluate --run_dir=RUN --episodes=0", "episodes"),
    ("evaluate --run_dir=RUN --episodes=many", "episodes"),
    ("evaluate --run_dir=RUN --seed=-1", "seed"),
    ("evaluate --run_dir=RUN --checkpoint=15", "--checkpoint: is 15; RUN has 10, 20, 30"),
    ("evaluate --run_dir=RUN --checkpoint=first", "--checkpoint: is 'first'; must be latest"),
    ("evaluate --run_dir=RUN --env=Pong", "env"),
    ("evaluate --run_dir=RUN --eps=0.1", "Unknown command line flag 'eps'"),
    ("evaluate --runs=RUN --run_dir=RUN", "--runs: names runs, and so does --run_dir; use one"),
    ("evaluate --runs=RUN --agent=Catch", "--runs: names runs, and so does --agent; use one"),
    ("evaluate --runs=nowhere*", "--runs: no folder matches nowhere*"),
    ("record --run_dir=RUN", "--out: name a film"),
    ("record --run_dir=RUN --out=play.avi", "--out: is play.avi; the name must end in .mp4"),
    ("record --run_dir=RUN --out=no/such/play.mp4", "--out: "),
    ("record --run_dir=RUN --out=film.mp4", "--out: film.mp4 exists; --overwrite replaces it"),
    ("record --run_dir=RUN --out=a.mp4 --sheet=s.jpg", "--sheet: is s.jpg; the name must end in"),
    ("record --run_dir=RUN --out=a.mp4 --random --protocol=greedy", "--random"),
    ("record --run_dir=RUN --sheet=a.png --overlay", "--overlay: has no effect without a film"),
    ("record --run_dir=RUN --out=a.mp4 --episodes=0", "episodes"),
    ("inspect --run_dir=RUN", "--out: name the folder to create"),
    ("inspect --run_dir=RUN --out=folder --overwrite", "holds more than an inspection"),
    ("export --run_dir=RUN --out=out", "--format: name one of stablehlo, onnx, safetensors"),
    ("export --run_dir=RUN --out=out --format=pickle", "pickle"),
    ("export --run_dir=RUN --format=onnx", "--out: name the folder to create"),
    ("export --run_dir=RUN --format=onnx --out=folder", "--out: folder exists; --overwrite"),
    ("export --run_dir=RUN --format=onnx --out=folder --overwrite", "holds more than an export"),
    ("report", "--out: name the page"),
    ("report --out=page.pdf", "--out: is page.pdf; the name must end in .html"),
    ("report --out=page.html --runs=nothing/*", "--runs: no folder matches nothing/*"),
    ("report --out=page.html --port=8000", "--port: has no effect without --serve"),
    ("report --serve --out=page.html", "--out: has no effect with --serve, which writes nothing"),
    ("report --serve --runs=nothing/*,none", "--runs: no folder matches none"),
    ("report --serve --runs=", "--runs: no folder matches ''"),
    ("report --serve --port=65536", "port"),
]
BENCHMARKS = [
    ("startup --env=Breakot", "--env: "),
    ("scaling --env=Breakot", "--env: "),
    ("scaling --sweeps=moons", "moons"),
    ("peers --env=CartPole", "--env: "),
    ("replay --replay_capacity=10", "--replay_capacity: "),
    ("throughput --devices=99", "--devices: "),
    ("throughput --env=CartPole --frame_skip=4", "--frame_skip"),
    ("throughput --rounds=none", "rounds"),
    ("endurance --env=Breakot", "--env: "),
    ("endurance --kills=-1", "kills"),
    ("environments --envs=Breakot", "--envs: "),
    ("environments --families=chess", "--families: is 'chess'; must be some of atari"),
]
RESUMED = "train --env=Breakout --max_episode_steps=60 --num_envs=8 --replay_capacity=1600"
RESUMED += " --learning_starts_steps=400 --network=conv --conv_features=2 --conv_sizes=8"
RESUMED += " --conv_strides=8 --hidden_sizes=4"
FAILURES = [
    ("evaluate --run_dir=future", "config.json cannot be used by this version: the setting magic"),
    ("evaluate --run_dir=wrong", "config.json cannot be used by this version: the setting num_e"),
    ("record --run_dir=future --out=a.mp4", "the setting magic is not one of this version"),
    ("export --run_dir=future --format=onnx --out=out", "the setting magic is not one of this"),
    ("inspect --run_dir=future --out=out", "the setting magic is not one of this version"),
    ("evaluate --run_dir=binary", "metrics.jsonl cannot be read"),
    (f"{RESUMED} --run_dir=RUN", "has format None, this version reads 2"),
    (f"{RESUMED} --run_dir=other", "was written by another version, which this one cannot resume"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with right and wrong files, and what lies in it."""
    place = tmp_path_factory.mktemp("place")
    run = saved.make_run(place / "RUN", changes=saved.TINY)
    (place / "film.mp4").touch()
    (place / "folder").mkdir()
    (place / "folder" / "thesis.txt").write_text("mine")
    for name in ("unreadable", "bare", "linked", "planted", "future", "wrong", "binary", "other"):
        shutil.copytree(run, place / name)
    (place / "unreadable" / "config.json").write_text("{")
    shutil.rmtree(place / "bare" / "checkpoints")
    (place / "linked" / "checkpoints").rename(place / "elsewhere")
    (place / "linked" / "checkpoints").symlink_to(place / "elsewhere")
    (place / "planted" / ".metrics.part.jsonl").symlink_to(place / "film.mp4")
    (place / "piped").mkdir()
    os.mkfifo(place / "piped" / "config.json")
    (place / "binary" / "metrics.jsonl").write_bytes(b"\xff\xfe")
    shutil.rmtree(place / "other" / "checkpoints" / "30" / "play")
    (place / "other" / "checkpoints" / "30" / "SHA256SUMS").unlink()
    for step in ("10", "20"):
        shutil.rmtree(place / "other" / "checkpoints" / step)
    for name, setting in (("future", {"magic": 1}), ("wrong", {"num_envs": "eight"})):
        stored = json.loads((place / name / "config.json").read_text())
        stored["settings"] |= setting
        (place / name / "config.json").write_text(json.dumps(stored))
    return place


def contents(place):
    """Of all files and folders but the locks of runs, which are there while somebody trains."""
    paths = (path for path in place.rglob("*") if path.name != "lock")
    return {path: path.is_file() and path.read_bytes() for path in paths}


def refuse(place, package, words, code, message, start=program.run):
    before = contents(place)
    module, *flags = shlex.split(words)
    result = start(module, *flags, cwd=place, package=package)
    assert result.returncode == code, result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ") and message in line
    assert result.stdout == ""
    assert contents(place) == before


@pytest.mark.parametrize(("words", "message"), TRAIN + PROGRAMS)
def test_wrong_usage(place, words, message):
    refuse(place, "jaxdqn", words, 2, message)


@pytest.mark.parametrize(("words", "message"), BENCHMARKS)
def test_wrong_usage_of_benchmarks(place, words, message):
    refuse(place, "benchmarks", f"{words} --out=results", 2, message)


@pytest.mark.parametrize(("words", "message"), FAILURES)
def test_failures(place, words, message):
    refuse(place, "jaxdqn", words, 1, message)


def start_from_nothing(module, *flags, cwd, package):
    command = program.command(*flags, name=module)
    assert package == "jaxdqn"
    return subprocess.run(
        command, cwd=cwd, env=program.environment(), capture_output=True, text=True, check=False
    )


FIRST = {words.split()[0]: (words, 2, message) for words, message in reversed(TRAIN + PROGRAMS)}


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [*FIRST.values(), *((words, 1, message) for words, message in FAILURES[:1])],
)
def test_programs_that_start_from_nothing(place, words, code, message):
    refuse(place, "jaxdqn", words, code, message, start_from_nothing)
