"""A ring with its return rule and its uniform sampler, for tests that need all three."""

import functools
from collections.abc import Callable
from typing import NamedTuple

from jaxdqn.replay import returns, ring
from jaxdqn.replay.samplers import uniform


class Ring(NamedTuple):
    layout: ring.Layout
    rule: returns.ReturnRule
    init: Callable  # (E) -> state
    add: Callable  # (state, row, actions, extras) -> state
    cut: Callable  # (state) -> state
    observe: Callable  # (state, rows, envs) -> observations
    gather: Callable  # (state, rows, envs) -> batch
    outcomes: Callable  # (state) -> outcomes
    draw: Callable  # (state, key, B) -> rows, envs
    sample: Callable  # (state, key, B) -> batch


def make_ring(
    *,
    num_rows,
    frame_shape,
    frame_dtype,
    frame_stack,
    stride,
    terminal_repeats=1,
    num_q_values=0,
    **rule,
):
    extras = {ring.Q_VALUES: (num_q_values,)} if num_q_values else {}
    layout = ring.Layout(num_rows, frame_shape, frame_dtype, frame_stack, stride, extras)
    rule = returns.ReturnRule(**rule)
    returns.check(layout, rule)
    sampler = uniform.uniform(layout, rule, terminal_repeats)

    def draw(state, key, batch_size):
        drawn = sampler.draw(state, key, (), batch_size)
        assert drawn.weight is None
        return drawn.row, drawn.env

    def sample(state, key, batch_size):
        return returns.gather(layout, rule, state, *draw(state, key, batch_size))

    return Ring(
        layout=layout,
        rule=rule,
        init=functools.partial(ring.init, layout),
        add=functools.partial(ring.add, layout),
        cut=functools.partial(ring.cut, layout),
        observe=functools.partial(ring.observe, layout),
        gather=functools.partial(returns.gather, layout, rule),
        outcomes=functools.partial(returns.outcomes, layout, rule),
        draw=draw,
        sample=sample,
    )
