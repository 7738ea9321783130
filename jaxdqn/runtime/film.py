"""Games as films: plays frozen parameters, one frame a step, and encodes what the screen shows."""

import contextlib
import pathlib
import warnings
from collections.abc import Callable, Generator, Iterator
from typing import Any, NamedTuple

import imageio_ffmpeg
import jax
import numpy as np

from jaxdqn import config as config_lib
from jaxdqn.envs import api, envpool
from jaxdqn.runtime import episodes, files, parts

FORMATS = (".mp4", ".gif")

# H.264 as every player takes it, its index first so that a page can begin to show it.
_MP4 = ("-movflags", "+faststart")
# A palette for every frame: one for all would have to wait for the last frame.
_GIF = ("-vf", "split[a][b];[a]palettegen=stats_mode=single[p];[b][p]paletteuse=new=1")


class Moment(NamedTuple):
    """What there is to see at one step of a game."""

    screen: np.ndarray  # [H, W, 3] uint8, as the emulator draws it
    stack: np.ndarray  # [S, *frame_shape], what the network sees
    q_values: np.ndarray  # [A] float32
    action: int  # chosen now
    game_return: float  # so far
    length: int  # steps so far
    is_last: bool


def play(
    config: config_lib.Config, spec: api.EnvSpec, params: Any, *, seed: int, num_episodes: int
) -> Generator[Moment, None, None]:
    """Plays whole games in one environment, with `config.eval_epsilon` random actions.

    Raises:
      RunError: the environment has no picture to show.
    """
    network, actor = parts.make_network(config, spec), parts.make_actor(config, spec)

    @jax.jit
    def act(params: Any, state: Any, frame: Any, is_first: Any, epsilon: Any) -> Any:
        state, actions = actor.act(params, state, frame, is_first, epsilon)
        return state, actions, network.q_values(params, state.stack)

    state = actor.init(jax.random.key(seed), 1)
    epsilon = jax.device_put(np.float32(config.eval_epsilon))
    tracker = episodes.EpisodeTracker(1)
    env = envpool.EnvPoolEnv(config.env, 1, seed, config.env_options, with_screen=True)
    with contextlib.closing(env):
        while num_episodes:
            step = env.receive()
            ended = tracker.add(step)
            frame, is_first = jax.device_put((step.frame, step.is_first))
            state, actions, q_values = act(params, state, frame, is_first, epsilon)
            try:
                screen = env.screen()
            except envpool.UnsupportedEnvError as error:
                raise config_lib.RunError(str(error)) from None
            seen = jax.device_get((actions, q_values, state.stack))
            game_return, length = tracker.so_far(0)
            yield Moment(
                screen=screen,
                stack=seen[2][0],
                q_values=seen[1][0],
                action=int(seen[0][0]),
                game_return=game_return,
                length=length,
                is_last=bool(ended),
            )
            num_episodes -= len(ended)
            env.send(seen[0])


@contextlib.contextmanager
def writer(path: pathlib.Path, frames_per_second: float) -> Iterator[Callable[[np.ndarray], None]]:
    """Gives a function that appends a frame [H, W, 3] uint8 of even height and width.

    The file is there when all of it is, and not before; frames pass through and are not held.

    Args:
      path: its suffix, one of `FORMATS`, says what it becomes.
      frames_per_second: of the film. A GIF counts in hundredths of a second: its frames last
        unequally, so that on the whole it keeps the rate.

    Raises:
      RunError: it cannot be written.
    """
    codec, pixels, options = (
        ("libx264", "yuv420p", _MP4) if path.suffix == ".mp4" else ("gif", "pal8", _GIF)
    )
    stream: Generator[None, Any, None] | None = None
    with files.whole(path) as part:

        def add(frame: np.ndarray) -> None:
            nonlocal stream
            if stream is None:
                stream = imageio_ffmpeg.write_frames(
                    str(part),
                    frame.shape[1::-1],
                    fps=frames_per_second,
                    codec=codec,
                    pix_fmt_out=pixels,
                    macro_block_size=2,
                    ffmpeg_log_level="error",
                    output_params=list(options),
                )
                with warnings.catch_warnings():
                    # JAX warns of forks, which the start of a program is until it becomes that.
                    warnings.filterwarnings("ignore", "os.fork", RuntimeWarning)
                    stream.send(None)
            stream.send(np.ascontiguousarray(frame))

        try:
            yield add
        finally:
            if stream is not None:
                stream.close()
