r"""Trains a deep Q-network.

  python -m jaxdqn.train --env=Breakout

The same command, run again, resumes from the last checkpoint.
"""

from absl import flags

from jaxdqn.cli import devices, paths, program, setting_flags, shared_flags, terminal
from jaxdqn.settings import presets


def _define_flags() -> None:
    flags.DEFINE_string("run_dir", None, "folder of the run (default: runs/ENV-PRESET-seedN)")
    flags.DEFINE_boolean("overwrite", False, "replace the run that is already in the folder")
    flags.DEFINE_boolean(
        "verbose", False, "print the network's parameters, and a line for every training game"
    )
    flags.DEFINE_boolean(
        "list_presets", False, "list the presets with their games and expected results, and exit"
    )
    flags.DEFINE_enum(
        "track", None, ["wandb"], "service that also receives the metrics, if it is installed"
    )
    shared_flags.define_processes()
    devices.define_compilation_cache()
    setting_flags.define_settings()


def main() -> int:
    """Trains as the flags say; returns the exit code."""
    if flags.FLAGS.list_presets:
        print(presets.listing())
        return 0
    given = setting_flags.given_settings()
    env, preset = given.pop("env", None), given.pop("preset", "")
    settings = presets.resolve(env or "", preset, given)
    values = flags.FLAGS
    path = paths.usable("run_dir", values.run_dir) if values.run_dir else None

    terminal.tolerate_loss(
        "training continues, and metrics.jsonl in the run's folder has everything"
    )
    devices.import_jax()
    import jax

    from jaxdqn.distributed import joining, processes

    joining.join(values.coordinator_address, values.num_processes, values.process_id)
    with processes.abort_on_error():
        devices.start_devices()  # a C++ compiler runs during the imports

        from jaxdqn.rundir import tracking
        from jaxdqn.training import run, setup

        if values.track and processes.is_primary():
            tracking.check_installed(values.track)

        jax.config.update("jax_numpy_rank_promotion", "raise")
        prepared = setup.prepare(
            settings,
            path=path,
            overwrite=values.overwrite,
            capacity_chosen_by_user="replay_capacity" in given,
        )
        code = run.train(prepared, track=values.track, verbose=values.verbose)
        if code and processes.count() == 1:
            # A signal came, perhaps while a program was compiled that is of no use any more.
            program.exit_now(code)
        return code


if __name__ == "__main__":
    program.run_program(_define_flags, main, handles_signals=True)
