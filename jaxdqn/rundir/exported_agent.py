"""A trained agent, read from a folder that `jaxdqn.export --format=safetensors` wrote.

Nothing from the files is executed: parameters are numbers, and settings are checked as those of a
run are.
"""

import json
import pathlib
from typing import Any

import jax
import numpy as np

from jaxdqn import errors
from jaxdqn.assembly import env_spec, parts
from jaxdqn.rundir import metrics, trained_agent
from jaxdqn.settings import config as config_lib

POLICY_FILE = "policy.json"
FORMAT, VERSION = "jaxdqn-policy", 1
KIND = "safetensors"
PARAMETERS_FILE = f"policy.{KIND}"
# What reading JSON of another form raises: values of other types, infinite numbers, deep nesting.
_MALFORMED = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
)


def parameter_name(where: Any) -> str:
    """A parameter's name in a file, such as 'Dense_0/kernel'; flax's 'params' is left out."""
    names = [part.key for part in where]
    return "/".join(names[1:] if names[0] == "params" else names)


def is_export(path: pathlib.Path) -> bool:
    """Whether a folder holds an agent of any format."""
    try:
        described = json.loads((path / POLICY_FILE).read_text())
        return bool(described["format"] == FORMAT)
    except (OSError, *_MALFORMED):
        return False


def load(path: pathlib.Path) -> trained_agent.SavedAgent:
    """Reads an agent.

    Args:
      path: the folder.

    Raises:
      RunError: it holds no agent in this format, or one that this version cannot play.
    """
    try:
        described = json.loads((path / POLICY_FILE).read_text())
        kind, version = described["policy"]["kind"], described["format_version"]
        if (described["format"], kind, version) != (FORMAT, KIND, VERSION):
            raise ValueError(f"it holds {kind}, version {version}; needed: {KIND}, {VERSION}")
        config = config_lib.from_stored(described["settings"])
        step = int(described["checkpoint"])
        evaluation = _evaluation(step, described["scores"])
    except (OSError, *_MALFORMED, errors.SettingError) as error:
        raise errors.RunError(f"{path} holds no agent that can be used: {error}") from None
    spec = env_spec.describe(config)
    params = _read(path, parts.params_like(config, spec))
    return trained_agent.SavedAgent(path, config, spec, step, params, evaluation)


def _evaluation(step: int, scores: Any) -> metrics.Row | None:
    """What the agent's run scored; raises one of `_MALFORMED`."""
    if not scores:
        return None
    mean, std = float(scores["return_mean"]), float(scores["return_std"])
    if not np.isfinite([mean, std]).all():
        raise ValueError(f"its scores are not finite: {mean:g} +- {std:g}")
    return {
        "step": step,
        "eval_return_mean": mean,
        "eval_return_std": std,
        "eval_episodes": int(scores["episodes"]),
    }


def _read(path: pathlib.Path, like: Any) -> Any:
    """The parameters in a folder, on this process's first device."""
    import safetensors
    import safetensors.numpy

    try:
        named = safetensors.numpy.load_file(path / PARAMETERS_FILE)
    except (OSError, safetensors.SafetensorError) as error:
        raise errors.RunError(f"{path / PARAMETERS_FILE} cannot be read: {error}") from None

    def of(where: Any, leaf: jax.ShapeDtypeStruct) -> jax.Array:
        name = parameter_name(where)
        found = named.get(name)
        if found is None or found.shape != leaf.shape:
            there = "nothing" if found is None else f"{found.shape}"
            raise errors.RunError(
                f"{path / PARAMETERS_FILE} does not belong to its settings: {name} has shape "
                f"{leaf.shape}, and there is {there}"
            )
        return jax.device_put(found.astype(leaf.dtype))

    return jax.tree_util.tree_map_with_path(of, like)


def differences(one: Any, other: Any) -> list[str]:
    """Where two trees of parameters have other names or shapes, in words."""
    shapes = [
        {parameter_name(where): np.shape(leaf) for where, leaf in leaves}
        for leaves in map(jax.tree_util.tree_leaves_with_path, (one, other))
    ]
    names = dict.fromkeys([*shapes[0], *shapes[1]])
    return [
        f"{name}: {_words(shapes[0].get(name))} and {_words(shapes[1].get(name))}"
        for name in names
        if shapes[0].get(name) != shapes[1].get(name)
    ]


def _words(shape: tuple[int, ...] | None) -> str:
    return "none" if shape is None else "x".join(map(str, shape)) or "a number"
