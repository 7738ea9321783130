"""Folders of runs, as `--runs` names them."""

import re

import pytest

from jaxdqn import errors
from jaxdqn.cli import run_folders


def test_folders_are_named_by_name_or_by_wildcards(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("[a],b", "a", "b", "c,d", "c", "q*", "q1", "e f"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    (tmp_path / "runs" / "file").touch()
    for named, expected in (
        ("runs/[a],b", ["[a],b"]),
        ("runs/[ab]", ["a", "b"]),
        ("runs/a,runs/b", ["a", "b"]),
        ("runs/a, runs/b,", ["a", "b"]),
        ("runs/b,runs/a,runs/b", ["b", "a"]),
        ("runs/c,d", ["c,d"]),
        ("runs/c,d,runs/c", ["c,d", "c"]),
        ("runs/a,runs/[a],b,runs/c,*", ["a", "[a],b", "c,d"]),
        ("runs/q*", ["q*"]),
        ("runs/q?", ["q*", "q1"]),
        ("runs/e f", ["e f"]),
        (str(tmp_path / "runs" / "c,d"), ["c,d"]),
    ):
        assert [path.name for path in run_folders.named(named)] == expected, named
    (tmp_path / "linked").symlink_to(tmp_path / "runs" / "a")
    twice = f"runs/a,linked,{tmp_path}/runs/a"
    assert [path.name for path in run_folders.named(twice)] == ["a"]
    for named, told in (
        ("runs/z", "no folder matches runs/z"),
        ("runs/a,runs/z,runs/y*", "no folder matches runs/z or runs/y*"),
        ("runs/file", "no folder matches runs/file"),
        ("", "no folder matches ''"),
        ("~nobody-of-this-name/a", "no folder matches ~nobody-of-this-name/a"),
        ("x" * 5000, "no folder matches x"),
    ):
        with pytest.raises(errors.SettingError, match=re.escape(told)):
            run_folders.named(named)
