r"""Compares runs on one page.

  python -m jaxdqn.report --runs='runs/*' --out=report.html
  python -m jaxdqn.report --runs='runs/*' --serve

The page shows scores, learning curves, films and settings. The file opens offline. With `--serve`,
a browser on this machine shows the page at http://127.0.0.1:6464/ while runs train.
"""

import glob
import signal

from absl import flags

from jaxdqn import errors
from jaxdqn.cli import devices, program, run_folders, shared_flags

_PORT = 6464


def _define_flags() -> None:
    flags.DEFINE_string(
        "runs", "runs/*", "folders of runs, by name or with wildcards, separated by commas"
    )
    flags.DEFINE_string("out", None, "page to write, an .html file")
    flags.DEFINE_boolean(
        "png", False, "also write each plot as a PNG, into a folder next to the page"
    )
    flags.DEFINE_boolean("overwrite", False, "replace an existing page")
    flags.DEFINE_boolean(
        "serve",
        False,
        "instead of writing the page, show it to browsers on this machine and refresh it as runs "
        "write rows and films; runs that start later appear too. Ctrl-C stops it",
    )
    flags.DEFINE_integer(
        "port",
        _PORT,
        "port at which --serve shows the page; 0: any that is free",
        lower_bound=0,
        upper_bound=65_535,
    )


def main() -> int:
    """Reports as the flags say; returns the exit code."""
    return _serve() if flags.FLAGS.serve else _write()


def _write() -> int:
    if flags.FLAGS["port"].present:
        raise errors.SettingError("port", "has no effect without --serve")
    out = shared_flags.output("out", (".html",))
    if out is None:
        raise errors.SettingError("out", "name the page, such as --out=report.html, or use --serve")
    folders = run_folders.named(flags.FLAGS.runs)
    pictures = out.with_suffix("") if flags.FLAGS.png else None
    if pictures and pictures.exists():
        others = not pictures.is_dir() or any(path.suffix != ".png" for path in pictures.iterdir())
        if others or not flags.FLAGS.overwrite:
            raise errors.SettingError(
                "png", f"{pictures} exists" + ("" if others else "; --overwrite replaces it")
            )

    devices.import_jax()

    from jaxdqn.reporting import page

    print(page.write(folders, out, pictures))
    return 0


def _serve() -> int:
    """Shows the page to browsers until a signal comes."""
    for name in ("out", "png", "overwrite"):
        if flags.FLAGS[name].value:
            raise errors.SettingError(name, "has no effect with --serve, which writes nothing")
    named = flags.FLAGS.runs
    found, missing = run_folders.found_and_missing(named)
    # What matches a wildcard may still come; another name that is missing is misspelt.
    misspelt = [part for part in missing if not glob.has_magic(part)]
    if misspelt or not (found or missing):
        raise run_folders.no_folder(misspelt, named)

    devices.import_jax()

    from jaxdqn.reporting.serving import live_page, server

    page = live_page.LivePage(lambda: run_folders.found_and_missing(named)[0])
    with server.Server(page, flags.FLAGS.port) as serving:
        try:
            print(f"serving {named} at {serving.url}; Ctrl-C stops it", flush=True)
            page.newest(wait_s=0)  # begins to make it, which takes minutes for hundreds of runs
            serving.serve_forever()
        except KeyboardInterrupt:
            return 128 + signal.SIGINT
        finally:
            print("stopped serving")
    return 0


if __name__ == "__main__":
    program.run_program(_define_flags, main)
