"""What the outputs of the Q-network mean."""

import dataclasses

from jaxdqn.settings import ranges, registries, setting

# Devices calculate with returns in float32.
_RETURN = ranges.Range(lambda value: abs(value) <= 1e6, "between -1e6 and 1e6")
_ATOMS = registries.HEADS.reading("atoms")


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeadSettings:
    """What the outputs of the Q-network mean."""

    head: str = setting.setting(
        "scalar",
        f"what the network's outputs mean. {registries.HEADS.listing()}",
        registries.HEADS.names,
        on_card=True,
        gives_meaning=True,
    )
    num_atoms: int = setting.setting(
        51,
        "number of atoms (c51) or bins (hl_gauss)",
        ranges.at_most(1_000, least=2),
        read_if=_ATOMS,
        on_card=True,
    )
    value_min: float = setting.setting(
        -10.0,
        "smallest return that c51 and hl_gauss can represent",
        _RETURN,
        read_if=_ATOMS,
        on_card=True,
        gives_meaning=True,
    )
    value_max: float = setting.setting(
        10.0,
        "largest return that c51 and hl_gauss can represent",
        _RETURN,
        read_if=_ATOMS,
        on_card=True,
        gives_meaning=True,
    )
    gauss_width: float = setting.setting(
        0.75,
        "standard deviation of hl_gauss's targets, in bin widths",
        ranges.Range(lambda value: 0.01 <= value <= 100, "between 0.01 and 100"),
        read_if=registries.HEADS.reading("gauss"),
    )
    num_quantiles: int = setting.setting(
        64,
        "number of quantiles (iqn: samples per observation)",
        ranges.at_most(1_000),
        read_if=registries.HEADS.reading("quantiles"),
        on_card=True,
    )
    num_cosines: int = setting.setting(
        64,
        "number of cosine features in iqn's embedding of a fraction",
        ranges.at_most(1_000),
        read_if=registries.HEADS.reading("cosines"),
    )
    quantile_kappa: float = setting.setting(
        1.0,
        "error at which the quantile Huber loss becomes linear; 0: plain quantile loss",
        ranges.NOT_NEGATIVE,
        read_if=registries.HEADS.reading("quantiles"),
    )
