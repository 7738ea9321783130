"""Tests that training moves data to the host only where it asks for it."""

import pytest

from tests import program

REFUSE = "from tests import transfers; transfers.refuse_implicit()"
REPLAYED = (*program.SMALL, "--env=CartPole", "--preset=classic", "--hidden_sizes=16")
REPLAYED += ("--head=c51", "--noisy", "--sampler=prioritized")
REPLAYED += ("--batch_size=16", "--num_atoms=11", "--steps_per_update=8")
FROM_MEMORY = ("--env=CartPole", "--preset=classic_pqn", "--total_steps=3000", "--hidden_sizes=16")


@pytest.mark.parametrize(
    "flags", [REPLAYED, FROM_MEMORY, program.SWEEP], ids=["dqn", "pqn", "sweep"]
)
def test_nothing_moves_to_the_host_by_itself(tmp_path, flags):
    """Rows, evaluations, checkpoints and the end of a run included."""
    process = program.start(*flags, f"--run_dir={tmp_path}", driver=REFUSE)
    _, errors = process.end()
    assert process.returncode == 0, errors
