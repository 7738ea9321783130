"""`jaxdqn PROGRAM`, its completion, and what `jaxdqn doctor` finds."""

import importlib.metadata
import importlib.util
import subprocess

import pytest

from jaxdqn import __version__
from jaxdqn.cli import command, diagnosis
from tests import program


def run(*words):
    """Runs `python -m jaxdqn` with these words."""
    ended = program.Program("jaxdqn", words)
    stdout, stderr = ended.end()
    return ended.returncode, stdout, stderr


def test_it_lists_programs_that_are_there():
    code, stdout, stderr = run()
    assert (code, stderr) == (0, "")
    for name in command.PROGRAMS:
        assert f"\n  {name} " in stdout and importlib.util.find_spec(f"jaxdqn.{name}")
    assert run("--help")[1] == stdout
    assert run("--version") == (0, f"jaxdqn {__version__}\n", "")


def test_a_wrong_program_is_refused_with_the_nearest():
    code, stdout, stderr = run("trian", "--env=CartPole")
    assert (code, stdout) == (2, "")
    assert stderr == "error: no program 'trian'; nearest: jaxdqn train\n"


def test_a_program_runs_as_by_its_own_name():
    flags = ("--env=CartPole", "--n_step=0")
    code, stdout, stderr = run("train", *flags)
    alone = program.run("train", *flags)
    assert (code, stdout, stderr) == (2, "", alone.stderr) and "n_step" in stderr
    code, stdout, _ = run("train", "--list_presets")
    assert code == 0 and stdout == program.run("train", "--list_presets").stdout


def test_the_command_is_installed():
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="jaxdqn")
    assert script.load().__module__ == "jaxdqn.__main__"


@pytest.fixture(scope="module")
def completion():
    code, stdout, stderr = run("completion")
    assert (code, stderr) == (0, "")
    return stdout


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["rec"], ["record"]),
        (["train", "--priority_ex"], ["--priority_exponent="]),
        (["evaluate", "--proto"], ["--protocol="]),
        (["train", "--env", "=", "Breako"], ["Breakout"]),
        (["train", "--env=Breako"], ["--env=Breakout"]),
        (["train", "--head", "="], ["scalar", "c51", "hl_gauss", "qr", "iqn"]),
        (["evaluate", "--js"], ["--json"]),
        (["evaluate", "--nojs"], ["--nojson"]),
        (["evaluate", "--agent=Acro"], ["--agent=Acrobot"]),
        (["evaluate", "--agent", "=", "/us"], ["/usr"]),
        (["train", "--track", "="], ["wandb"]),
        (["train", "--conv_padding", "="], ["valid", "same"]),
        (["export", "--format", "="], ["stablehlo", "onnx", "safetensors"]),
        (["train", "--preset", "=", "atari_"], ["atari_fast", "atari_gpu"]),
    ],
)
def test_bash_completes(completion, words, found):
    typed = " ".join(f"'{word}'" for word in ["jaxdqn", *words])
    ask = f'COMP_WORDS=({typed}); COMP_CWORD={len(words)}; _jaxdqn; echo "${{COMPREPLY[@]}}"'
    script = f"{completion}\n{ask}"
    told = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert told.stdout.split() == found, told.stderr


def test_the_doctor_finds_what_a_run_needs():
    code, stdout, stderr = run("doctor")
    assert (code, stderr) == (0, "")
    for told in (f"jaxdqn  {__version__}", "1 x cpu", "GB free", "convolutions", "Atari games"):
        assert told in stdout
    assert "  export  installed" in stdout


def test_without_emulators_no_run_can_train():
    ended = program.Program(
        "jaxdqn.doctor", (), "import sys\nsys.modules['envpool'] = None\nimport jax"
    )
    stdout, _ = ended.end()
    assert ended.returncode == 1 and "games  none can be played" in stdout


def test_what_an_extra_lacks_is_named(monkeypatch):
    version = importlib.metadata.version

    def without(name):
        if name == "flatbuffers":
            raise importlib.metadata.PackageNotFoundError
        return "0.1" if name == "onnxruntime" else version(name)

    monkeypatch.setattr(importlib.metadata, "version", without)
    found = {one.subject: one.text for one in diagnosis.findings()}
    assert found["export"] == "missing; pip install 'flatbuffers>=24' 'onnxruntime<2,>=1.24'"
    assert found["report"] == "installed"
