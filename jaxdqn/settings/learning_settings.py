"""What is learned from transitions, and by which optimizer."""

import dataclasses

from jaxdqn.settings import ranges, registries, setting

_TARGET = registries.ALGORITHMS.reading("target")
_TD_LOSS = (registries.ALGORITHMS.reading("td_loss"), registries.HEADS.reading("td_loss"))
_GREEDY = registries.ALGORITHMS.reading("greedy")
_HUBER = setting.Condition("loss", lambda loss: loss == "huber")
_RMSPROP = setting.Condition("optimizer", lambda optimizer: optimizer == "rmsprop")
_CLIPPED = setting.Condition("max_grad_norm", bool)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LearningSettings:
    """What is learned from transitions, and by which optimizer."""

    algorithm: str = setting.setting(
        "dqn", f"how the run learns. {registries.ALGORITHMS.listing()}", registries.ALGORITHMS.names
    )
    part_options: tuple[str, ...] = setting.setting(
        (),
        "options of parts from --plugins, such as width=2,kind=soft",
    )
    initial_agent: str = setting.setting(
        "",
        "start from the parameters of a trained agent with the same network: a built-in agent such "
        "as CartPole, the folder of an export to safetensors, or hf:USER/NAME",
        on_card=True,
    )
    discount: float = setting.setting(
        0.99, "discount factor gamma for one step", ranges.SHARE, on_card=True
    )
    n_step: int = setting.setting(
        1, "number of rewards summed before bootstrapping", ranges.COUNT, on_card=True
    )
    double_q: bool = setting.setting(
        True,
        "choose the bootstrap action with the online network",
        on_card=True,
        read_if=_GREEDY,
        paper="van Hasselt et al., arXiv:1509.06461",
    )
    loss: str = setting.setting(
        "huber",
        "loss of the TD error: huber (half the square up to --huber_delta) or mse (the square; "
        "--loss_scale=0.5 halves it)",
        ranges.one_of("huber", "mse"),
        read_if=_TD_LOSS,
    )
    loss_scale: float = setting.setting(
        1.0, "multiply the loss by this", ranges.POSITIVE, read_if=_TD_LOSS
    )
    huber_delta: float = setting.setting(
        1.0, "TD error at which the Huber loss becomes linear", ranges.POSITIVE, read_if=_HUBER
    )
    reward_clip: float = setting.setting(
        0.0,
        "clip rewards to [-x, x] for learning; 0: do not clip. Returns are never clipped",
        ranges.NOT_NEGATIVE,
    )
    reward_scale: float = setting.setting(
        1.0,
        "multiply rewards by this for learning, after clipping. Returns are never scaled",
        ranges.POSITIVE,
    )
    terminal_reward: float | None = setting.setting(
        None,
        "replaces the last reward of a game when learning, except at a time limit (default: the "
        "game's own reward)",
        ranges.FINITE,
    )
    life_loss_ends: bool = setting.setting(
        False, "treat a lost life as the end of the game when learning (Atari)", on_card=True
    )
    time_limit_ends: bool = setting.setting(
        False, "treat a time limit as a real end of the game when learning; for study"
    )
    optimizer: str = setting.setting(
        "adam",
        "adam, radam (rectified Adam), or rmsprop (with epsilon inside the square root)",
        ranges.one_of("adam", "radam", "rmsprop"),
    )
    learning_rate: float = setting.setting(
        1e-4, "learning rate at the first update", ranges.POSITIVE, on_card=True
    )
    learning_rate_end: float | None = setting.setting(
        None,
        "learning rate at the end of its linear decay (default: no decay)",
        ranges.NOT_NEGATIVE,
    )
    learning_rate_decay_steps: int = setting.setting(
        0,
        "steps over which the learning rate decays, counted from the start of learning (for sweeps "
        "and rollouts from the first step); 0: until the end of the run",
        ranges.STEPS_OR_ZERO,
    )
    optimizer_epsilon: float = setting.setting(1e-8, "epsilon of the optimizer", ranges.POSITIVE)
    rmsprop_decay: float = setting.setting(
        0.95, "decay of RMSProp's running means", ranges.SHARE, read_if=_RMSPROP
    )
    rmsprop_centred: bool = setting.setting(
        True,
        "use centered RMSProp, which divides by the standard deviation of gradients",
        read_if=_RMSPROP,
    )
    rmsprop_initial: float = setting.setting(
        0.0,
        "initial value of RMSProp's running mean of squares",
        ranges.NOT_NEGATIVE,
        read_if=_RMSPROP,
    )
    max_grad_norm: float = setting.setting(
        10.0, "clip gradients to this norm; 0: do not clip", ranges.NOT_NEGATIVE
    )
    clip_per_tensor: bool = setting.setting(
        False,
        "clip the gradient of each parameter separately, instead of all together",
        read_if=_CLIPPED,
    )
    target_tau: float = setting.setting(
        0.005,
        "soft-update coefficient tau: target += tau * (online - target); 1: hard copy",
        ranges.PART,
        on_card=True,
        read_if=_TARGET,
    )
    target_period_updates: int = setting.setting(
        1,
        "update the target network every N updates; 0: not by updates",
        ranges.COUNT_OR_ZERO,
        on_card=True,
        read_if=_TARGET,
    )
    target_period_steps: int = setting.setting(
        0,
        "update the target network every N steps; 0: not by steps",
        ranges.STEPS_OR_ZERO,
        read_if=_TARGET,
    )
    target_period_episodes: int = setting.setting(
        0,
        "update the target network every N games; 0: not by games",
        ranges.COUNT_OR_ZERO,
        read_if=_TARGET,
    )
    on_nonfinite: str = setting.setting(
        "stop",
        "what to do if the loss, values or gradients of an update are not finite: stop the run "
        "before the update, or skip the update",
        ranges.one_of("stop", "skip"),
        may_change=True,
        splits_groups=False,
    )
