"""What is shown of a run's progress."""

import functools
import io
import sys

from jaxdqn.training import console

ROW = {"episode_return_mean": 1.5, "loss": None, "epsilon": 1.0, "memory_used_bytes": 10**9}
ROW |= {"steps_per_second": 100.0, "time_s": 100.0}


class Terminal(io.StringIO):
    def isatty(self):
        return True


def terminal(monkeypatch):
    """Takes the place of both streams."""
    shown = Terminal()
    monkeypatch.setattr(sys, "stdout", shown)
    monkeypatch.setattr(sys, "stderr", shown)
    return shown


def test_the_bar_shows_the_first_loss_before_its_row(monkeypatch):
    shown = terminal(monkeypatch)
    progress, asked = console.Progress(100_000, 0), []

    def find_loss():
        asked.append(True)
        return 0.25

    progress.advance(20_100, lambda: None)  # no update is made yet
    assert "loss" not in shown.getvalue()
    progress = console.Progress(100_000, 20_200)
    progress.row(20_200, ROW)
    progress.advance(20_300, find_loss)
    progress.advance(20_400, find_loss)
    progress.close()
    assert "return=1.5, loss=0.25, epsilon=1" in shown.getvalue()
    assert len(asked) == 1  # to know it the device is waited for


def test_a_first_loss_is_looked_for_now_and_then_alone(monkeypatch):
    terminal(monkeypatch)
    progress, asked = console.Progress(100_000, 0), []
    for step in range(1_000):
        progress.advance(step, functools.partial(asked.append, step))
    progress.close()
    assert len(asked) == 1


def test_the_time_of_a_run_is_told_once_it_is_known(capsys):
    progress = console.Progress(100_000, 0)
    progress.row(10_000, ROW)
    progress.row(20_000, ROW | {"loss": 0.5, "time_s": 200.0})
    progress.row(30_000, ROW | {"loss": 0.5, "time_s": 300.0})
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "time" in line] == [
        "    time  about 0:16:40 in total, at 100 steps/s"
    ]
    assert lines[0].startswith("step 10,000/100,000  100 steps/s  left 0:15:00")
    console.Progress(10**15, 0).row(1, ROW | {"steps_per_second": 0.1})
    assert "left 115740740 days, 17:46:40" in capsys.readouterr().out
