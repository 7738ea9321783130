"""A run that is stopped, killed or damaged anywhere ends as one that nobody disturbed."""

import json
import re
import resource
import shutil
import signal
import time

import numpy as np
import pytest

from jaxdqn.storage import checksums
from tests import program, saved

FLAGS = (
    "--env=CartPole",
    "--preset=classic",
    "--num_envs=8",
    "--total_steps=2000",
    "--learning_starts_steps=250",
)
FLAGS += ("--replay_capacity=1000", "--eval_every_steps=500", "--eval_episodes=2")
FLAGS += ("--checkpoint_every_steps=500", "--log_every_steps=125", "--hidden_sizes=32")
FLAGS += ("--env_lifetime_steps=94", "--max_episode_steps=100", "--steps_per_update=8")
# For a run that a test must find at work.
LONGER = (*FLAGS, "--steps_per_update=2")

# Does something once, at the first turn from a step on.
AT_A_STEP = """
import os, pathlib, resource, time
from jaxdqn.assembly import schedules
def act_at(step, act):
    to_do, epsilon = [act], schedules.epsilon
    def act_and_return(config, now):
        if to_do and now >= step:
            to_do.pop()()
        return epsilon(config, now)
    schedules.epsilon = act_and_return
def wait_while(condition):
    while condition():
        time.sleep(0.01)
def wait_for_checkpoint(path, step):
    saved = lambda: [int(sums.parent.name) for sums in pathlib.Path(path).glob("[0-9]*/SHA256SUMS")]
    wait_while(lambda: max(saved(), default=0) < step)
"""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    path = tmp_path_factory.mktemp("undisturbed") / "run"
    go_on(path)
    return path


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run that SIGTERM stopped, with the two checkpoints before, and what it printed."""
    path = tmp_path_factory.mktemp("stopped") / "run"
    return path, stop(path, signal.SIGTERM)


@pytest.fixture
def copy(stopped, tmp_path):
    """A copy of it."""
    shutil.copytree(stopped[0], tmp_path / "run")
    return tmp_path / "run"


def stop(path, signum, at=1100, flags=FLAGS):
    """Starts or resumes a run, which gets a signal at a step."""
    driver = f"{AT_A_STEP}\ndef leave():\n"
    if signum == signal.SIGKILL:  # it loses what is not saved yet
        driver += f"    wait_for_checkpoint({str(path / 'checkpoints')!r}, 1000)\n"
    driver += f"    os.kill(os.getpid(), {signum:d})\nact_at({at}, leave)"
    process = program.start(*flags, f"--run_dir={path}", driver=driver)
    stdout, stderr = process.end()
    assert process.returncode == (-signum if signum == signal.SIGKILL else 128 + signum), stderr
    return stdout


def go_on(path, flags=FLAGS):
    result = program.train(*flags, f"--run_dir={path}")
    assert result.returncode == 0, result.stderr
    return result.stdout


def without_times(told):
    """What a checkpoint says of a run, less times and the names of the replay's folders."""
    return {
        name: without_times(value) if isinstance(value, dict) else value
        for name, value in told.items()
        if name not in ("time_s", "wall_time_s", "replay")
    }


def assert_same_saved(*paths):
    """Two runs that were stopped saved the same, at the same step."""
    steps = program.newest(paths[0])
    assert 1100 <= steps == program.newest(paths[1])
    assert program.numbers(paths[0]) == program.numbers(paths[1])
    checkpoints = [path / "checkpoints" / str(steps) for path in paths]
    told = [json.loads((folder / "run" / "metadata").read_text()) for folder in checkpoints]
    assert without_times(told[0]) == without_times(told[1])
    program.assert_equal(*(program.saved_arrays(folder / "play") for folder in checkpoints))
    program.assert_equal(*(program.saved_learner(path, steps) for path in paths))
    replays = [program.saved_replay(path, steps) for path in paths]
    assert len(replays[0]) * replays[0]["0"]["frame"].shape[0] >= 1000 // 4
    program.assert_equal(*replays)


def test_a_killed_run_ends_as_if_it_had_gone_on(tmp_path, undisturbed):
    stop(tmp_path / "run", signal.SIGKILL)
    assert "resuming from step 1," in go_on(tmp_path / "run")
    program.assert_same_end(tmp_path / "run", undisturbed)


def test_a_run_that_sigterm_stopped_ends_as_if_it_had_gone_on(copy, stopped, undisturbed):
    assert "resumes from there" in stopped[1].splitlines()[-1]
    assert program.newest(copy) >= 1100
    assert "resuming from step 1," in go_on(copy)
    program.assert_same_end(copy, undisturbed)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGHUP])
def test_other_signals_leave_what_sigterm_does(tmp_path, stopped, signum):
    stdout = stop(tmp_path / "run", signum)
    assert "resumes from there" in stdout.splitlines()[-1]
    assert_same_saved(tmp_path / "run", stopped[0])


def test_a_run_that_gets_more_steps_ends_as_one_that_had_them(tmp_path):
    """While it is not complete. A complete one goes on with an empty replay."""
    kept = [flag for flag in FLAGS if not flag.startswith("--total_steps")]
    kept.append("--learning_rate_decay_steps=2000")
    long, path = (*kept, "--total_steps=1500"), tmp_path / "run"
    go_on(tmp_path / "long", long)
    stop(path, signal.SIGTERM, at=900, flags=(*kept, "--total_steps=1200"))
    assert "resuming from step 9" in go_on(path, long)
    program.assert_same_end(path, tmp_path / "long")
    assert "learning resumes at step 1,7" in go_on(path, (*kept, "--total_steps=2100"))
    training, _ = program.rows(path)
    assert training[-1]["step"] >= 2100 > training[-2]["step"]
    updates = [row["updates"] for row in training if row["step"] >= 1500]
    assert updates[0] == updates[1] < updates[-1]
    result = program.train(*long, f"--run_dir={path}")
    assert result.returncode == 2 and "(the run has 2100); 2,10" in result.stderr


def test_the_environments_were_made_anew(undisturbed):
    """Or the comparison would show nothing of it: with the same settings but this, other games."""
    path = undisturbed.parent / "never"
    flags = (*FLAGS, "--env_lifetime_steps=0", f"--run_dir={path}")
    assert program.train(*flags).returncode == 0
    one, two = program.numbers(path), program.numbers(undisturbed)
    until = [row for row in two if row["step"] < 750]
    assert one[: len(until)] == until and one != two


def test_all_that_is_saved_is_the_same(tmp_path, stopped):
    """The replay, which has come round, the actors, and what the emulators were sent too."""
    stop(tmp_path / "run", signal.SIGTERM, at=600)
    stop(tmp_path / "run", signal.SIGTERM)
    assert_same_saved(tmp_path / "run", stopped[0])


STOP_IN_AN_EVALUATION = """
import signal
from jaxdqn.playing import evaluation
evaluate, calls = evaluation.evaluate_together, []
def stop_and_evaluate(*args, **how):
    calls.append(1)
    if len(calls) == 2:
        signal.raise_signal(signal.SIGTERM)
    return evaluate(*args, **how)
evaluation.evaluate_together = stop_and_evaluate
"""


def test_an_evaluation_that_was_cut_short_is_made_up_for(tmp_path, undisturbed):
    path = tmp_path / "run"
    process = program.start(*FLAGS, f"--run_dir={path}", driver=STOP_IN_AN_EVALUATION)
    _, stderr = process.end()
    assert process.returncode == 128 + signal.SIGTERM, stderr
    assert len(program.rows(path)[1]) == 1
    go_on(path)
    program.assert_same_end(path, undisturbed)


@pytest.mark.parametrize("harm", ["flip", "truncate", "remove", "unsign", "flip the replay"])
def test_damage_is_noticed_and_the_checkpoint_before_it_taken(copy, undisturbed, harm):
    path = copy
    newest = program.newest(path)
    folder = path / "checkpoints" / str(newest)
    if "replay" in harm:
        folder = max((path / "replay").iterdir(), key=lambda folder: int(folder.name))
    parts = [path for path in folder.rglob("*") if path.is_file() and path.name != "SHA256SUMS"]
    victim = max(parts, key=lambda path: path.stat().st_size)
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    if harm == "unsign":
        victim = folder / "SHA256SUMS"
    if harm in ("remove", "unsign"):
        victim.unlink()
    else:
        victim.write_bytes(content[: len(content) // 2] if harm == "truncate" else content)
    stdout = go_on(path)
    if harm == "unsign":
        assert f"{folder} was not written completely: it has no SHA256SUMS" in stdout
    else:
        problem = "is missing" if harm == "remove" else "differs from what was written"
        assert f"{victim} {problem}" in stdout
        assert "resuming from the previous checkpoint, step 1,00" in stdout
    assert "resuming from step 1,00" in stdout
    assert (path / "checkpoints" / "damaged" / str(newest)).is_dir()
    program.assert_same_end(path, undisturbed)


def test_with_no_whole_checkpoint_left_nothing_is_begun_anew(copy):
    path = copy
    for folder in (path / "checkpoints").iterdir():
        (folder / "_CHECKPOINT_METADATA").write_text("{}")
    result = program.train(*FLAGS, f"--run_dir={path}")
    assert result.returncode == 1 and "Traceback" not in result.stderr
    (line,) = result.stderr.splitlines()
    assert "all checkpoints are damaged" in line and "_CHECKPOINT_METADATA" in line


def test_what_does_not_fit_is_one_line(copy):
    """Metrics that are none, a network of another shape, a checkpoint of another run."""
    path = copy
    kept = saved.listing(path)

    def refused(*flags):
        result = program.train(*FLAGS, *flags, f"--run_dir={path}")
        assert result.returncode == 1 and "Traceback" not in result.stderr
        (line,) = result.stderr.splitlines()
        return line

    (path / "metrics.jsonl").write_bytes(b"\xff")
    assert "metrics.jsonl cannot be read" in refused()
    (path / "metrics.jsonl").write_bytes(kept[path / "metrics.jsonl"])
    settings = json.loads((path / "config.json").read_text())
    settings["settings"]["hidden_sizes"] = [64]
    (path / "config.json").write_text(json.dumps(settings))
    line = refused("--hidden_sizes=64")
    assert "has shape (32,); the settings need (64,)" in line and "to this run" in line
    (path / "config.json").write_bytes(kept[path / "config.json"])
    program.assert_equal(  # nothing was lost
        {name: content for name, content in kept.items() if "tensorboard" not in str(name)},
        {
            name: content
            for name, content in saved.listing(path).items()
            if "tensorboard" not in str(name)
        },
    )


def test_without_its_replay_a_run_fills_it_again(tmp_path):
    path, flags = tmp_path / "run", (*FLAGS, "--checkpoint_replay=false")
    stop(path, signal.SIGTERM, flags=flags)
    assert not (path / "replay").exists()
    before, _ = program.rows(path)
    assert "learning resumes at step 1,3" in go_on(path, flags)
    after, _ = program.rows(path)
    assert after[: len(before)] == before
    assert before[-1]["updates"] <= after[len(before)]["updates"] < after[-1]["updates"]
    assert after[len(before)]["replay_size"] < 250


STOP_IN_A_FIT = """
import signal
from jaxdqn.algorithms import run_state
note = run_state.note_refused
def stop_and_note(config, state, refused):
    if state.own is not None and WHERE:
        signal.raise_signal(signal.SIGTERM)
    return note(config, state, refused)
run_state.note_refused = stop_and_note
"""


def sweeps(path):
    return [row for row in program.numbers(path) if "sweep_epochs" in row]


@pytest.fixture(scope="module")
def undisturbed_sweeps(tmp_path_factory):
    path = tmp_path_factory.mktemp("sweeps") / "run"
    go_on(path, program.SWEEP)
    return path


def test_a_fit_that_was_stopped_goes_on_where_it_stood(tmp_path, undisturbed_sweeps):
    """In the middle of the first fit's second epoch, and in the fit that ends the run."""
    path = tmp_path / "run"
    for where, complete in (
        ("state.counters.updates >= 10", 0),
        ("state.counters.steps >= config.total_steps", 2),
    ):
        driver = STOP_IN_A_FIT.replace("WHERE", where)
        process = program.start(*program.SWEEP, f"--run_dir={path}", driver=driver)
        _, stderr = process.end()
        assert process.returncode == 128 + signal.SIGTERM, stderr
        assert len(sweeps(path)) == complete
    go_on(path, program.SWEEP)
    assert [row["sweep_epochs"] for row in sweeps(path)] == [5, 5, 5]
    assert not list((path / "replay").iterdir())  # a complete run needs none
    program.assert_same_end(path, undisturbed_sweeps)


SLOW_SAVE = """
import time
from jaxdqn.checkpointing import checkpoint_writer
checkpoint_writer.Writer.save = lambda *args, **how: print("saving", flush=True) or time.sleep(1000)
"""


def test_a_second_signal_leaves_at_once(tmp_path):
    process = program.start(*FLAGS, f"--run_dir={tmp_path / 'run'}", driver=SLOW_SAVE)
    process.wait_for("step 3")
    process.send_signal(signal.SIGINT)
    process.wait_for("saving")
    process.send_signal(signal.SIGINT)
    process.end()
    assert process.returncode == -signal.SIGINT


def test_a_late_second_sigterm_leaves_at_once(tmp_path):
    driver = f"{SLOW_SAVE}\nfrom jaxdqn.distributed import signals; signals.ECHO_S = 0.1"
    process = program.start(*FLAGS, f"--run_dir={tmp_path / 'run'}", driver=driver)
    process.wait_for("step 3")
    process.send_signal(signal.SIGTERM)
    process.wait_for("saving")
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.end()
    assert process.returncode == 128 + signal.SIGTERM
    assert stderr == "error: ended by a second signal before everything was saved\n"


STOP_AT_ONCE = """
import os, signal
from jaxdqn.envs.envpool import pool
make = pool.EnvPoolEnv.__init__
def make_and_stop(self, *args, **how):
    make(self, *args, **how)
    os.kill(os.getpid(), signal.SIGTERM)
pool.EnvPoolEnv.__init__ = make_and_stop
"""


def test_a_signal_before_the_first_step_is_told_as_such(tmp_path):
    """There is no checkpoint to resume from."""
    path = tmp_path / "run"
    stdout, stderr = program.start(*FLAGS, f"--run_dir={path}", driver=STOP_AT_ONCE).end()
    assert stderr == "" and not (path / "checkpoints").exists()
    told = "stopped by signal 15 at step 0; nothing was learned yet: the same command begins again"
    assert stdout.splitlines()[-1] == told


PRINT_LEAVING = """
from jaxdqn.training import endings
leave = endings.leave
def print_and_leave(*args, **how):
    print("leaves", flush=True)
    return leave(*args, **how)
endings.leave = print_and_leave
"""


def test_an_echo_of_a_signal_changes_nothing(tmp_path):
    """SLURM sends SIGTERM to all, and its srun passes on its own."""
    path = tmp_path / "run"
    process = program.start(*LONGER, f"--run_dir={path}", "--overwrite", driver=PRINT_LEAVING)
    process.wait_for("step 3")
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    process.wait_for("leaves")
    process.send_signal(signal.SIGTERM)
    stdout, stderr = process.end()
    assert process.returncode == 143 and stderr == ""
    assert "the same command without --overwrite resumes from there" in stdout
    assert program.newest(path) >= 375


def test_a_second_process_is_refused(tmp_path):
    path = tmp_path / "run"
    first = program.start(*LONGER, f"--run_dir={path}")
    first.wait_for("step 3")
    second = program.train(*LONGER, f"--run_dir={path}", "--overwrite")
    assert second.returncode == 1 and second.stdout == ""  # no wrong usage: later it may do
    assert "run_dir" in second.stderr and "is in use" in second.stderr
    first.kill()
    first.end()
    go_on(path, LONGER)  # the dead hold no lock


def test_what_is_not_finite_stops_the_run_before_it_spoils_anything(tmp_path):
    path, flags = tmp_path / "run", (*FLAGS, "--loss=mse", "--reward_scale=1e30")
    result = program.train(*flags, f"--run_dir={path}")
    assert result.returncode == 3  # with which nothing tries again: it would come to the same
    (line,) = result.stderr.splitlines()
    assert "update 1: loss is inf" in line and "--on_nonfinite=skip" in line
    (batch,) = (path / "nonfinite").iterdir()
    with np.load(batch, allow_pickle=False) as arrays:
        assert arrays["observation"].shape == (64, 1, 4)
        assert np.all(arrays["reward"] > 1e29)
    kernel = program.saved_parameters(path, program.newest(path))["Dense_0"]["kernel"]
    assert np.all(np.isfinite(kernel))

    again = program.train(*flags, f"--run_dir={path}", "--on_nonfinite=skip")
    assert again.returncode == 0, again.stderr
    training, _ = program.rows(path)
    assert training[-1]["refused_updates"] == training[-1]["updates"] > 0
    assert training[-1]["loss"] is None
    after = program.saved_parameters(path, program.newest(path))["Dense_0"]["kernel"]
    np.testing.assert_array_equal(after, kernel)


# As an emulator does: in native code, where Python's handlers of signals do not run.
HANG = """
import ctypes
from jaxdqn.envs.envpool import pool
receive, calls = pool.EnvPoolEnv.receive, []
def hang(self):
    calls.extend([1] * (self.num_envs == NUM_ENVS))
    if len(calls) > CALLS:
        print("hangs", flush=True)
        mutex = ctypes.create_string_buffer(64)
        while True:
            ctypes.CDLL(None).pthread_mutex_lock(mutex)
    return receive(self)
pool.EnvPoolEnv.receive = hang
"""
HANG_IN_TRAINING = HANG.replace("NUM_ENVS", "4").replace("CALLS", "200")
HANG_IN_HELD_OUT_PLAY = HANG.replace("NUM_ENVS", "16").replace("CALLS", "5")


@pytest.mark.parametrize(
    ("driver", "name"),
    [
        (HANG_IN_TRAINING, "environments [04] to [37]"),
        (HANG_IN_HELD_OUT_PLAY, "the held-out environments"),
    ],
)
def test_environments_that_hang_are_noticed(tmp_path, undisturbed, driver, name):
    path = tmp_path / "run"
    flags = (*FLAGS, "--env_timeout_seconds=3")
    process = program.start(*flags, f"--run_dir={path}", driver=driver)
    _, stderr = process.end()
    assert process.returncode == 1, stderr
    limit = r"no answer for 3 s \(--env_timeout_seconds\) at step [\d,]+"
    assert re.search(f"error: {name} of CartPole-v1: {limit}", stderr)
    assert program.newest(path) > 0
    go_on(path, flags)
    program.assert_same_end(path, undisturbed)


def test_a_signal_is_heard_while_environments_hang(tmp_path):
    path = tmp_path / "run"
    process = program.start(*FLAGS, f"--run_dir={path}", driver=HANG_IN_TRAINING)
    process.wait_for("hangs")
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=15)
    _, stderr = process.end()
    assert process.returncode == 128 + signal.SIGTERM  # all is saved: it can be queued again
    assert "no answer for 5 s (after signal 15)" in stderr and "saved in" in stderr
    assert program.newest(path) > 0

    process = program.start(*FLAGS, f"--run_dir={path}", driver=HANG_IN_TRAINING)
    process.wait_for("hangs")
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    process.wait(timeout=3)
    process.end()
    # By the thread that listens, or by the system where the first one was heard in time.
    assert process.returncode in (128 + signal.SIGINT, -signal.SIGINT)


def test_a_folder_that_was_lost_is_told_at_the_end(tmp_path):
    path = tmp_path / "run"
    move = f"act_at(1600, lambda: os.rename({str(path)!r}, {str(tmp_path / 'lost')!r}))"
    process = program.start(*FLAGS, f"--run_dir={path}", driver=f"{AT_A_STEP}\n{move}")
    stdout, stderr = process.end()
    assert process.returncode == 1, stdout
    (line,) = stderr.splitlines()
    assert line.startswith("error: ") and str(path) in line


def limit(process, size):
    """No file may grow beyond a size: to the process, a full disk."""
    hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, hard))


# Waits for the test at a step, until the limit is there. Then it takes its time until that is away:
# it must go on, to notice that a save has failed.
WAIT_FOR_A_LIMIT = f"""{AT_A_STEP}
limit = lambda: resource.getrlimit(resource.RLIMIT_FSIZE)[0]
act_at(625, lambda: wait_while(lambda: limit() == resource.RLIM_INFINITY))
"""
GO_SLOWLY_UNTIL_THERE_IS_NO_LIMIT = """
at_full_speed = schedules.epsilon
def slowly(config, now):
    time.sleep(0.1 if now >= 1000 and limit() != resource.RLIM_INFINITY else 0)
    return at_full_speed(config, now)
schedules.epsilon = slowly
"""


@pytest.mark.parametrize("recovers", [True, False])
def test_a_full_disk(tmp_path, undisturbed, recovers):
    path = tmp_path / "run"
    driver = WAIT_FOR_A_LIMIT + (GO_SLOWLY_UNTIL_THERE_IS_NO_LIMIT if recovers else "")
    process = program.start(*FLAGS, f"--run_dir={path}", driver=driver)
    program.wait_for_checkpoint(path, 500)
    first = program.newest(path)
    limit(process, 5_000)
    process.wait_for("WARNING: the checkpoint of step 1,0")
    assert program.newest(path) == first
    if recovers:
        limit(process, resource.RLIM_INFINITY)
    stdout, stderr = process.end()
    if recovers:
        assert process.returncode == 0, stderr
        program.assert_same_end(path, undisturbed)
    else:
        assert process.returncode == 1, stdout
        (line,) = stderr.splitlines()
        assert line.startswith("error: step 2,00") and "could not be saved" in line
        assert "trying again" not in stdout.splitlines()[-1]
        assert program.newest(path) == first
        go_on(path)
        program.assert_same_end(path, undisturbed)


def test_a_run_passes_2_to_the_32_steps(tmp_path):
    """Begun anew at a step near it, by a checkpoint that says so. Its emulators are made anew."""
    path = tmp_path / "run"
    flags = (
        "--env=CartPole",
        "--preset=classic",
        "--num_envs=64",
        "--batch_size=8",
        "--steps_per_update=16",
    )
    flags += (f"--total_steps={2**32 + 2_000}", "--learning_starts_steps=448", "--hidden_sizes=8")
    flags += ("--checkpoint_every_steps=2000", "--eval_every_steps=2000", "--eval_episodes=2")
    flags += ("--log_every_steps=500", "--epsilon_decay_steps=1000")
    stop(path, signal.SIGTERM, at=1000, flags=flags)
    old = program.newest(path)
    folder = path / "checkpoints" / str(old)
    run = json.loads((folder / "run" / "metadata").read_text())
    moved = 2**32 - 2_000 - old
    for counters in (run, run["turn_began"], run["logged"]):
        counters["steps"] += moved
    run["learning_from_step"] += moved
    (folder / "run" / "metadata").write_text(json.dumps(run))
    (folder / "SHA256SUMS").unlink()
    checksums.write(folder)
    folder.rename(folder.with_name(str(old + moved)))
    assert "complete, 4,294,969," in go_on(path, flags).splitlines()[-1]
    training, evaluations = program.rows(path)
    first, last = training[-8], training[-1]
    assert first["step"] < 2**32 < last["step"]
    expected = (last["step"] - first["step"]) / 16
    assert last["updates"] - first["updates"] == pytest.approx(expected, abs=4) and expected > 100
    assert last["loss"] > 0 and last["frames"] == last["step"]
    assert [row["step"] >= 2**32 for row in evaluations[-2:]] == [True, True]
    assert program.newest(path) == last["step"]


def test_evaluations_that_are_not_finite_count(tmp_path):
    """In environments of one's own a return can be infinite; it is no score, but it was taken."""
    path = tmp_path / "run"
    endless = """
import numpy as np
from jaxdqn.envs.envpool import pool
receive = pool.EnvPoolEnv.receive
def rich(self):
    step = receive(self)
    if self.num_envs != 2:  # of the evaluation
        return step
    return step._replace(reward=np.where(step.reward > 0, np.inf, step.reward))
pool.EnvPoolEnv.receive = rich
"""
    process = program.start(*FLAGS, f"--run_dir={path}", driver=endless)
    stdout, stderr = process.end()
    assert process.returncode == 0 and stderr == ""
    assert stdout.splitlines()[-1].endswith(": mean return that is not finite over 2 games")
    _, evaluations = program.rows(path)
    assert [row["step"] // 500 for row in evaluations] == [1, 2, 3, 4]
    assert {row["eval_return_mean"] for row in evaluations} == {None}
    assert "already complete" in go_on(path)  # and with another score it would not be
    refused = program.run("evaluate", f"--run_dir={path}", "--checkpoint=best")
    assert refused.returncode == 2 and "has no checkpoint that was evaluated" in refused.stderr
