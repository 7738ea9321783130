"""Munchausen Q-learning."""

import dataclasses

from jaxdqn.settings import ranges, registries, setting

_MUNCHAUSEN = registries.ALGORITHMS.reading("munchausen")


@dataclasses.dataclass(frozen=True, kw_only=True)
class MunchausenSettings:
    """Munchausen Q-learning. The defaults are those of Vieillard et al. (2020) for Atari."""

    policy_temperature: float = setting.setting(
        0.03,
        "temperature of the softmax policy, in units of action values",
        ranges.POSITIVE,
        read_if=_MUNCHAUSEN,
        on_card=True,
    )
    bonus_factor: float = setting.setting(
        0.9,
        "coefficient of the Munchausen bonus, --policy_temperature * log pi(a given s)",
        ranges.SHARE,
        read_if=_MUNCHAUSEN,
        on_card=True,
    )
    bonus_min: float = setting.setting(
        -1.0,
        "the bonus is clipped to [--bonus_min, 0] before it is multiplied by --bonus_factor",
        ranges.Range(lambda value: -1e6 <= value <= 0, "between -1e6 and 0"),
        read_if=_MUNCHAUSEN,
        on_card=True,
    )
