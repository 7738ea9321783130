import os

import jax
import jax.numpy as jnp
import numpy as np
import psutil
import pytest

from jaxdqn.replay import ring as ring_lib
from tests import naive, rings

FRAME = (2, 3)


def random_rows(rng, num_rows, num_envs, stride):
    """Rows of `stride` groups that take turns, with short games of every kind of end."""
    ended = np.ones((stride, num_envs), bool)
    for r in range(num_rows):
        is_first = ended[r % stride]
        terminated = (rng.random(num_envs) < 0.15) & ~is_first
        truncated = (rng.random(num_envs) < 0.1) & ~is_first  # sometimes both at once
        ended[r % stride] = terminated | truncated
        yield (
            ring_lib.Row(
                frame=rng.integers(0, 256, (num_envs, *FRAME), np.uint8),
                reward=np.where(is_first, 0, rng.normal(0, 2, num_envs)).astype(np.float32),
                terminated=terminated,
                truncated=truncated,
                is_first=is_first,
                life_lost=(rng.random(num_envs) < 0.15) & ~is_first,
            ),
            rng.integers(0, 4, num_envs).astype(np.int32),
        )


def fill(ring, rows, num_envs, stride):
    """The ring's state after `rows`, and the naive stream of each (group, environment)."""
    state, add = ring.init(num_envs), jax.jit(ring.add, donate_argnums=0)
    streams = {(g, e): [] for g in range(stride) for e in range(num_envs)}
    for r, (row, actions) in enumerate(rows):
        state = add(state, row, actions)
        for e in range(num_envs):
            fields = (row.frame, row.reward, row.terminated, row.truncated, row.is_first)
            moment = naive.Moment(*(f[e] for f in fields), row.life_lost[e], int(actions[e]))
            streams[r % stride, e].append(moment)
    return state, streams


def make(num_rows=40, frame_stack=4, stride=2, n_step=3, **settings):
    settings = {"discount": 0.9, "reward_clip": 1.0, "life_loss_ends": True, **settings}
    return rings.make_ring(
        num_rows=num_rows,
        frame_shape=FRAME,
        frame_dtype=jnp.dtype("uint8"),
        frame_stack=frame_stack,
        stride=stride,
        n_step=n_step,
        **settings,
    )


@pytest.mark.parametrize("written", [25, 40, 41, 137])
@pytest.mark.parametrize(
    ("frame_stack", "stride", "n_step", "reward_clip", "life_loss_ends"),
    [(4, 2, 3, 1.0, True), (4, 1, 1, 0.0, False), (1, 2, 5, 1.0, False), (3, 3, 2, 0.5, True)],
)
def test_equals_a_naive_replay(written, frame_stack, stride, n_step, reward_clip, life_loss_ends):
    settings = {
        "discount": 0.9,
        "reward_clip": reward_clip,
        "life_loss_ends": life_loss_ends,
        "n_step": n_step,
    }
    ring = make(frame_stack=frame_stack, stride=stride, **settings)
    rows = random_rows(np.random.default_rng(written), written, 3, stride)
    state, streams = fill(ring, rows, 3, stride)
    low = max(0, written - 40) + (frame_stack - 1) * stride
    starts = [
        (r, e)
        for r in range(low, written - n_step * stride)
        for e in range(3)
        if naive.may_start(streams[r % stride, e], r // stride)
    ]
    assert starts
    batch = jax.jit(ring.gather)(state, *(jnp.array(x) for x in zip(*starts, strict=True)))
    for i, (r, e) in enumerate(starts):
        observation, action, reward, discount, following = naive.transition(
            streams[r % stride, e], r // stride, frame_stack, **settings
        )
        np.testing.assert_array_equal(batch.observation[i], observation)
        np.testing.assert_array_equal(batch.next_observation[i], following)
        assert batch.action[i] == action
        np.testing.assert_allclose(batch.reward[i], reward, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(batch.discount[i], discount, rtol=1e-5)


@pytest.mark.parametrize("time_limit_ends", [False, True])
def test_a_cut_ends_games_and_is_no_end_of_theirs(time_limit_ends, key):
    """As a time limit that is none: sums stop there and go on with the value of what is shown."""
    ring, rng = make(num_rows=120, time_limit_ends=time_limit_ends), np.random.default_rng(5)
    rows = [*random_rows(rng, 50, 3, 2)], [*random_rows(rng, 40, 3, 2)]
    for row, _ in (*rows[0], *rows[1]):
        row.truncated[:] = False
    state, streams = fill(ring, rows[0], 3, 2)
    state = ring.cut(state)
    for stream in streams.values():
        stream[-1].truncated = True
    add = jax.jit(ring.add)
    for row, actions in rows[1]:
        state = add(state, row, actions)
    _, after = fill(ring, rows[1], 3, 2)
    for where, stream in after.items():
        streams[where] += stream
    starts = [
        (r, e) for r in range(6, 84) for e in range(3) if naive.may_start(streams[r % 2, e], r // 2)
    ]
    batch = ring.gather(state, *(jnp.array(part) for part in zip(*starts, strict=True)))
    for i, (r, e) in enumerate(starts):
        expected = naive.transition(streams[r % 2, e], r // 2, 4, 3, 0.9, 1.0, True)
        np.testing.assert_array_equal(batch.observation[i], expected[0])
        np.testing.assert_allclose(batch.reward[i], expected[2], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(batch.discount[i], expected[3], rtol=1e-5)
        np.testing.assert_array_equal(batch.next_observation[i], expected[4])
    drawn, envs = ring.draw(state, key, 50_000)
    assert set(zip(drawn.tolist(), envs.tolist(), strict=True)) <= set(starts)


@pytest.mark.parametrize("written", [40, 137])
def test_draws_only_what_may_start(written, key):
    """1e5 draws: never a game's last row, nor one whose history or future crosses the seam."""
    ring = make()
    state, streams = fill(ring, random_rows(np.random.default_rng(1), written, 3, 2), 3, 2)
    rows, envs = (np.asarray(x) for x in jax.jit(ring.draw, static_argnums=2)(state, key, 100_000))
    oldest, newest = max(0, written - 40), written - 1
    assert np.count_nonzero(rows - 3 * 2 < oldest) == 0
    assert np.count_nonzero(rows + 3 * 2 > newest) == 0
    allowed = {
        (r, e)
        for r in range(oldest + 6, newest - 5)
        for e in range(3)
        if naive.may_start(streams[r % 2, e], r // 2)
    }
    drawn, counts = np.unique(np.stack([rows, envs]), axis=1, return_counts=True)
    assert set(map(tuple, drawn.T.tolist())) == allowed
    # Uniform: each count within five standard errors of its mean.
    expected = 100_000 / len(allowed)
    assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)


def test_stream_of_games_of_one_step(key):
    """Half of all rows are last rows; still none is drawn."""
    ring = make(num_rows=16, frame_stack=1, stride=1, n_step=1)
    state, add = ring.init(1), jax.jit(ring.add, donate_argnums=0)
    for r in range(21):
        last = np.array([r % 2 == 1])
        frame = np.full((1, *FRAME), r, np.uint8)
        row = ring_lib.blank_row(1, FRAME, np.uint8)
        row = row.replace(frame=frame, terminated=last, is_first=~last)
        state = add(state, row, np.zeros(1, np.int32))
    rows, _ = ring.draw(state, key, 100_000)
    assert np.count_nonzero(np.asarray(rows) % 2) == 0


def test_sampling_is_jittable_and_pure(key):
    ring = make()
    state, _ = fill(ring, random_rows(np.random.default_rng(2), 50, 3, 2), 3, 2)
    jitted = jax.jit(ring.sample, static_argnums=2)
    once, again = jitted(state, key, 16), jitted(state, key, 16)
    plain = ring.sample(state, key, 16)
    for a, b, c in zip(*map(jax.tree.leaves, (once, again, plain)), strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(a, c, rtol=1e-6)


def test_adding_is_in_place():
    ring = make(num_rows=64)
    rows = random_rows(np.random.default_rng(3), 2, 3, 2)
    state, add = ring.init(3), jax.jit(ring.add, donate_argnums=0)
    state = add(state, *next(rows))
    address = state.frame.unsafe_buffer_pointer()
    state = add(state, *next(rows))
    assert state.frame.unsafe_buffer_pointer() == address


def test_too_few_rows_are_refused():
    with pytest.raises(ValueError, match="12 rows cannot hold 6 before and 6 after"):
        make(num_rows=12)


def test_a_ring_of_more_than_2_to_the_32_elements_at_its_far_end():
    """640,000 x 7,056 bytes."""
    if "CI" not in os.environ and psutil.virtual_memory().available < 7e9:
        pytest.skip("needs 7 GB of free memory")
    num_rows, num_envs = 40_000, 16
    ring = rings.make_ring(
        num_rows=num_rows,
        frame_shape=(84, 84),
        frame_dtype=jnp.dtype("uint8"),
        frame_stack=4,
        stride=2,
        n_step=1,
        discount=0.99,
        reward_clip=1.0,
        life_loss_ends=True,
    )
    state, add = jax.jit(ring.init, static_argnums=0)(num_envs), jax.jit(ring.add, donate_argnums=0)
    state = state.replace(count=jnp.int32(num_rows - 12))
    rng, frames = np.random.default_rng(0), []
    row = ring_lib.blank_row(num_envs, (84, 84), np.uint8)
    for _ in range(16):  # over the end and into the first four slots again
        frames.append(rng.integers(0, 256, (num_envs, 84, 84), np.uint8))
        state = add(state, row.replace(frame=frames[-1]), np.zeros(num_envs, np.int32))
    for first in range(16 - 8):
        rows = jnp.full(num_envs, num_rows - 12 + first + 6)
        batch = jax.jit(ring.gather)(state, rows, jnp.arange(num_envs))
        expected = np.stack([frames[first + 2 * i] for i in range(5)], axis=1)
        np.testing.assert_array_equal(batch.observation, expected[:, :4])
        np.testing.assert_array_equal(batch.next_observation, expected[:, 1:])
