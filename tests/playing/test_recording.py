"""Films and sheets of play."""

import re
import subprocess

import imageio_ffmpeg
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxdqn import errors
from jaxdqn.envs import registry
from jaxdqn.playing import drawing, pictures, recording, video_encoder
from jaxdqn.playing import moments as moments_lib
from jaxdqn.rundir import trained_agent
from tests import saved


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    return trained_agent.load(saved.make_run(tmp_path_factory.mktemp("saved") / "run"), "latest")


def film_of(path):
    """Frames a second of a film, and its frames [N, H, W, 3], as ffmpeg reads them."""
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-i",
        path,
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        "-",
    ]
    done = subprocess.run(command, capture_output=True, check=True)
    found = re.search(rb"(\d{2,})x(\d{2,}).*?([\d.]+) fps", done.stderr)
    width, height = int(found[1]), int(found[2])
    return float(found[3]), np.frombuffer(done.stdout, np.uint8).reshape(-1, height, width, 3)


def record(agent, **changes):
    asked = {"out": None, "sheet": None, "with_overlay": False, "seed": 0, "num_episodes": 1}
    return recording.record(agent, **asked | changes)


def test_a_film_is_the_game_at_its_speed(agent, tmp_path):
    told = record(agent, out=tmp_path / "play.mp4", seed=7)
    moments = list(
        moments_lib.play(
            agent.config, agent.spec, agent.params, seed=7, num_episodes=1, with_screen=True
        )
    )
    assert moments[-1].is_last and moments[-1].length == len(moments) - 1 <= 60
    rate, frames = film_of(tmp_path / "play.mp4")
    assert rate == 15 and frames.shape == (len(moments), 630, 480, 3)
    assert f"return {moments[-1].game_return:g}" in told and "15 frames per second" in told
    for i in (0, len(moments) - 1):  # encoding loses a little
        shown = np.asarray(drawing.screen(moments[i]), int)
        assert np.abs(shown - frames[i]).mean() < 4
    assert [path.name for path in tmp_path.iterdir()] == ["play.mp4"]


def test_a_film_may_be_cut_short(agent, tmp_path):
    told = record(agent, out=tmp_path / "play.gif", seed=7, longest_s=1.0)
    assert "1 s at 15 frames per second" in told
    with Image.open(tmp_path / "play.gif") as gif:
        assert gif.n_frames == 15


def test_a_gif_keeps_the_rate_on_the_whole(agent, tmp_path):
    record(agent, out=tmp_path / "play.gif", seed=7, num_episodes=2)
    with Image.open(tmp_path / "play.gif") as gif:
        durations = []
        for i in range(gif.n_frames):
            gif.seek(i)
            durations.append(gif.info["duration"])
        assert gif.size == (480, 630)
        assert sum(durations) / gif.n_frames == pytest.approx(1000 / 15, rel=0.03)


@pytest.mark.parametrize(("rate", "frames"), [(30, 60), (50, 100), (60, 100), (100, 100)])
def test_a_gif_is_slow_enough_for_browsers(tmp_path, rate, frames):
    """They play frames of less than two hundredths of a second as if they had ten."""
    with video_encoder.writer(tmp_path / "play.gif", rate) as add:
        for shade in range(2 * rate):
            add(np.full((32, 32, 3), shade, np.uint8))
    durations = []
    with Image.open(tmp_path / "play.gif") as gif:
        for i in range(gif.n_frames):
            gif.seek(i)
            durations.append(gif.info["duration"])
    assert len(durations) == pytest.approx(frames, abs=1) and min(durations) >= 20
    assert sum(durations) == pytest.approx(2000, abs=60)


def test_the_overlay_tells_what_the_network_thinks(agent):
    moment = next(
        moments_lib.play(
            agent.config, agent.spec, agent.params, seed=0, num_episodes=1, with_screen=True
        )
    )
    names = registry.describe("Breakout-v5", {}).actions
    assert names == ("NOOP", "FIRE", "RIGHT", "LEFT")
    picture = drawing.overlay(moment._replace(action=2), names)
    assert picture.size == (800, 630)
    np.testing.assert_array_equal(np.asarray(picture)[:, :480], drawing.screen(moment))
    panel = np.asarray(picture)[:, 480:].astype(int)
    other = np.asarray(drawing.overlay(moment._replace(action=3), names))[:, 480:].astype(int)
    rows = np.flatnonzero((panel != other).any(axis=(1, 2)))
    assert rows.min() >= 50 + 2 * 28 and rows.max() < 52 + 4 * 28  # the rows of RIGHT and LEFT
    # The four frames that the network sees stand at the bottom, in grey.
    seen = panel[-150:-20, 20:150]
    assert (np.ptp(seen, axis=2) == 0).all()


@pytest.mark.parametrize(("stack", "actions_count"), [(8, 6), (5, 18), (1, 2)])
def test_the_overlay_has_room_for_many_frames_and_actions(stack, actions_count):
    moment = moments_lib.Moment(
        screen=np.zeros((210, 160, 3), np.uint8),
        stack=np.zeros((stack, 84, 84), np.uint8),
        q_values=np.linspace(0, 1, actions_count),
        action=0,
        game_return=0.0,
        length=0,
        life_lost=False,
        is_last=False,
    )
    names = [f"ACTION {i}" for i in range(actions_count)]
    assert drawing.overlay(moment, names).size == (800, 630)


def moment(stack, q_values=(0.0, 1.0), action=0):
    screen = np.zeros((210, 160, 3), np.uint8)
    return moments_lib.Moment(
        screen, stack, np.array(q_values, np.float32), action, 0.0, 0, False, False
    )


def seen(stack):
    """The part of an overlay that shows what the network sees, [H, W, 3]."""
    panel = np.asarray(drawing.overlay(moment(stack), ["LEFT", "RIGHT"]))[:, 492:-12]
    below = panel[630 // 2 - 12 : -12]
    title = 22  # its last row, where frames take all the room
    return below[title:] if len(below) > 315 else below


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int32, np.bool_])
def test_frames_of_any_type_are_drawn_from_the_lowest_to_the_highest(kind):
    board = np.zeros((1, 5, 5), kind)
    board[0, 1, 2] = 1
    found = seen(board)
    size = 59  # 296 pixels for 5
    assert (found[-4 * size + 5 : -3 * size - 10, 2 * size + 5 : 3 * size - 5] == 255).all()
    assert (found[-3 * size + 5 :, : 5 * size] == 0).all()


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int32, np.bool_, np.uint8])
@pytest.mark.parametrize("shape", [(10, 5), (4,), (40,), (3, 64, 64), (63, 63, 3), (3, 3, 16)])
def test_constant_frames_are_drawn(kind, shape):
    picture = drawing.overlay(moment(np.ones((2, *shape), kind)), ["LEFT", "RIGHT"])
    assert picture.size == (800, 630)


def test_bytes_are_drawn_as_they_are():
    found = seen(np.full((1, 84, 84), 100, np.uint8))
    assert (found[-290:, :290] == 100).all()


def test_numbers_that_are_not_finite_are_drawn():
    board = np.array([[[np.nan, np.inf], [-np.inf, 0.5], [0.25, 0.0]]], np.float32)
    found = seen(board)
    middles = found[-315 + 52 :: 105, 52:210:105, 0]  # of pixels of 105
    np.testing.assert_array_equal(middles, [[0, 255], [0, 255], [128, 0]])
    drawing.overlay(moment(np.full((1, 3, 3), np.nan)), ["LEFT", "RIGHT"])


@pytest.mark.parametrize("channels_first", [True, False])
def test_three_channels_are_a_picture_in_colour(channels_first):
    frame = np.zeros((20, 20, 3), np.float32)
    frame[..., 1] = 1.0
    found = seen((frame.transpose(2, 0, 1) if channels_first else frame)[None])
    assert (found[-280:, :280] == (0, 255, 0)).all()


@pytest.mark.parametrize(
    ("shape", "size", "enlarged"),
    [
        ((10, 5), (200, 100), (600, 300)),
        ((5, 100), (80, 1600), (80, 1600)),  # not 200 high
        ((10, 10, 10), (160, 1600), (160, 1600)),  # channels side by side
        ((10, 10, 4), (200, 800), (600, 2400)),
        ((50, 1000), (50, 1000), (100, 2000)),
        ((10, 2000), None, None),
        ((1, 500), None, None),
        ((500, 1), None, None),
    ],
)
def test_the_sizes_of_screens(shape, size, enlarged):
    screen = pictures.screen(np.zeros(shape, np.float32))
    if size is None:
        assert screen is None
    else:
        assert screen.shape == (*size, 3)
        shown = moment(np.zeros((1, 2, 2)))._replace(screen=screen)
        assert drawing.screen(shown).size == enlarged[::-1]


def test_a_wide_frame_is_shown_as_numbers():
    assert drawing.overlay(moment(np.ones((2, 1, 500))), ["LEFT", "RIGHT"]).size == (800, 630)


@pytest.mark.parametrize(
    "values",
    [
        [np.nan] * 3,
        [np.inf, -np.inf, 1.0],
        [np.nan, 1.0, 2.0],
        [0.5] * 3,
        [3e38, -3e38, 0.0],
        [1e30, 1e30, 1e30],
    ],
)
def test_action_values_of_any_kind_are_drawn(values):
    for action in range(3):
        picture = drawing.overlay(
            moment(np.zeros((4, 84, 84), np.uint8), values, action), ["LEFT", "STAY", "RIGHT"]
        )
        assert picture.size == (800, 630)


def bar_lengths(values):
    """Of the bars of an overlay, by action."""
    names = [str(i) for i in range(len(values))]
    shown = moment(np.zeros((4, 84, 84), np.uint8), values, action=len(values))  # no bar in colour
    panel = np.asarray(drawing.overlay(shown, names))[:, 480:]
    rows = [52 + 28 * i + 10 for i in range(len(values))]
    return [int((panel[row] == (82, 82, 91)).all(axis=1).sum()) for row in rows]


def test_bars_are_as_long_as_the_values_are_high():
    whole, half, none = bar_lengths([2.0, 1.0, 0.0])
    assert none <= 3 and half == pytest.approx(whole / 2, abs=2) and whole > 150
    assert bar_lengths([0.0, 0.0, np.nan]) == [3, 3, 3]
    first, second, third, fourth = bar_lengths([np.inf, 2.0, 0.0, np.nan])
    assert first == second > 150 and third == fourth <= 3


def test_bars_of_nearly_equal_values_are_nearly_equal():
    for equal in ([9.98343, 9.98341, 9.98342], [np.inf, 1.0, -np.inf]):
        lengths = bar_lengths(equal)
        assert max(lengths) - min(lengths) <= 1 and min(lengths) > 150
    # A spread of 0.5% of the largest takes half of the length, and one of 2% all of it.
    high, low, none = bar_lengths([-199.0, -200.0, np.nan])
    assert high > 150 and low == pytest.approx(high / 2, abs=2) and none <= 3
    high, *low = bar_lengths([100.0, 98.0, 98.0])
    assert high > 150 and low == [3, 3]


def test_more_actions_than_there_is_room_for():
    values = np.linspace(0, 1, 200)
    names = [f"ACTION {i}" for i in range(200)]
    picture = drawing.overlay(moment(np.zeros((4, 84, 84), np.uint8), values, 3), names)
    green = (np.asarray(picture)[:, 480:] == (52, 211, 153)).all(axis=2)
    assert green.any()  # the one that was taken is among those shown
    assert np.flatnonzero(green.any(axis=1)).max() < 70  # above those of higher numbers


def test_a_sheet_shows_raw_and_processed_frames(agent, tmp_path):
    record(agent, sheet=tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 160 + 4 * 84 and sheet.height == 6 * 250
        pixels = np.asarray(sheet)
    assert (np.ptp(pixels[32:242, 12:172].astype(int), axis=2) > 0).any()  # the screen has colours


def test_motion_traces_are_shown_beside_their_frames(tmp_path):
    run = saved.make_run(tmp_path / "run", changes=saved.TRACED, returns=(1.0,))
    agent = trained_agent.load(run, "latest")
    record(agent, out=tmp_path / "film.gif", sheet=tmp_path / "sheet.png", with_overlay=True)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 160 + 2 * 160  # each channel is as large as the screen
    with Image.open(tmp_path / "film.gif") as gif:
        assert gif.n_frames > 20


def test_every_action_of_a_game_has_a_name():
    def actions(env_id, **options):
        return registry.describe(env_id, options).actions

    assert actions("Pong-v5")[2:] == ("RIGHT", "LEFT", "RIGHTFIRE", "LEFTFIRE")
    assert len(set(actions("Pong-v5", full_action_space=True))) == 18
    assert actions("CartPole-v1") == ("LEFT", "RIGHT")
    assert actions("LunarLander-v3")[2] == "MAIN ENGINE"
    assert actions("LunarLander-v2") == ("0", "1", "2", "3")  # as an environment nobody named
    for game in ("Asteroids", "Freeway", "KungFuMaster", "Seaquest", "UpNDown"):
        spec = registry.describe(f"{game}-v5", {})
        assert len(spec.actions) == spec.num_actions and spec.actions[0].isalpha()
    assert registry.describe("Breakout-v5", {}).steps_per_second == 15
    assert registry.describe("CartPole-v1", {}).steps_per_second == 50


def test_a_film_that_is_cut_short_leaves_nothing(tmp_path):
    with (
        pytest.raises(ZeroDivisionError),
        video_encoder.writer(tmp_path / "play.mp4", 15) as add,
    ):
        add(np.zeros((32, 32, 3), np.uint8))
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("other", [(34, 32, 3), (32, 64, 3), (64, 16, 3)])
def test_frames_of_another_size_end_a_film(tmp_path, other):
    """The encoder takes bytes, and would cut them into frames of the first one's size."""
    problem = f"cannot be written: frames of 32x32 pixels, then one of {other[0]}x{other[1]}"
    with (
        pytest.raises(errors.RunError, match=problem),
        video_encoder.writer(tmp_path / "play.mp4", 15) as add,
    ):
        add(np.zeros((32, 32, 3), np.uint8))
        add(np.zeros(other, np.uint8))
    assert not list(tmp_path.iterdir())


def test_a_film_that_cannot_be_written_says_so(agent, tmp_path):
    with pytest.raises(errors.RunError, match=r"missing/play.mp4 cannot be written"):
        record(agent, out=tmp_path / "missing" / "play.mp4")


def test_games_that_nothing_draws_show_their_frames(tmp_path):
    agent = saved.make_agent("Catch", {})
    told = record(agent, out=tmp_path / "play.gif", sheet=tmp_path / "sheet.png", with_overlay=True)
    assert "30 frames per second" in told
    with Image.open(tmp_path / "play.gif") as gif:
        assert gif.size == (300 + 320, 600)  # ten rows of five, 60 pixels each
    with Image.open(tmp_path / "sheet.png") as sheet:
        pixels = np.asarray(sheet)
    first = pixels[32 : 32 + 200, 12 : 12 + 100]  # the screen: a ball above a paddle
    assert (first[:20] == 255).any() and (first[-20:] == 255).any() and (first[30:170] == 0).all()
    again = pixels[32 : 32 + 200, 100 + 24 : 200 + 24]  # what the network sees is the same
    np.testing.assert_array_equal(first, again)


def test_games_of_numbers_that_nothing_draws_are_refused(tmp_path):
    agent = saved.make_agent("Blackjack-v1", {})
    with pytest.raises(errors.RunError, match=r"Blackjack-v1 draws no picture"):
        record(agent, sheet=tmp_path / "sheet.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_broken_parameters_are_filmed(value, tmp_path):
    agent = saved.make_agent("CartPole", {"max_episode_steps": 20})
    params = jax.tree.map(lambda leaf: jnp.full_like(leaf, value), agent.params)
    record(agent._replace(params=params), out=tmp_path / "play.gif", with_overlay=True)
    assert (tmp_path / "play.gif").exists()


def test_small_games_are_filmed_too(tmp_path):
    changes = {"max_episode_steps": 20}
    run = saved.make_run(tmp_path / "run", "CartPole", changes, returns=(1.0,))
    record(
        trained_agent.load(run, "latest"),
        out=tmp_path / "play.mp4",
        sheet=tmp_path / "sheet.png",
        with_overlay=True,
    )
    rate, frames = film_of(tmp_path / "play.mp4")
    assert rate == 50 and 2 <= len(frames) <= 21
