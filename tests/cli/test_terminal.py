"""Output that cannot be written, and signals that come when a session is closed."""

import os
import pty
import signal
import subprocess
import sys

import pytest

from tests import program, saved

SMALL = (
    "--env=CartPole",
    "--preset=classic",
    "--num_envs=8",
    "--total_steps=800",
    "--learning_starts_steps=250",
)
SMALL += ("--replay_capacity=1000", "--eval_episodes=2", "--log_every_steps=100")
SMALL += ("--checkpoint_every_steps=400", "--hidden_sizes=32", "--max_episode_steps=100")
FULL = "import os; os.dup2(os.open('/dev/full', os.O_WRONLY), 1)"
NO_SPACE = "standard output cannot be written: No space left on device"


def is_complete(run):
    training, evaluations = program.rows(run)
    return training[-1]["step"] >= 800 and evaluations[-1]["step"] == program.newest(run)


def test_training_goes_on_where_the_reader_of_its_output_leaves(tmp_path):
    process = program.start(*SMALL, f"--run_dir={tmp_path / 'run'}")
    process.wait_for(" run_dir")
    process.stdout.close()
    assert process.wait() == 0
    (warning,) = process.errors().splitlines()
    assert warning.startswith("WARNING: standard output cannot be written: Broken pipe: training ")
    assert is_complete(tmp_path / "run")


def test_training_goes_on_where_its_output_lies_on_a_full_disk(tmp_path):
    process = program.start(*SMALL, f"--run_dir={tmp_path / 'run'}", driver=FULL)
    _, stderr = process.end()
    assert process.returncode == 0
    (warning,) = stderr.splitlines()
    assert warning.startswith(f"WARNING: {NO_SPACE}: training continues")
    assert is_complete(tmp_path / "run")


def test_training_goes_on_without_any_stream(tmp_path):
    command = program.command(*SMALL, f"--run_dir={tmp_path / 'run'}")
    closed = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *command]
    assert subprocess.run(closed, env=program.environment(), check=False).returncode == 0
    assert is_complete(tmp_path / "run")


def test_a_score_that_cannot_be_printed_is_a_failure(tmp_path):
    run = saved.make_run(tmp_path / "run", "CartPole", {}, returns=(9.0,))
    flags = (f"--run_dir={run}", "--episodes=2", "--json")
    process = program.Program("jaxdqn.evaluate", flags, driver=FULL)
    _, stderr = process.end()
    assert process.returncode == 1 and stderr == f"error: {NO_SPACE}\n"


def test_where_launched_processes_go_on(tmp_path):
    words = ("--processes=1", "--devices=cpu", "--", *SMALL, f"--run_dir={tmp_path / 'run'}")
    launcher = program.Program("launch.local", words)
    launcher.wait_for("[0]  run_dir")
    launcher.stdout.close()
    assert launcher.wait() == 0
    (warning,) = launcher.errors().splitlines()
    assert "Broken pipe: the processes continue" in warning
    assert is_complete(tmp_path / "run")


PRINT = "from jaxdqn.cli import terminal; terminal.protect(); {}; "
PRINT += "raise SystemExit(terminal.exit_code({}))"


@pytest.mark.parametrize(
    ("redirection", "does", "code", "expected", "told"),
    [
        ("| true", "import time; time.sleep(1); print('x')", 0, 141, ""),
        ("> /dev/full", "print('x')", 0, 1, f"error: {NO_SPACE}\n"),
        ("> /dev/full", "print('x')", 3, 3, ""),
        (
            "> /dev/full",
            "terminal.tolerate_loss('on'); print(1)",
            0,
            0,
            f"WARNING: {NO_SPACE}: on\n",
        ),
        ("2> /dev/full", "import sys; print('x' * 10**6, file=sys.stderr)", 0, 0, ""),
        (
            ">&-",
            "print('x'); print(open('/dev/null').fileno() > 2, file=sys.stderr)",
            0,
            0,
            "True\n",
        ),
        ("> /dev/null", "print('\\u00fc', '\\udcff', file=sys.stderr)", 0, 0, "\\xfc \\udcff\n"),
    ],
)
def test_streams(redirection, does, code, expected, told):
    """Of which the exit code tells, unless what is printed does not matter."""
    script = f"import sys; {PRINT.format(does, code)}"
    shell = f'"$0" -c "$1" {redirection}; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(
        ["bash", "-c", shell, sys.executable, script],
        env=os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (expected, told)


def test_a_run_outlives_its_session_where_it_is_to(tmp_path):
    """As under `nohup`."""
    ignore = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    process = program.start(*SMALL, f"--run_dir={tmp_path / 'run'}", driver=ignore)
    process.wait_for("step 5")
    process.send_signal(signal.SIGHUP)
    _, stderr = process.end()
    assert process.returncode == 0, stderr
    assert is_complete(tmp_path / "run")


def test_a_first_ctrl_c_says_what_another_one_does():
    """In words that are true also where there is nothing to save yet."""
    script = "import os, signal, time; from jaxdqn.distributed import signals; "
    script += "signals.StopRequest().__enter__(); os.kill(os.getpid(), signal.SIGINT); "
    terminal, stderr = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", f"{script} time.sleep(300)"], stderr=stderr
    ) as process:
        said = os.read(terminal, 1000).decode().strip()
        process.kill()
    os.close(terminal)
    os.close(stderr)
    assert said == "Stopping. Press Ctrl-C again to stop at once, without saving."


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_a_program_that_is_ended_leaves_nothing_half_written(tmp_path, signum):
    run = saved.make_run(tmp_path / "run", "CartPole", {}, returns=(9.0,))
    flags = (f"--run_dir={run}", "--random", "--episodes=100000", f"--out={tmp_path / 'film.gif'}")
    process = program.Program("jaxdqn.record", flags)
    program.wait_until(lambda: (tmp_path / ".film.part.gif").exists())
    process.send_signal(signum)
    process.end()
    assert process.returncode == 128 + signum
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
