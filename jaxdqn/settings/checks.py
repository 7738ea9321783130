"""Which settings fit each other."""

from typing import TYPE_CHECKING

from jaxdqn import errors
from jaxdqn.envs import api
from jaxdqn.settings import part_options, registries, registry, setting

if TYPE_CHECKING:
    from jaxdqn.settings.config import Config

_CONVOLUTIONS = ("conv_features", "conv_sizes", "conv_strides")


def check(config: "Config") -> None:
    """Refuses settings that cannot be.

    Raises:
      SettingError: names the setting.
    """
    _check_ranges(config)
    _require(
        config.learning_rate_end is not None or not config.learning_rate_decay_steps,
        "learning_rate_decay_steps",
        f"is {config.learning_rate_decay_steps}, but --learning_rate_end is not set",
    )
    periods = (
        config.target_period_updates,
        config.target_period_steps,
        config.target_period_episodes,
    )
    _require(
        any(periods),
        "target_period_updates",
        "is 0; at least one of the target's periods must be at least 1",
    )
    most_frames = config.frame_skip or api.ATARI_FRAME_SKIP
    _require(
        (config.frame_skip_min or 1) <= most_frames,
        "frame_skip_min",
        f"is {config.frame_skip_min}; must be at most --frame_skip={most_frames}",
    )
    _check_network(config)
    _check_replay(config)
    chosen = [registry_of[name] for registry_of, name in parts(config)]
    part_options.values(chosen, config.part_options)
    for entry in chosen:
        entry.check(config)
    _check_counts(config)
    if config.learns_by_updates:
        _check_slices(config)


def _check_ranges(config: "Config") -> None:
    for name, described in setting.described(config).items():
        value, allowed = getattr(config, name), described.allowed
        if allowed and value is not None:
            many = isinstance(value, tuple)
            holds = all(map(allowed.holds, value)) if many else allowed.holds(value)
            right = f"each must be {allowed.text}" if many else f"must be {allowed.text}"
            _require(holds, name, f"is {value!r}; {right}")


def parts(config: "Config") -> list[tuple[registry.Registry, str]]:
    """The parts that are chosen by name, each with its registry."""
    return [
        (registries.ALGORITHMS, config.algorithm),
        (registries.HEADS, config.head),
        (registries.ENCODERS, config.network),
        (registries.SAMPLERS, config.sampler),
        (registries.EXPLORERS, config.chosen_explorer),
    ]


def _check_counts(config: "Config") -> None:
    """Checks that what devices count over the whole run stays below 2**31."""
    # The shortest game is one step, which has two rows. Sampling reads ahead of a row.
    rows = (2 * config.total_steps + config.replay_capacity) // config.group_size
    learns_rows = "rollouts" in registries.ALGORITHMS[config.algorithm].reads
    updates = config.planned_updates * (2 if learns_rows else 1)
    for name, what, count in (
        ("total_steps", "updates", updates),
        ("total_steps", "rows of the replay", rows),
        ("learning_rate_decay_steps", "updates", config.decay_updates),
    ):
        _require(
            count < 2**31,
            name,
            f"is {getattr(config, name)}, which makes {count:,} {what}; must be below "
            "2**31. More --num_envs make fewer rows, more steps per update fewer updates",
        )


def _check_slices(config: "Config") -> None:
    """Checks that the run has the updates of one slice."""
    first = config.learning_starts_steps + config.steps_per_update
    _require(
        config.planned_updates > 0 or config.updates_per_slice <= 1,
        "total_steps",
        f"is {config.total_steps}; the first update is due at step {first} "
        "(--learning_starts_steps + --steps_per_update)",
    )
    _require(
        config.updates_per_slice <= max(1, config.planned_updates),
        "updates_per_slice",
        f"is {config.updates_per_slice}; the whole run has {config.planned_updates} updates",
    )


def _check_network(config: "Config") -> None:
    lengths = {name: len(getattr(config, name)) for name in _CONVOLUTIONS}
    listed = ", ".join(f"--{name} has {length}" for name, length in lengths.items())
    numbers = set(lengths.values())
    if "chain" in registries.ENCODERS[config.network].reads:
        _require(
            len(numbers) == 1 and numbers != {0},
            "conv_features",
            f"{listed}; --network=conv needs the same number of each, at least one",
        )
    else:
        _require(
            numbers == {0},
            "network",
            f"is {config.network}, but {listed}; these settings need --network=conv",
        )


def _check_replay(config: "Config") -> None:
    capacity, envs = config.replay_capacity, config.num_envs
    _require(
        config.batch_size <= capacity,
        "batch_size",
        f"is {config.batch_size}, more than the replay holds (--replay_capacity={capacity})",
    )
    _require(
        capacity % envs == 0,
        "replay_capacity",
        f"is {capacity}, which --num_envs={envs} does not divide; "
        f"nearest: {nearest_multiples(capacity, envs)}",
    )
    smallest = envs * (config.frame_stack + config.n_step + 1)
    _require(
        capacity >= smallest,
        "replay_capacity",
        f"is {capacity}; --num_envs={envs} with --frame_stack={config.frame_stack} and "
        f"--n_step={config.n_step} needs at least {smallest}",
    )
    if not config.learns_by_updates:
        return
    smallest_start = max(config.batch_size, smallest)
    _require(
        smallest_start <= config.learning_starts_steps,
        "learning_starts_steps",
        f"is {config.learning_starts_steps}; the first batch needs at least {smallest_start}",
    )
    _require(
        config.learning_starts_steps <= capacity,
        "learning_starts_steps",
        f"is {config.learning_starts_steps}, more than the replay holds "
        f"(--replay_capacity={capacity})",
    )


def nearest_multiples(value: int, factor: int) -> str:
    """The multiples of `factor` around `value`, for a message: '96 or 128'."""
    below = value // factor * factor
    return f"{below} or {below + factor}" if below else str(factor)


def _require(condition: object, setting: str, problem: str) -> None:
    if not condition:
        raise errors.SettingError(setting, problem)
