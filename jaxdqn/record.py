r"""Films a trained agent at play, at the game's own speed.

  python -m jaxdqn.record --run_dir=runs/Breakout-laptop-seed0 --out=play.mp4 --overlay

`--out` writes a film, `--sheet` a picture of raw and processed frames.
"""

from absl import flags

from jaxdqn import errors
from jaxdqn.cli import devices, program, shared_flags
from jaxdqn.settings import protocols

_SUFFIXES = (".mp4", ".gif")


def _define_flags() -> None:
    shared_flags.define_saved_run()
    shared_flags.define_protocol()
    flags.DEFINE_string("out", None, "film to write, an .mp4 or a .gif")
    flags.DEFINE_boolean(
        "overlay", False, "also show Q-values, the action taken, the return and the network's input"
    )
    flags.DEFINE_string(
        "sheet", None, "picture to write, a .png of raw and processed frames side by side"
    )
    flags.DEFINE_boolean(
        "random", False, "film random play, as with --protocol=random, but without a checkpoint"
    )
    flags.DEFINE_integer("episodes", 1, "whole games to film", lower_bound=1)
    shared_flags.define_play_seed()
    flags.DEFINE_boolean("overwrite", False, "replace files that exist")
    devices.define_compilation_cache()


def main() -> int:
    """Films as the flags say; returns the exit code."""
    values = flags.FLAGS
    shared_flags.check_saved_run()
    out, sheet = shared_flags.output("out", _SUFFIXES), shared_flags.output("sheet", (".png",))
    if out is None and sheet is None:
        raise errors.SettingError("out", "name a film, such as --out=play.mp4, or a --sheet")
    if values.overlay and out is None:
        raise errors.SettingError("overlay", "has no effect without a film: name it with --out")
    if values.random and values.protocol not in (None, "random"):
        raise errors.SettingError("random", f"means --protocol=random, not {values.protocol}")

    devices.start_devices()

    from jaxdqn.playing import recording

    if values.random:
        agent, protocol = shared_flags.saved_agent(untrained=True), "random"
    else:
        agent = shared_flags.saved_agent()
        protocol = shared_flags.protocol_for(agent)
    print(
        recording.record(
            agent._replace(config=protocols.apply(protocol, agent.config, agent.spec)),
            out=out,
            sheet=sheet,
            with_overlay=values.overlay,
            seed=values.seed,
            num_episodes=values.episodes,
        )
    )
    return 0


if __name__ == "__main__":
    program.run_program(_define_flags, main)
