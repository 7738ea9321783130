"""What is played, and by how many environments."""

import dataclasses

from jaxdqn.settings import ranges, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class GameSettings:
    """What is played, and by how many environments."""

    env: str = setting.setting(
        "",
        "environment: a plain name such as Breakout or CartPole, a full EnvPool id, ale:Breakout "
        "(ALE instead of EnvPool), gymnasium:ID, or my_package.my_module:ID (registered with "
        "Gymnasium by that module)",
        splits_groups=False,
    )
    preset: str = setting.setting(
        "",
        "named set of settings, which other flags override (default: depends on the game)",
        on_card=True,
    )
    seed: int = setting.setting(
        0,
        "seed of all randomness in the run",
        ranges.Range(lambda value: 0 <= value < 2**31, "at least 0, below 2**31"),
        splits_groups=False,
        on_card=True,
    )
    total_steps: int = setting.setting(
        10_000_000,
        "agent steps of the whole run, over all environments. It may change when a run resumes, "
        "unless a schedule ends at the last step",
        ranges.STEPS,
        on_card=True,
    )
    num_envs: int = setting.setting(
        32,
        "environments that play in parallel; an even number is split into two groups",
        ranges.at_most(2**16),
        on_card=True,
    )
    env_threads: int = setting.setting(
        0,
        "threads (with Gymnasium: processes) for each group of environments; 0: automatic",
        ranges.at_most(1_024, least=0),
        may_change=True,
        splits_groups=False,
    )
    frame_stack: int = setting.setting(
        1, "number of latest frames that the network sees", ranges.COUNT
    )
    # None leaves an option to the environment, which refuses those that it does not have.
    frame_skip: int | None = setting.setting(
        None, "emulator frames per agent step (Atari)", ranges.COUNT, is_env_option=True
    )
    frame_skip_min: int | None = setting.setting(
        None,
        "random frame skip, drawn for each step from this number to --frame_skip (Atari)",
        ranges.COUNT,
        is_env_option=True,
    )
    noop_max: int | None = setting.setting(
        None,
        "maximum number of random no-ops at the start of a game, at least 1 (Atari)",
        ranges.COUNT,
        is_env_option=True,
    )
    repeat_action_probability: float | None = setting.setting(
        None,
        "sticky actions: probability that the emulator repeats the last action (Atari)",
        ranges.SHARE,
        on_card=True,
        is_env_option=True,
    )
    full_action_space: bool | None = setting.setting(
        None, "use all 18 joystick actions (Atari)", is_env_option=True
    )
    use_fire_reset: bool | None = setting.setting(
        None, "press FIRE at the start of a game (Atari)", is_env_option=True
    )
    img_height: int | None = setting.setting(
        None, "height of a frame in pixels (images)", ranges.COUNT, is_env_option=True
    )
    img_width: int | None = setting.setting(
        None, "width of a frame in pixels (images)", ranges.COUNT, is_env_option=True
    )
    grayscale: bool | None = setting.setting(
        None,
        "convert images to grayscale (Gymnasium; Atari games are grayscale)",
        is_env_option=True,
    )
    max_episode_steps: int | None = setting.setting(
        None, "time limit of a game, in agent steps", ranges.COUNT, is_env_option=True
    )
    motion_trace: bool = setting.setting(
        False,
        "add a fading trace of what moved to each frame, as a second channel (images)",
        gives_meaning=True,
    )
    env_timeout_seconds: float = setting.setting(
        300.0,
        "seconds to wait for environments to respond; then the run saves and stops",
        ranges.POSITIVE,
        may_change=True,
        splits_groups=False,
    )
    env_lifetime_steps: int = setting.setting(
        31_250,
        "replace all environments after this many steps of each; 0: never. Games that this cuts "
        "off are left out of training returns, which affects long games most. A resumed run "
        "replays the steps since the last replacement",
        ranges.STEPS_OR_ZERO,
    )
