"""Options that parts declare at their registration."""

import dataclasses

import pytest

from jaxdqn import errors
from jaxdqn.cli import setting_flags
from jaxdqn.settings import config as config_lib
from jaxdqn.settings import part_options, presets, registries, registry


def entries(*options):
    parts = registry.Registry("head")
    for number, declared in enumerate(options):
        parts.register(str(number), "module", "a part", options=declared)
    return parts.values()


def test_options_have_their_defaults_and_the_types_of_these():
    declared = entries({"width": 1.0, "soft": False}, {"count": 3, "kind": "a", "width": 1.0})
    defaults = {"width": 1.0, "soft": False, "count": 3, "kind": "a"}
    assert part_options.values(declared, []) == defaults
    found = part_options.values(declared, ["width=2", "soft=true", "count=4", "kind=b=c"])
    assert found == {"width": 2.0, "soft": True, "count": 4, "kind": "b=c"}
    assert [type(value) for value in found.values()] == [float, bool, int, str]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("width", "is 'width'; must be options and their values, such as width=2"),
        ("widht=2", "has 'widht'; the parts of this run have width=1.0, soft=false, count=3"),
        ("width=wide", "has width=wide; must be a number"),
        ("soft=1", "has soft=1; must be true or false"),
        ("count=1.5", "has count=1.5; must be a whole number"),
    ],
)
def test_wrong_options_are_refused(given, problem):
    declared = entries({"width": 1.0, "soft": False, "count": 3})
    with pytest.raises(errors.SettingError) as caught:
        part_options.values(declared, [given])
    assert str(caught.value) == f"--part_options: {problem}"


def test_an_option_is_set_once():
    with pytest.raises(errors.SettingError, match="--part_options: has width twice"):
        part_options.values(entries({"width": 1.0}), ["width=2", "width=3"])


def test_options_of_the_parts_of_a_run(monkeypatch):
    monkeypatch.setattr(registries, "HEADS", registry.Registry("head"))
    checked = []
    registries.HEADS.register(
        "scalar",
        "module",
        "a head",
        reads=frozenset({"td_loss"}),
        options={"width": 1.0},
        check=lambda config: checked.append(config.options),
    )
    given = setting_flags.parse(["--part_options=width=2"])
    config = presets.resolve("CartPole", "", given)
    assert config.options == {"width": 2.0} and checked[-1] == config.options
    assert presets.resolve("CartPole", "", {}).options == {"width": 1.0}
    stored = dataclasses.asdict(config) | {"part_options": ["width=3"]}  # as JSON has them
    assert config_lib.from_stored(stored).options == {"width": 3.0}
