r"""Draws what a trained network does.

  python -m jaxdqn.inspect --run_dir=runs/Breakout-atari-seed0 --out=inside

Of one game: the states with the highest action value, the greatest and the smallest spread of
action values, and a life lost, with the values of every action (and as a table, q_values.csv);
where the network looks (saliency); the filters of each convolution and what they make of a state.
"""

from absl import flags

from jaxdqn import cli, protocols
from jaxdqn import config as config_lib


def _define_flags() -> None:
    cli.define_saved_run()
    cli.define_protocol()
    flags.DEFINE_string("out", None, "the folder to make")
    flags.DEFINE_boolean("overwrite", False, "replace a folder that an inspection made")
    cli.define_play_seed()
    cli.define_compilation_cache()
    flags.adopt_module_key_flags(cli)


def main() -> int:
    """Draws as the flags say; returns the exit code."""
    values = flags.FLAGS
    path = cli.saved_run_path()
    out = cli.output("out", ())
    if out is None:
        raise config_lib.SettingError("out", "name the folder to make")
    cli.start_devices()

    from jaxdqn.runtime import inspection, saved_run

    if out.exists() and not inspection.is_inspection(out):
        raise config_lib.SettingError(
            "out", f"{out} exists and holds more than an inspection; another name"
        )
    agent = saved_run.load(path, values.checkpoint)
    protocol = values.protocol or protocols.default_for(agent.config.env)
    agent = agent._replace(config=protocols.apply(protocol, agent.config))
    print(f"{out}: {', '.join(inspection.inspect(agent, out, seed=values.seed))}")
    return 0


if __name__ == "__main__":
    cli.run_program(_define_flags, main)
