"""The examples play every export as the agent itself plays, without this package."""

import json
import runpy
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdqn.agent import motion
from jaxdqn.assembly import parts
from jaxdqn.exporting import export as export_lib
from jaxdqn.exporting import formats
from jaxdqn.playing import scoring
from tests import program, saved

EXAMPLES = program.ROOT / "examples"
NUM_GAMES, SEED = 4, 11

SMALL = {"img_height": 42, "img_width": 40, "max_episode_steps": 40}
TRACED = {**saved.TRACED, **SMALL, "frame_stack": 2}
CONV = {"network": "conv", "conv_features": (6, 10), "conv_sizes": (3, 2), "conv_strides": (2, 1)}
AGENTS = {
    "nature": (
        "Breakout",
        {**SMALL, "network": "nature", "dueling": True, "hidden_sizes": (16, 8)},
    ),
    "bytes": ("Breakout", {**SMALL, "network": "mlp", "scale_pixels": False, "frame_stack": 2}),
    "traced": ("Breakout", {**TRACED, "frame_skip_min": None}),
    "random steps": ("Breakout", TRACED),
    "cartpole": ("CartPole", {"frame_stack": 3}),
    "dueling": ("CartPole", {"dueling": True, "hidden_sizes": (16, 8)}),
    "same": ("Catch", {**CONV, "conv_padding": "same", "frame_stack": 2}),
    "valid": ("Catch", {**CONV, "hidden_sizes": (16, 16)}),
    "c51": ("Catch", {"head": "c51", "dueling": True, "num_atoms": 11}),
    "hl_gauss": ("Catch", {"head": "hl_gauss", "num_atoms": 11}),
    "qr": ("Catch", {"head": "qr", "num_quantiles": 7}),
    "iqn": ("Catch", {"head": "iqn", "dueling": True, "num_quantiles": 7}),
    "noisy": ("CartPole", {"noisy": True, "dueling": True, "hidden_sizes": (16, 8)}),
    "normed": ("Breakout", {**SMALL, "layer_norm": "channels", "hidden_sizes": (16,)}),
    "normed iqn": ("Catch", {"head": "iqn", "num_quantiles": 7, "layer_norm": "maps"}),
    "impala": (
        "Breakout",
        {
            **SMALL,
            "network": "impala",
            "pooled_size": 3,
            "spectral_norm": True,
            "head": "qr",
            "num_quantiles": 7,
            "noisy": True,
        },
    ),
    "hadamax": ("Breakout", {**SMALL, "network": "hadamax", "layer_norm": "channels"}),
    "ale": ("ale:Breakout", {**SMALL, "hidden_sizes": (16, 8)}),
    "gymnasium": ("gymnasium:FrozenLake-v1", {"hidden_sizes": (8,), "max_episode_steps": 30}),
    "own": (
        "tests.toys.gym_envs:Pictures-v0",
        {"hidden_sizes": (8,), "grayscale": True, "img_height": 3, "frame_stack": 2},
    ),
    "board": ("tests.toys.gym_envs:Board-v0", {**CONV, "frame_stack": 2}),  # channels last
    "pieces": ("tests.toys.gym_envs:Pieces-v0", {"hidden_sizes": (8,)}),  # bytes that are no pixels
    "colour": ("CoinrunEasy-v0", {**CONV, "frame_stack": 2}),  # channels first
    "blackjack": ("Blackjack-v1", {"hidden_sizes": ()}),  # whole numbers, and one linear layer
}
# The other formats hold the network itself: only what they are given differs.
# Of these encoders the script that has parameters alone knows nothing.
PLAIN = [name for name in AGENTS if name not in ("impala", "hadamax")]
ALSO_AS_NETWORKS = ("nature", "traced", "cartpole", "c51", "hl_gauss", "qr", "iqn")
ALSO_AS_NETWORKS += ("impala", "hadamax", "board", "blackjack")
EXPORTS = [(name, "safetensors") for name in PLAIN] + [
    (name, kind) for name in ALSO_AS_NETWORKS for kind in ("onnx", "stablehlo")
]
# What is typed, and what is said to it; WITHOUT=NAME: the module of that name is missing.
WRONG = [
    (("play_onnx.py",), "usage: play_onnx.py EXPORT_FOLDER NUM_GAMES SEED"),
    (("play_onnx.py", "blackjack.onnx", "4"), "usage: play_onnx.py"),
    (("play_safetensors.py", "blackjack.safetensors", "4", "0", "1"), "usage: play_safetensors.py"),
    (("play_stablehlo.py", "blackjack.stablehlo", "four", "0"), "usage: play_stablehlo.py"),
    (("play_onnx.py", "blackjack.onnx", "4", "-1"), "usage: play_onnx.py"),
    (("play_onnx.py", "blackjack.onnx", "0", "0"), "NUM_GAMES must be at least 1"),
    (("play_onnx.py", "blackjack.onnx", "1", "2147483648"), "SEED + NUM_GAMES at most 2**31"),
    (("play_onnx.py", "nowhere", "4", "0"), "nowhere is not an export: "),
    (("play_onnx.py", "empty", "4", "0"), "empty is not an export: "),
    (("play_onnx.py", "other", "4", "0"), "other is not an export: "),
    (("play_onnx.py", "blackjack.stablehlo", "4", "0"), "holds stablehlo, version 1; this script"),
    (("play_safetensors.py", "later", "4", "0"), "version 2; this script plays safetensors"),
    (
        ("play_safetensors.py", "own.safetensors", "4", "0"),
        "code of the module tests.toys.gym_envs",
    ),
    (("play_safetensors.py", "hidden", "4", "0"), "tests.toys.gym_envs:Pictures-v0 is not a game"),
    (("play_onnx.py", "cut.onnx", "4", "0"), "cut.onnx cannot be played: "),
    (("play_stablehlo.py", "cut.stablehlo", "4", "0"), "cut.stablehlo cannot be played: "),
    (("play_safetensors.py", "cut.safetensors", "4", "0"), "cut.safetensors cannot be played: "),
    (("play_safetensors.py", "unknown", "4", "0"), "unknown cannot be played: "),
    (("play_safetensors.py", "residual", "4", "0"), "does not know the network impala"),
    (("WITHOUT=onnxruntime", "play_onnx.py", "blackjack.onnx", "4", "0"), "onnxruntime"),
    (("WITHOUT=safetensors", "play_safetensors.py", "blackjack.safetensors", "4", "0"), "safetens"),
    (("WITHOUT=flatbuffers", "play_stablehlo.py", "blackjack.stablehlo", "4", "0"), "flatbuffers"),
]
# Runs one example after the other, as `python SCRIPT ...` does, and computes action values.
DRIVER = """
import contextlib, io, json, pathlib, runpy, sys, traceback
asked = json.load(sys.stdin)
sys.path.insert(0, asked["examples"])
told = []
for words in asked["commands"]:
    known = dict(sys.modules)
    if words[0].startswith("WITHOUT="):
        missing = words.pop(0).partition("=")[2]
        # Imported before, or itself what imported that.
        for name in known:
            if name.split(".")[0] == missing or name == "jax._src.export.serialization":
                del sys.modules[name]
        sys.modules[missing] = None
    sys.argv, out, errors, code = words, io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        try:
            runpy.run_path(asked["examples"] + "/" + words[0], run_name="__main__")
        except SystemExit as end:
            code = end.code
        except BaseException:
            traceback.print_exc()
            code = 1
    sys.modules.update(known)
    told.append([code, out.getvalue(), errors.getvalue()])
import numpy as np
load = runpy.run_path(asked["examples"] + "/play_safetensors.py")["load"]
for name in asked["valued"]:
    folder = pathlib.Path(name + ".safetensors")
    policy = json.loads((folder / "policy.json").read_text())
    values = load(folder / policy["policy"]["file"], policy)(np.load(name + ".npy"))
    np.save(name + ".values.npy", values)
print(json.dumps({"told": told, "loaded": [m for m in ("jaxdqn", "flax") if m in sys.modules]}))
"""


@pytest.fixture(scope="module")
def agents():
    return {name: saved.make_agent(*of) for name, of in AGENTS.items()}


def words(name, kind):
    """What is typed to play an export."""
    own = ("tests.toys.gym_envs",) if name in ("own", "board", "pieces") else ()
    return (f"play_{kind}.py", f"{name}.{kind}", str(NUM_GAMES), str(SEED), *own)


def observations(agent):
    """Random ones, [3, S, *seen_shape]."""
    shape = (3, agent.config.frame_stack, *parts.seen_shape(agent.config, agent.spec))
    return np.random.default_rng(0).integers(0, 256, shape).astype(agent.spec.frame_dtype)


@pytest.fixture(scope="module")
def results(agents, tmp_path_factory):
    """What one process with all examples did: by command, and the values that it computed."""
    place = tmp_path_factory.mktemp("exports")

    def export(name, kind, folder, size=None, **changes):
        """As `export_lib.export` does, which tests/test_exporting.py checks, without playing."""
        (place / folder).mkdir()
        file = place / folder / f"policy{formats.FORMATS[kind].suffix}"
        formats.FORMATS[kind].write(agents[name], file)
        file.write_bytes(file.read_bytes()[:size])
        check = export_lib.Check(0, 0, 0.0, 0.0, 0.0)
        told = export_lib.describe(agents[name], kind, file.name, check) | changes
        (place / folder / "policy.json").write_text(json.dumps(told))
        return told

    for name, kind in EXPORTS:
        told = export(name, kind, f"{name}.{kind}")
    for kind in formats.FORMATS:
        export("blackjack", kind, f"cut.{kind}", size=100)
    export("blackjack", "safetensors", "later", format_version=2)
    export("impala", "safetensors", "residual")
    export("blackjack", "safetensors", "unknown", env=told["env"] | {"id": "Blakjack-v1"})
    # Gymnasium would import what stands before the second colon.
    told = export("own", "safetensors", "not played")
    hidden = told["env"] | {"id": f"gymnasium:{told['env']['id']}"}
    export("own", "safetensors", "hidden", env=hidden)
    for name, agent in agents.items():
        np.save(place / f"{name}.npy", observations(agent))
    (place / "empty").mkdir()
    (place / "other").mkdir()
    (place / "other" / "policy.json").write_text("[]")
    played = [words(name, kind) for name, kind in EXPORTS]
    commands = [*played, *(words for words, _ in WRONG)]
    asked = {"examples": str(EXAMPLES), "commands": commands, "valued": PLAIN}
    done = subprocess.run(
        [sys.executable, "-c", DRIVER],
        input=json.dumps(asked),
        cwd=place,
        env={**program.environment(), "PYTHONPATH": str(program.ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["loaded"] == []
    values = {name: np.load(place / f"{name}.values.npy") for name in PLAIN}
    return dict(zip(commands, found["told"], strict=True)), values


@pytest.fixture(scope="module")
def own_returns(agents):
    """Returns of the agents themselves, by name."""
    return {
        name: scoring.score(agent, "greedy", NUM_GAMES, SEED)["returns"]
        for name, agent in agents.items()
    }


@pytest.mark.parametrize(("name", "kind"), EXPORTS)
def test_an_example_plays_as_the_agent_does(results, own_returns, name, kind):
    code, out, errors = results[0][words(name, kind)]
    assert code == 0, errors
    if name == "random steps":  # EnvPool plays others, which are near
        assert "a random 2 to 4 frames" in errors and "EnvPool always plays 3 " in errors
        assert len(errors.splitlines()) == 1 and out.startswith(f"{NUM_GAMES} games, mean return ")
    else:
        returns = own_returns[name]
        assert out == f"{NUM_GAMES} games, mean return {np.mean(returns):.2f}: {returns}\n"
        assert errors == ""


@pytest.mark.parametrize("name", PLAIN)
def test_the_parameters_alone_give_the_same_action_values(agents, results, name):
    agent = agents[name]
    seen = jax.device_put(observations(agent))
    expected = jax.jit(formats.network(agent).q_values)(agent.params, seen)
    tolerance = 1e-5 * max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(results[1][name], expected, rtol=0, atol=tolerance)
    assert np.ptp(expected, axis=0).max() > 100 * tolerance


def test_traces_of_motion_are_those_of_the_agent(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))  # for what it imports
    traced = runpy.run_path(str(EXAMPLES / "playing.py"))["Motion"]()
    random = np.random.default_rng(0)
    frame = random.integers(0, 256, (2, 5, 4)).astype(np.uint8)
    state = jax.vmap(lambda _: motion.init((5, 4)))(jnp.arange(2))
    for step in range(40):
        # Some pixels change by more than the threshold, and some by less.
        change = random.integers(-30, 31, frame.shape) * (random.random(frame.shape) < 0.3)
        frame = (frame + change).clip(0, 255).astype(np.uint8)
        state = jax.vmap(motion.advance)(state, jnp.asarray(frame), jnp.full(2, step == 0))
        np.testing.assert_array_equal(traced.add(frame), jax.vmap(motion.channels)(state))


@pytest.mark.parametrize(("words", "problem"), WRONG)
def test_what_cannot_be_played_is_refused_in_a_line(results, words, problem):
    code, out, errors = results[0][words]
    assert code == 2, errors
    assert out == ""
    (line,) = errors.splitlines()
    assert line.startswith("error: ") and problem in line


def test_examples_say_which_package_is_missing():
    done = subprocess.run(
        [sys.executable, "-E", "-S", EXAMPLES / "play_onnx.py", "nowhere", "4", "0"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == "error: a package is missing: No module named 'gymnasium'\n"


def test_examples_are_small_and_need_nothing_of_this_package():
    scripts = {f"play_{kind}.py" for kind in formats.FORMATS}
    games = {f"{source}_games.py" for source in ("ale", "envpool", "gymnasium")}
    scripts |= {"playing.py", "own_environment.py", "own_head.py"} | games
    assert scripts == {script.name for script in EXAMPLES.glob("*.py")}
    for script in EXAMPLES.glob("*.py"):
        text = script.read_text()
        assert len(text.splitlines()) <= 120 and "import jaxdqn" not in text
