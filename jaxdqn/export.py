r"""Exports a trained agent as files that run without this package.

  python -m jaxdqn.export --run_dir=runs/Breakout-atari-seed0 --format=onnx --out=breakout

The folder holds the network, `policy.json` (game, preprocessing, actions, scores, versions) and a
model card. What was written is run and compared with the network before it is left there.
"""

from absl import flags

from jaxdqn import cli
from jaxdqn import config as config_lib

_FORMATS = ("stablehlo", "onnx", "safetensors")


def _define_flags() -> None:
    cli.define_saved_run()
    flags.DEFINE_enum(
        "format",
        None,
        _FORMATS,
        "stablehlo: for JAX on CPU, CUDA and TPU; onnx: for ONNX Runtime and others; safetensors: "
        "the parameters alone",
    )
    flags.DEFINE_string("out", None, "the folder to make")
    flags.DEFINE_boolean("overwrite", False, "replace an export that lies there")
    cli.define_compilation_cache()
    flags.adopt_module_key_flags(cli)


def main() -> int:
    """Exports as the flags say; returns the exit code."""
    values = flags.FLAGS
    path = cli.saved_run_path()
    if not values.format:
        raise config_lib.SettingError("format", f"name one of {', '.join(_FORMATS)}")
    out = cli.output("out", ())
    if out is None:
        raise config_lib.SettingError("out", "name the folder to make")

    cli.start_devices()

    from jaxdqn.runtime import exporting, saved_run

    if out.exists() and not exporting.is_export(out):
        raise config_lib.SettingError(
            "out", f"{out} exists and holds more than an export; another name"
        )
    agent = saved_run.load(path, values.checkpoint)
    check = exporting.export(agent, values.format, out)
    print(
        f"{out}: step {agent.step:,} of {path} as {values.format}; on {check.frames} frames of "
        f"play {check.equal_actions} actions equal, action values within "
        f"{check.largest_difference:.1g} (allowed: {check.tolerance:.1g})"
    )
    return 0


if __name__ == "__main__":
    cli.run_program(_define_flags, main)
