r"""Pushes a trained agent to the Hugging Face Hub, with a model card and a film.

  python -m jaxdqn.publish --run_dir=runs/CartPole-cartpole-seed0 --repository=USER/CartPole

`hf auth login` or the variable HF_TOKEN says who you are. Others then use the agent as
`--agent=hf:USER/CartPole`. With `--out` the files are written to a folder and nothing is pushed.
"""

import functools
import pathlib
import tempfile

from absl import flags

from jaxdqn import errors
from jaxdqn.cli import devices, program, shared_flags


def _define_flags() -> None:
    shared_flags.define_saved_run()
    flags.DEFINE_string("repository", None, "USER/NAME on the Hub; created if it does not exist")
    flags.DEFINE_boolean("private", False, "hide a new repository from others")
    flags.DEFINE_boolean("film", True, "add a film of a game, of at most five minutes")
    flags.DEFINE_string("out", None, "folder to write instead of pushing")
    flags.DEFINE_boolean("overwrite", False, "replace an existing folder of that name")
    devices.define_compilation_cache()


def main() -> int:
    """Publishes as the flags say; returns the exit code."""
    values = flags.FLAGS
    shared_flags.check_saved_run()
    out = shared_flags.output("out", ())
    if not out and (values.repository or "").count("/") != 1:
        raise errors.SettingError("repository", "must be USER/NAME; or name a folder with --out")

    devices.start_devices()

    from jaxdqn.exporting import export, publishing
    from jaxdqn.rundir import agent_names

    if out:
        may_be_replaced = functools.partial(export.may_be_replaced, more=(publishing.FILM,))
        shared_flags.check_replaceable(out, may_be_replaced, "an agent")
    else:
        agent_names.hub()  # before anything is made
    agent = shared_flags.saved_agent()
    with tempfile.TemporaryDirectory() as temporary:
        folder = out or pathlib.Path(temporary) / "agent"
        problem = publishing.prepare(agent, folder, with_film=values.film)
        if problem:
            print(f"no film: {problem}")
        if out:
            print(f"{out}: step {agent.step:,} of {agent.path}; not pushed")
        else:
            print(publishing.push(folder, values.repository, private=values.private))
    return 0


if __name__ == "__main__":
    program.run_program(_define_flags, main)
