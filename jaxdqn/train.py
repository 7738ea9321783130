r"""Trains a deep Q-network.

  python -m jaxdqn.train --env=Breakout

The same command again goes on from the last checkpoint.
"""

from absl import flags

from jaxdqn import cli, paths, presets, terminal


def _define_flags() -> None:
    flags.DEFINE_string("run_dir", None, "folder of the run (default: runs/ENV-PRESET-seedN)")
    flags.DEFINE_boolean("overwrite", False, "start anew where a run lies already")
    flags.DEFINE_boolean(
        "verbose", False, "print the parameters, and a line for every game of training"
    )
    flags.DEFINE_boolean("list_presets", False, "tell what each preset is for, and leave")
    flags.DEFINE_enum("track", None, ["wandb"], "mirror the metrics there too, if it is installed")
    cli.define_processes()
    cli.define_compilation_cache()
    cli.define_settings()
    flags.adopt_module_key_flags(cli)  # --help shows them


def main() -> int:
    """Trains as the flags say; returns the exit code."""
    if flags.FLAGS.list_presets:
        print(presets.listing())
        return 0
    given = cli.given_settings()
    env, preset = given.pop("env", None), given.pop("preset", "")
    settings = presets.resolve(env or "", preset, given)
    values = flags.FLAGS
    path = paths.usable("run_dir", values.run_dir) if values.run_dir else None

    terminal.tolerate_loss("training goes on, and metrics.jsonl in the run's folder has everything")
    cli.import_jax()
    import jax

    from jaxdqn.runtime import hosts, joining

    joining.join(values.coordinator_address, values.num_processes, values.process_id)
    with hosts.leaving_at_once():
        cli.start_devices()  # a C++ compiler runs beside the imports

        from jaxdqn.runtime import setup, tracking, training

        if values.track and hosts.is_primary():
            tracking.check_installed(values.track)

        jax.config.update("jax_numpy_rank_promotion", "raise")
        prepared = setup.prepare(
            settings,
            path=path,
            overwrite=values.overwrite,
            capacity_chosen_by_user="replay_capacity" in given,
        )
        return training.run(prepared, track=values.track, verbose=values.verbose)


if __name__ == "__main__":
    cli.run_program(_define_flags, main, handles_signals=True)
