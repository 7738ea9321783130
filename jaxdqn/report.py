r"""Compares runs on one page that opens offline: scores, learning curves, films, settings.

python -m jaxdqn.report --runs='runs/*' --out=report.html
"""

import glob
import pathlib

from absl import flags

from jaxdqn import cli
from jaxdqn import config as config_lib


def _define_flags() -> None:
    flags.DEFINE_list("runs", ["runs/*"], "folders of runs, with wildcards; commas between them")
    flags.DEFINE_string("out", None, "the page: a .html")
    flags.DEFINE_boolean(
        "png", False, "write each plot as a PNG too, into a folder beside the page"
    )
    flags.DEFINE_boolean("overwrite", False, "replace a page that exists")
    flags.adopt_module_key_flags(cli)


def main() -> int:
    """Reports as the flags say; returns the exit code."""
    out = cli.output("out", (".html",))
    if out is None:
        raise config_lib.SettingError("out", "name the page, such as --out=report.html")
    patterns = [str(pathlib.Path(pattern).expanduser()) for pattern in flags.FLAGS.runs]
    # Not `Path.glob`, which takes no absolute patterns.
    paths = [
        pathlib.Path(path)
        for pattern in patterns
        for path in sorted(glob.glob(pattern))  # noqa: PTH207
    ]
    folders = list(dict.fromkeys(path for path in paths if path.is_dir()))
    if not folders:
        raise config_lib.SettingError("runs", f"no folder is {' or '.join(patterns)}")

    pictures = out.with_suffix("") if flags.FLAGS.png else None
    if pictures and pictures.exists():
        others = not pictures.is_dir() or any(path.suffix != ".png" for path in pictures.iterdir())
        if others or not flags.FLAGS.overwrite:
            raise config_lib.SettingError(
                "png", f"{pictures} exists" + ("" if others else "; --overwrite replaces it")
            )

    cli.import_jax()

    from jaxdqn.runtime import reporting

    print(reporting.write(folders, out, pictures))
    return 0


if __name__ == "__main__":
    cli.run_program(_define_flags, main)
