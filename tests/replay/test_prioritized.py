"""Prioritized replay against a naive model, and by numbers calculated by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdqn.distributed import mesh as mesh_lib
from jaxdqn.replay import returns, ring
from jaxdqn.replay.samplers import api, prioritized

STRIDE, STACK, N_STEP, ENVS = 2, 3, 2, 3
RULE = returns.ReturnRule(n_step=N_STEP, discount=0.9)
PLAIN = prioritized.Rule(1.0, 0.0, 0.5, 0.5, 1)  # masses are priorities


def make(num_rows=40, rule=PLAIN, frame_stack=STACK, stride=STRIDE, return_rule=RULE):
    layout = ring.Layout(num_rows, (1,), jnp.dtype("uint8"), frame_stack, stride)
    sampler = prioritized.prioritized(layout, return_rule, rule)
    return layout, sampler


def play(layout, sampler, num_rows, seed=0, cut_at=(), num_envs=ENVS):
    """A ring and its masses after random games, of which some end at every step."""
    rng = np.random.default_rng(seed)
    state, masses = ring.init(layout, num_envs), sampler.init(num_envs)

    @jax.jit
    def add(state, masses, row):
        state = ring.add(layout, state, row, jnp.zeros(num_envs, jnp.int32))
        return state, sampler.added(masses, state)

    for number in range(num_rows):
        if number in cut_at:
            state = ring.cut(layout, state)
        row = ring.blank_row(num_envs, (1,), np.uint8).replace(
            terminated=rng.random(num_envs) < 0.2, truncated=rng.random(num_envs) < 0.1
        )
        state, masses = add(state, masses, row)
    return state, masses


def by_slot(layout, masses):
    """The masses as [R, E]."""
    num_envs = len(masses.mass)
    return np.asarray(masses.mass).reshape(num_envs, -1)[:, : layout.num_rows].T


def may_be_drawn(layout, state, rule=RULE):
    """By brute force, [R, E]: a whole history, a whole future, and no last row."""
    flags, count = np.asarray(state.flags), int(state.count)
    found = np.zeros(flags.shape, bool)
    oldest = max(0, count - layout.num_rows)
    for row in range(oldest, count):
        history, future = row - layout.history, row + rule.n_step * layout.stride
        if history >= oldest and future < count:
            slot = row % layout.num_rows
            found[slot] = flags[slot] & ring.LAST == 0
    return found


def with_masses(masses, values):
    """The same with other masses, [R, E] in the order of slots."""
    padded = np.zeros(masses.mass.shape, np.float32).reshape(len(masses.mass), -1)
    padded[:, : len(values)] = values.T
    mass = jnp.asarray(padded.reshape(masses.mass.shape))
    return prioritized.Masses(mass, mass.sum(axis=2), mass.max(axis=2))


def assert_sums_are_those_of_masses(masses):
    np.testing.assert_allclose(masses.total, masses.mass.sum(axis=2), rtol=1e-6)
    np.testing.assert_array_equal(masses.largest, masses.mass.max(axis=2))


@pytest.mark.parametrize("num_rows", [0, 3, 8, 9, 39, 40, 41, 137])
@pytest.mark.parametrize("cut_at", [(), (7, 30, 100, 101)])
def test_what_may_be_drawn_has_mass_and_nothing_else(num_rows, cut_at):
    layout, sampler = make()
    state, masses = play(layout, sampler, num_rows, cut_at=cut_at)
    np.testing.assert_array_equal(by_slot(layout, masses) > 0, may_be_drawn(layout, state))
    assert_sums_are_those_of_masses(masses)


def test_without_history_the_oldest_row_may_be_drawn():
    rule = returns.ReturnRule(n_step=1, discount=0.9)
    layout, sampler = make(num_rows=7, frame_stack=1, stride=1, return_rule=rule)
    for num_rows in range(1, 20):
        state, masses = play(layout, sampler, num_rows)
        expected = may_be_drawn(layout, state, rule)
        np.testing.assert_array_equal(by_slot(layout, masses) > 0, expected)


def test_weights_and_strata_by_hand():
    """Of priorities 1 to 4 with beta 1/2; the middles of four strata are rows 1, 2, 3 and 3."""
    rule = returns.ReturnRule(n_step=1, discount=0.9)
    layout, sampler = make(num_rows=8, frame_stack=1, stride=1, return_rule=rule)
    state, masses = play(layout, sampler, 8, num_envs=1)
    priorities = np.array([1, 2, 3, 4, 0, 0, 0, 0], np.float32)[:, None]
    masses = with_masses(masses, priorities)
    draw = jax.jit(sampler.draw, static_argnums=3)
    drawn = draw(state, jax.random.key(0), masses, 2_000, jnp.int32(0))
    by_row = {int(row): float(w) for row, w in zip(drawn.row, drawn.weight, strict=True)}
    np.testing.assert_allclose(
        [by_row[row] for row in range(4)], [1, 0.7071, 0.5774, 0.5], atol=1e-4
    )
    flat = jnp.array([1.0, 2, 3, 4])
    middles = (jnp.arange(4) + 0.5) / 4
    np.testing.assert_array_equal(prioritized.find(flat, middles), [1, 2, 3, 3])
    assert prioritized.find(flat, jnp.array([0.3])) == 2  # 3.0 is where the third begins


def test_frequencies_are_the_masses():
    """1e6 draws, each count within five standard errors; stratified counts vary less still."""
    layout, sampler = make()
    state, masses = play(layout, sampler, 137)
    allowed = may_be_drawn(layout, state)
    values = np.where(allowed, np.random.default_rng(0).gamma(0.3, size=allowed.shape), 0)
    masses = with_masses(masses, values.astype(np.float32))
    counts = np.zeros(allowed.shape)
    draw = jax.jit(sampler.draw, static_argnums=3)
    for seed in range(10):
        drawn = draw(state, jax.random.key(seed), masses, 100_000, jnp.int32(0))
        np.add.at(counts, (np.asarray(drawn.row) % 40, np.asarray(drawn.env)), 1)
        assert np.all(drawn.row > 137 - 41) and np.all(drawn.row < 137)
    expected = 1e6 * values / values.sum()
    errors = np.sqrt(expected * (1 - expected / 1e6))
    assert np.all(np.abs(counts - expected) <= 5 * errors + 1e-9)
    assert not counts[~allowed].any()


def test_small_masses_among_large_ones_are_drawn_as_often_as_they_should():
    """One float32 for a million rows would draw some never; two levels draw each."""
    num_rows, envs = 4_096, 64
    rule = returns.ReturnRule(n_step=1, discount=0.9)
    layout, sampler = make(num_rows=num_rows, frame_stack=1, stride=1, return_rule=rule)
    values = np.full((num_rows, envs), 1e-3, np.float32)
    values[: num_rows // 2] = 1.0
    masses = with_masses(sampler.init(envs), values)
    state = ring.init(layout, envs).replace(count=jnp.int32(num_rows))
    drawn = jax.jit(sampler.draw, static_argnums=3)(
        state, jax.random.key(0), masses, 300_000, jnp.int32(0)
    )
    small = np.count_nonzero(np.asarray(drawn.row) >= num_rows // 2)
    expected = 300_000 * 1e-3 / (1 + 1e-3)
    assert abs(small - expected) < 5 * np.sqrt(expected)
    # Also within one block, no row is left out.
    rows = np.asarray(drawn.row)[np.asarray(drawn.row) < num_rows // 2]
    assert len(np.unique(rows)) == num_rows // 2


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_eight_devices_draw_in_expectation_as_one(beta):
    """Each draws equally many, from shares of the mass that differ a hundredfold."""
    layout, _ = make()
    rule = PLAIN._replace(weight_start=beta, weight_end=beta)
    one = prioritized.prioritized(layout, RULE, rule)
    state, masses = play(layout, one, 137, num_envs=8)
    values = may_be_drawn(layout, state) * np.random.default_rng(0).gamma(0.3, size=(40, 8))
    masses = with_masses(masses, (values * np.logspace(-2, 0, 8)).astype(np.float32))
    mesh = mesh_lib.make_mesh(8)
    each = prioritized.prioritized(layout, RULE, rule, mesh_lib.AXIS)
    by_env, alike = mesh_lib.BY_ENV, mesh_lib.REPLICATED

    @mesh_lib.on_mesh(mesh, in_specs=(by_env, alike, alike), out_specs=by_env)
    def draw(masses, key, count):
        key = jax.random.fold_in(key, mesh_lib.index())
        rows = ring.init(layout, 1).replace(count=count)
        drawn = each.draw(rows, key, masses, 50_000, jnp.int32(0))
        return drawn.replace(env=drawn.env + mesh_lib.index())

    drawn = draw(masses, jax.random.key(0), state.count)
    weights = np.zeros((40, 8))
    np.add.at(weights, (np.asarray(drawn.row) % 40, np.asarray(drawn.env)), drawn.weight)
    # A transition counts as often as it is drawn times its weight: by its mass to 1 - beta.
    mass = by_slot(layout, masses).astype(np.float64)
    expected = np.where(mass > 0, np.maximum(mass, 1e-30) ** (1 - beta), 0)
    often = mass / mass.sum(axis=0) * 50_000 > 400
    assert often.sum() > 60
    np.testing.assert_allclose(
        (weights / weights[often].sum())[often],
        (expected / expected[often].sum())[often],
        rtol=0.15,
    )


def test_sums_stay_those_of_the_masses():
    """After a million updates of all sizes, and no row without mass was ever drawn."""
    layout, sampler = make()
    state, masses = play(layout, sampler, 137)
    allowed = may_be_drawn(layout, state)

    @jax.jit
    def update(masses, key):
        draw_key, size_key = jax.random.split(key)
        drawn = sampler.draw(state, draw_key, masses, 64, jnp.int32(0))
        priority = 10.0 ** jax.random.uniform(size_key, (64,), minval=-6, maxval=6)
        return sampler.learned(masses, drawn, priority, jnp.bool_(True)), drawn

    def many(masses, seeds):
        return jax.lax.scan(update, masses, jax.vmap(jax.random.key)(seeds))

    masses, drawn = jax.jit(many)(masses, jnp.arange(1_000_000 // 64))
    assert allowed[np.asarray(drawn.row) % 40, np.asarray(drawn.env)].all()
    assert_sums_are_those_of_masses(masses)
    np.testing.assert_array_equal(by_slot(layout, masses) > 0, allowed)


def test_the_larger_priority_of_a_double_counts_and_a_refused_update_none():
    layout, sampler = make(rule=PLAIN._replace(exponent=0.5, epsilon=0.25))
    _, masses = play(layout, sampler, 40)
    drawn = api.Drawn(jnp.array([9, 12, 9]), jnp.array([1, 0, 1]), jnp.ones(3))
    priority = jnp.array([3.75, 8.75, 15.75])
    learned = sampler.learned(masses, drawn, priority, jnp.bool_(True))
    found = by_slot(layout, learned)
    assert found[9, 1] == pytest.approx(4) and found[12, 0] == pytest.approx(3)
    assert_sums_are_those_of_masses(learned)
    refused = sampler.learned(masses, drawn, priority * jnp.nan, jnp.bool_(False))
    jax.tree.map(np.testing.assert_array_equal, refused, masses)


def test_a_priority_that_is_not_finite_changes_nothing():
    """One infinite mass would be all that is drawn, and each new row would get it."""
    layout, sampler = make()
    _, masses = play(layout, sampler, 40)
    drawn = api.Drawn(jnp.array([9, 12, 15]), jnp.array([1, 0, 2]), jnp.ones(3))
    priority = jnp.array([jnp.inf, 8.75, jnp.nan])
    found = by_slot(layout, sampler.learned(masses, drawn, priority, jnp.bool_(True)))
    before = by_slot(layout, masses)
    assert found[12, 0] == pytest.approx(8.75)
    assert (found[9, 1], found[15, 2]) == (before[9, 1], before[15, 2])


def test_new_rows_have_the_largest_mass_there_is():
    """Not the largest there ever was, and at first 1."""
    layout, sampler = make(num_rows=20, frame_stack=1, stride=1)
    state, masses = play(layout, sampler, 10)
    assert set(np.unique(by_slot(layout, masses))) == {0, 1}
    values = np.where(may_be_drawn(layout, state), 0.25, 0).astype(np.float32)
    state = state.replace(flags=jnp.zeros_like(state.flags))
    row = ring.blank_row(ENVS, (1,), np.uint8)
    state = ring.add(layout, state, row, jnp.zeros(ENVS, jnp.int32))
    masses = sampler.added(with_masses(masses, values), state)
    ready = int(state.count) - N_STEP - 1
    np.testing.assert_array_equal(by_slot(layout, masses)[ready], [0.25] * ENVS)


def test_weights_rise_with_the_updates():
    layout, sampler = make(rule=prioritized.Rule(1.0, 0.0, 0.4, 1.0, 100))
    state, masses = play(layout, sampler, 60)
    allowed = may_be_drawn(layout, state)
    values = np.where(allowed, np.random.default_rng(0).random(allowed.shape) + 0.1, 0)
    masses = with_masses(masses, values.astype(np.float32))
    for updates, beta in ((0, 0.4), (50, 0.7), (100, 1.0), (500, 1.0)):
        drawn = sampler.draw(state, jax.random.key(0), masses, 64, jnp.int32(updates))
        of_each = values[np.asarray(drawn.row) % 40, np.asarray(drawn.env)]
        np.testing.assert_allclose(drawn.weight, (of_each / of_each.min()) ** -beta, rtol=1e-4)


def test_percentiles_are_those_of_the_priorities():
    """Of rows that may be drawn; the others have no priority."""
    layout, sampler = make(rule=PLAIN._replace(exponent=0.5, epsilon=0.25))
    state, masses = play(layout, sampler, 137)
    allowed = may_be_drawn(layout, state)
    priorities = np.random.default_rng(0).gamma(0.5, size=allowed.shape)
    masses = with_masses(masses, np.where(allowed, (priorities + 0.25) ** 0.5, 0))
    found = sampler.statistics(masses)
    for name, percentile in (("p10", 10), ("p50", 50), ("p90", 90), ("p99", 99)):
        expected = np.percentile(priorities[allowed], percentile)
        assert found[f"priority_{name}"] == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert np.isnan(sampler.statistics(sampler.init(ENVS))["priority_p50"])  # nothing is there
