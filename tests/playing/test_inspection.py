"""Pictures of what a network does."""

import csv

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxdqn.assembly import parts
from jaxdqn.playing import drawing, inspection
from jaxdqn.playing import moments as moments_lib
from jaxdqn.rundir import trained_agent
from tests import saved

CATCH = {"network": "conv", "conv_features": (6,), "conv_sizes": (3,), "conv_strides": (1,)}


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    return trained_agent.load(saved.make_run(tmp_path_factory.mktemp("saved") / "run"), "latest")


def moment(length, q_values, life_lost=False, is_last=False):
    nothing = np.zeros((0, 0, 3), np.uint8)
    return moments_lib.Moment(
        nothing, nothing, np.array(q_values), 0, 0.0, length, life_lost, is_last
    )


def test_states_of_note():
    game = [
        moment(0, [1.0, 2.0]),
        moment(1, [5.0, 4.0]),
        moment(2, [0.0, 3.0], life_lost=True),
        moment(3, [1.0, 1.1]),
        moment(4, [2.0, 1.0], life_lost=True),
    ]
    noted = {what: moment.length for what, moment in inspection.of_note(iter(game)).items()}
    assert noted == {
        "highest action value": 1,
        "greatest spread of action values": 2,
        "smallest spread of action values": 3,
        "a life lost": 2,
    }


def test_the_end_of_a_game_is_of_note_only_where_there_is_nothing_else():
    end = moment(2, [0.0, 9.0], life_lost=True, is_last=True)

    def lengths(moments):
        return [moment.length for moment in inspection.of_note(iter(moments)).values()]

    assert lengths([moment(0, [1.0, 2.0]), moment(1, [1.0, 3.0]), end]) == [1, 1, 0, 2]
    assert lengths([moment(0, [np.nan, 2.0]), end]) == [2, 2, 2, 2]
    assert lengths([end]) == [2, 2, 2, 2]


def test_saliency_is_where_a_pixel_counts(agent):
    stack = np.random.default_rng(0).integers(0, 256, (4, 84, 84), np.uint8)
    found = inspection.saliency(agent, stack)
    assert found.shape == stack.shape and found.min() >= 0 and found.max() == 1
    # The pixel that moves the value most does so when it is moved.
    where = np.unravel_index(found.argmax(), found.shape)
    quiet = np.unravel_index(found.argmin(), found.shape)
    network = parts.make_network(agent.config, agent.spec)

    def moved(place):
        pixels = np.array(stack, np.float32)[None] / 255
        before = network.q_values(agent.params, jnp.asarray(pixels)).max()
        pixels[0][place] += 0.05
        return abs(float(network.q_values(agent.params, jnp.asarray(pixels)).max() - before))

    assert moved(where) > moved(quiet)


def test_states_whose_values_are_not_finite_are_of_note_where_there_are_no_others():
    game = [
        moment(0, [np.nan, 2.0]),
        moment(1, [np.inf, 4.0]),
        moment(2, [-np.inf, np.inf]),
        moment(3, [1.0, 1.0]),
        moment(4, [2.0, 1.0]),
    ]
    what = ("highest", "greatest spread of", "smallest spread of")

    def lengths(moments):
        noted = inspection.of_note(iter(moments))
        return [next(noted[name].length for name in noted if name.startswith(w)) for w in what]

    assert lengths(game) == [4, 4, 3]
    assert lengths(game[:3]) == [0, 0, 0]


def test_saliency_takes_floats_as_the_network_does():
    agent = saved.make_agent("Catch", CATCH)
    board = np.zeros((1, 10, 5), np.float32)
    board[0, 3, 2] = board[0, 9, 1] = 1
    network = parts.make_network(agent.config, agent.spec)
    gradient = jax.grad(lambda seen: network.q_values(agent.params, seen).max())
    expected = np.abs(gradient(jnp.asarray(board)[None]))[0]
    found = inspection.saliency(agent, board)
    np.testing.assert_allclose(found, expected / expected.max(), atol=1e-5)
    assert np.ptp(found) > 0


def test_tiles_show_their_values():
    grid = np.zeros((2, 3, 4, 5))
    grid[0, 0, 0, 0], grid[1, 2, 3, 4] = 2.0, -1.0
    picture = np.asarray(drawing.tiles(grid, signed=True))
    scale = (picture.shape[1] // 3 - 1) // 5
    assert picture.shape == (2 * (4 * scale + 1), 3 * (5 * scale + 1), 3)
    assert picture[0, 0].tolist() == [255, 0, 0]  # the largest: red
    assert picture[-2, -2].tolist() == [127, 127, 255]  # half as much below zero: pale blue
    assert picture[-1, -1].tolist() == [127, 127, 127]  # the frame
    picture = np.asarray(drawing.tiles(np.array([[[[0.0, 4.0], [1.0, 2.0]]]]), signed=False))
    assert picture[0, -2].tolist() == [255, 255, 255] and picture[0, 0].tolist() == [0, 0, 0]


@pytest.mark.parametrize("axis", [1, 3])
def test_a_picture_in_colour_is_red_where_its_most_important_channel_is(axis):
    """Of 20 x 20 pixels that become 252 x 252; each channel is of another brightness."""
    stack = np.broadcast_to(np.array([0, 60, 120], np.uint8), (2, 20, 20, 3))
    saliency = np.zeros(stack.shape, np.float32)
    saliency[0, 0, 0] = 0.0, 1.0, 0.2
    found = drawing.salient(np.moveaxis(stack, 3, axis), np.moveaxis(saliency, 3, axis))
    pixels = np.asarray(found)
    assert pixels.shape == (252, 2 * 252 + 4, 3)
    assert pixels[0, 0].tolist() == [255, 0, 0]
    assert (pixels[20:, :252] == 60).all() and (pixels[:, 256:] == 60).all()


def test_each_channel_of_a_board_is_a_picture_of_its_own():
    stack = np.zeros((1, 9, 7, 4), np.uint8)
    saliency = np.zeros(stack.shape, np.float32)
    saliency[0, 8, 0, 2] = 1.0
    pixels = np.asarray(drawing.salient(stack, saliency))
    assert pixels.shape == (252, 4 * (196 + 4) - 4, 3)
    assert pixels[-1, 400].tolist() == [255, 0, 0] and pixels[-1, 200].tolist() == [0, 0, 0]


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("value", [0.0, -3.0, np.inf, -np.inf, np.nan])
def test_tiles_of_any_values(signed, value):
    grid = np.full((1, 2, 2, 3), value, np.float32)
    grid[0, 1, 0, 0] = np.nan
    picture = np.asarray(drawing.tiles(grid, signed=signed))
    scale = (picture.shape[1] // 2 - 1) // 3
    assert picture[0, 3 * scale + 1].tolist() == [127, 127, 127]  # no number: as the lines
    assert (picture[0, 0] == 127).all() == np.isnan(value)


def test_any_number_of_outputs_is_drawn(tmp_path):
    layers = {"conv_features": (6, 1, 10), "conv_sizes": (3, 2, 1), "conv_strides": (2, 2, 2)}
    agent = saved.make_agent("Catch", {"network": "conv", **layers})
    inspection.inspect(agent, tmp_path / "out", seed=0)
    # Tiles, and the sizes of the outputs of frames of 10 x 5.
    drawn = [((2, 4), (4, 2)), ((1, 1), (2, 1)), ((3, 4), (1, 1))]
    for i, ((rows, columns), (height, width)) in enumerate(drawn):
        with Image.open(tmp_path / "out" / f"outputs_conv_{i}.png") as picture:
            pixels = np.asarray(picture)
        scale = (pixels.shape[0] // rows - 1) // height
        tile = (height * scale + 1, width * scale + 1)
        assert pixels.shape == (rows * tile[0], columns * tile[1], 3)
        tiles = pixels.reshape(rows, tile[0], columns, tile[1], 3).swapaxes(1, 2)
        is_grey = (tiles == 127).all(axis=(2, 3, 4)).ravel()
        assert is_grey.tolist() == [n >= layers["conv_features"][i] for n in range(rows * columns)]


def test_an_inspection_of_a_board_that_nothing_draws(tmp_path):
    agent = saved.make_agent("Catch", CATCH)
    layers = [f"{kind}_conv_0.png" for kind in ("filters", "outputs")]
    files = inspection.inspect(agent, tmp_path / "out", seed=0)
    assert files == sorted([*layers, "q_values.csv", "saliency.png", "states.png"])
    with Image.open(tmp_path / "out" / "saliency.png") as picture:
        pixels = np.asarray(picture).astype(int)
    board = pixels[40 : 40 + 252, :126]  # ten rows of five, their pixels as broad as high
    assert (board.max(axis=2) == board[..., 0]).all() and (board[..., 0] > board[..., 1]).any()
    assert (pixels[:, 126:] == pixels[:, 126:, :1]).all()  # the rest is for titles


@pytest.mark.parametrize(("env", "value"), [("Catch", np.nan), ("Catch", 0), ("CartPole", np.inf)])
def test_an_inspection_of_broken_parameters(env, value, tmp_path):
    agent = saved.make_agent(env, CATCH if env == "Catch" else {"max_episode_steps": 20})
    broken = jax.tree.map(lambda leaf: jnp.full_like(leaf, value), agent.params)
    files = inspection.inspect(agent._replace(params=broken), tmp_path / "out", seed=0)
    assert "states.png" in files


def test_an_inspection_of_a_convolutional_network(agent, tmp_path):
    files = inspection.inspect(agent, tmp_path / "out", seed=0)
    layers = [f"{kind}_conv_{i}.png" for kind in ("filters", "outputs") for i in range(3)]
    assert files == sorted([*layers, "q_values.csv", "saliency.png", "states.png"])
    with (tmp_path / "out" / "q_values.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["state", "step", "return", "action", "NOOP", "FIRE", "RIGHT", "LEFT"]
    spreads = {row[0]: np.ptp(np.array(row[4:], float)) for row in rows[1:]}
    assert spreads["greatest spread of action values"] > spreads["smallest spread of action values"]
    with Image.open(tmp_path / "out" / "filters_conv_0.png") as picture:
        assert picture.height > 7 * picture.width  # 32 filters of 4 frames
    inspection.inspect(agent, tmp_path / "out", seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert inspection.may_be_replaced(tmp_path / "out")
    (tmp_path / "out" / "notes.txt").touch()  # somebody's own
    assert not inspection.may_be_replaced(tmp_path / "out")


def test_an_inspection_of_motion_traces(tmp_path):
    run = saved.make_run(tmp_path / "run", changes=saved.TRACED, returns=(1.0,))
    files = inspection.inspect(trained_agent.load(run, "latest"), tmp_path / "out", seed=0)
    layers = [f"{kind}_conv_{i}.png" for kind in ("filters", "outputs") for i in range(2)]
    assert files == sorted([*layers, "q_values.csv", "saliency.png", "states.png"])
    with Image.open(tmp_path / "out" / "saliency.png") as picture:
        assert picture.width >= 2 * (192 + 4) - 4  # a frame of 42 x 32, and its trace


def test_an_inspection_of_vectors(tmp_path):
    run = saved.make_run(tmp_path / "run", "CartPole", {"max_episode_steps": 20}, returns=(1.0,))
    files = inspection.inspect(trained_agent.load(run, "latest"), tmp_path / "out", seed=0)
    assert files == ["q_values.csv", "states.png"]
