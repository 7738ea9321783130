"""Rates of learners that are measured in turn."""

from benchmarks import rates_alone, timed_runs
from jaxdqn import errors


def test_rounds_are_interleaved_and_one_that_fails_stops_no_other(capsys):
    measured, speeds = [], iter((10.0, 30.0, 20.0))

    def works():
        measured.append("works")
        return timed_runs.Rate(next(speeds), len(measured), 1.0)

    def fails():
        measured.append("fails")
        raise errors.RunError("learns nothing")

    rounds = list(rates_alone.medians({"works": works, "fails": fails}, 3))
    assert measured == ["works", "fails"] * 3
    # Where learning begins is that of the first round.
    assert rounds == [{"works": (speed, 1, 1.0)} for speed in (10, 20, 20)]
    assert capsys.readouterr().out == "no rate: learns nothing\n" * 3
