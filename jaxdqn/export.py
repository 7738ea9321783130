r"""Exports a trained agent as files that run without this package.

  python -m jaxdqn.export --run_dir=runs/Breakout-laptop-seed0 --format=onnx --out=breakout

The folder has the network, `policy.json` (game, preprocessing, actions, scores, versions) and a
model card. The written file is run and compared with the network before it is moved into place.
"""

from absl import flags

from jaxdqn import errors
from jaxdqn.cli import devices, program, shared_flags
from jaxdqn.exporting import kinds


def _define_flags() -> None:
    shared_flags.define_saved_run()
    flags.DEFINE_enum(
        "format",
        None,
        list(kinds.KINDS),
        "; ".join(f"{name}: {kind.text}" for name, kind in kinds.KINDS.items()),
    )
    flags.DEFINE_string("out", None, "the folder to create")
    flags.DEFINE_boolean("overwrite", False, "replace an existing export")
    devices.define_compilation_cache()


def main() -> int:
    """Exports as the flags say; returns the exit code."""
    values = flags.FLAGS
    shared_flags.check_saved_run()
    if not values.format:
        raise errors.SettingError("format", f"name one of {', '.join(kinds.KINDS)}")
    out = shared_flags.new_folder()

    devices.start_devices()

    from jaxdqn.exporting import export

    shared_flags.check_replaceable(out, export.may_be_replaced, "an export")
    agent = shared_flags.saved_agent()
    check = export.export(agent, values.format, out)
    print(
        f"{out}: step {agent.step:,} of {agent.path} as {values.format}; on {check.frames} frames "
        f"of play {check.equal_actions} actions equal, action values within "
        f"{check.largest_difference:.1g} (allowed: {check.tolerance:.1g})"
    )
    return 0


if __name__ == "__main__":
    program.run_program(_define_flags, main)
