"""What the Q-network is made of."""

import dataclasses

from jaxdqn.settings import ranges, registries, setting

_CONVOLUTIONS = registries.ENCODERS.reading("convolutions")
_RESIDUALS = registries.ENCODERS.reading("residuals")
INITIALIZERS = ranges.one_of("lecun_normal", "glorot_uniform", "he_normal", "truncated_normal")


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """What the Q-network is made of."""

    network: str = setting.setting(
        "mlp",
        f"first layers of the network. {registries.ENCODERS.listing()}",
        registries.ENCODERS.names,
    )
    conv_features: tuple[int, ...] = setting.setting(
        (), "output channels of each convolution, comma-separated", ranges.COUNT
    )
    conv_sizes: tuple[int, ...] = setting.setting(
        (), "side length of the square kernel of each convolution", ranges.COUNT
    )
    conv_strides: tuple[int, ...] = setting.setting(
        (), "stride of each convolution", ranges.COUNT, gives_meaning=True
    )
    conv_padding: str = setting.setting(
        "valid",
        "padding of the convolutions: valid (none) or same (zeros around images)",
        ranges.one_of("valid", "same"),
        read_if=_CONVOLUTIONS,
        gives_meaning=True,
    )
    hidden_sizes: tuple[int, ...] = setting.setting(
        (512,), "sizes of the dense layers; in a dueling network, of each stream", ranges.COUNT
    )
    dueling: bool = setting.setting(
        False,
        "use separate streams for value and advantages",
        on_card=True,
        paper="Wang et al., arXiv:1511.06581",
    )
    conv_init: str = setting.setting(
        "lecun_normal",
        "initializer of convolutions: lecun_normal, glorot_uniform, he_normal or truncated_normal "
        "(standard deviation 0.02)",
        INITIALIZERS,
        read_if=registries.ENCODERS.reading("kernels"),
    )
    impala_width: int = setting.setting(
        1, "multiplier of the number of impala's channels", ranges.at_most(64), read_if=_RESIDUALS
    )
    pooled_size: int = setting.setting(
        0,
        "pool impala's last feature maps to this side length (adaptive max-pooling); 0: no pooling",
        ranges.at_most(1_000, least=0),
        read_if=_RESIDUALS,
    )
    spectral_norm: bool = setting.setting(
        False,
        "divide the kernels of impala's residual blocks by their largest singular values",
        paper="Miyato et al., arXiv:1802.05957",
        read_if=_RESIDUALS,
    )
    layer_norm: str = setting.setting(
        "none",
        "layer normalization before activations: none; channels (of each position, as in PQN); or "
        "maps (all of an image, with a gain for each pixel, as in CleanRL's PQN)",
        ranges.one_of("none", "channels", "maps"),
        gives_meaning=True,
        paper="Ba et al., arXiv:1607.06450",
    )
    dense_init: str = setting.setting(
        "lecun_normal",
        "initializer of dense layers without noise; choices as for --conv_init",
        INITIALIZERS,
    )
    noisy: bool = setting.setting(
        False,
        "use noisy dense layers, whose noise explores, but for IQN's embedding of fractions; "
        "--epsilon_start=0 --epsilon_end=0 disables random actions",
        on_card=True,
        paper="Fortunato et al., arXiv:1706.10295",
    )
    noisy_sigma: float = setting.setting(
        0.5,
        "initial scale of the noise, divided by the square root of a layer's inputs",
        ranges.POSITIVE,
        read_if=setting.Condition("noisy", bool),
    )
    scale_pixels: bool = setting.setting(True, "divide pixels by 255", gives_meaning=True)
    compute_dtype: str = setting.setting(
        "float32",
        "type in which the network computes: float32 or bfloat16; parameters stay float32",
        ranges.one_of("float32", "bfloat16"),
    )
