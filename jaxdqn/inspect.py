r"""Draws what a trained network does.

  python -m jaxdqn.inspect --run_dir=runs/Breakout-laptop-seed0 --out=inside

The program plays one game and draws up to four states: those with the highest action value, the
greatest spread and the smallest spread of action values, and the first loss of a life. For each it
shows the values of all actions (also as a table, `q_values.csv`) and where the network looks
(saliency). It also draws the filters of each convolution and their outputs for one state.
"""

from absl import flags

from jaxdqn.cli import devices, program, shared_flags
from jaxdqn.settings import protocols


def _define_flags() -> None:
    shared_flags.define_saved_run()
    shared_flags.define_protocol()
    flags.DEFINE_string("out", None, "the folder to create")
    flags.DEFINE_boolean("overwrite", False, "replace an existing inspection")
    shared_flags.define_play_seed()
    devices.define_compilation_cache()


def main() -> int:
    """Draws as the flags say; returns the exit code."""
    values = flags.FLAGS
    shared_flags.check_saved_run()
    out = shared_flags.new_folder()
    devices.start_devices()

    from jaxdqn.playing import inspection

    shared_flags.check_replaceable(out, inspection.may_be_replaced, "an inspection")
    agent = shared_flags.saved_agent()
    protocol = shared_flags.protocol_for(agent)
    agent = agent._replace(config=protocols.apply(protocol, agent.config, agent.spec))
    print(f"{out}: {', '.join(inspection.inspect(agent, out, seed=values.seed))}")
    return 0


if __name__ == "__main__":
    program.run_program(_define_flags, main)
