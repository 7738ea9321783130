"""What tells one version of the program from another."""

from jaxdqn.rundir import provenance


def test_a_changed_source_is_other_code(tmp_path):
    (tmp_path / "kernels").mkdir()
    sources = {"train.py": "a = 1\n", "kernels/multiply.h": "int a;\n"}
    for name, text in sources.items():
        (tmp_path / name).write_text(text)
    before = provenance.code(tmp_path)
    (tmp_path / "notes.txt").write_text("no code")
    assert provenance.code(tmp_path) == before
    for name, text in sources.items():
        (tmp_path / name).write_text("changed")
        assert provenance.code(tmp_path) != before
        (tmp_path / name).write_text(text)
    (tmp_path / "train.py").rename(tmp_path / "main.py")
    assert provenance.code(tmp_path) != before


def test_the_code_of_this_program_stays_the_same():
    assert provenance.code() == provenance.code()
