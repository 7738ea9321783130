"""Plots of many groups, of odd values, and of names that are long."""

import itertools

import matplotlib.backends.backend_agg as agg
import matplotlib.collections
import matplotlib.colors
import numpy as np
import pytest

from jaxdqn.reporting import curves, figure_files, group_names, metric_columns, plots
from jaxdqn.rundir import known_curves

LONG = ", ".join(f"setting_of_a_long_name_{i}={{0}}.123456789" for i in range(9))


def some_groups(count, runs=2, label="n_step={}"):
    """Groups of runs whose returns rise, each group's to its own number."""
    steps = np.arange(10.0, 101, 10)
    return {
        label.format(i): [(steps, (i + 1) * steps + run) for run in range(runs)]
        for i in range(count)
    }


def drawn(groups, points=None, **settings):
    """A figure as it is after drawing, when all its parts have their places."""
    settings = {"levels": {}} | settings
    figure = plots.lines(groups, points or {}, x="steps", y="return", **settings)
    agg.FigureCanvasAgg(figure).draw()
    return figure


def inside(inner, outer):
    """Whether one box lies in another, to a hundredth of an inch."""
    return (
        inner.x0 > outer.x0 - 1
        and inner.x1 < outer.x1 + 1
        and inner.y0 > outer.y0 - 1
        and inner.y1 < outer.y1 + 1
    )


@pytest.mark.parametrize("label", ["n_step={}", "n={}, learning_rate=0.1", "i={0}, " + LONG])
@pytest.mark.parametrize("count", [1, 2, 7, 12])
def test_up_to_twelve_groups_share_axes_with_a_legend_below(count, label):
    figure = drawn(some_groups(count, label=label))
    (axes,), (legend,) = figure.axes, figure.legends
    # In nobody's way, whole, and the axes have their room.
    assert legend.get_window_extent().y1 <= axes.get_tightbbox().y0
    assert inside(legend.get_window_extent(), figure.bbox)
    assert axes.get_window_extent().height > 2.5 * figure.dpi
    assert axes.get_window_extent().width > 5 * figure.dpi
    looks = {(line.get_color(), line.get_linestyle()) for line in legend.get_lines()}
    assert len(looks) == len(legend.get_texts()) == count
    # A legend tells of what is in the axes.
    assert looks <= {(line.get_color(), line.get_linestyle()) for line in axes.lines}


@pytest.mark.parametrize("count", [1, 13])
def test_a_level_far_from_the_curves_leaves_them_their_room(count):
    curve = (np.array([0.0, 100.0]), np.array([68.0, 420.0]))
    groups = {f"n_step={i}": [curve] for i in range(count)}
    figure = drawn(groups, levels={"random": 68.4, "human": 42_055.0})
    axes = figure.axes[0]
    assert axes.get_ylim()[1] < 500
    assert [text.get_text() for text in axes.texts] == ["random", "human 42,055 (above)"]
    axes = drawn(groups, levels={"random": -500.0, "human": 800.0}).axes[0]
    assert axes.get_ylim()[0] > -500 and 800 < axes.get_ylim()[1] < 900
    assert [text.get_text() for text in axes.texts] == ["human", "random -500 (below)"]


def test_points_of_groups_of_one_colour_differ():
    groups = some_groups(12)
    figure = drawn(groups, groups)
    dots = {(line.get_color(), line.get_marker()) for line in figure.axes[0].lines}
    assert len({look for look in dots if look[1] != "None"}) == 12


def lab(rgb):
    """CIE Lab of linear RGB [3]."""
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    x, y, z = np.cbrt(np.array(to_xyz) @ rgb / [0.9505, 1, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


# Machado et al. (2009): linear RGB as people without red or green cones see it.
SIGHTS = {
    "all": np.eye(3),
    "no red": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "no green": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
}


@pytest.mark.parametrize("sight", SIGHTS)
def test_the_colour_blind_tell_colours_apart(sight):
    figure = drawn(some_groups(6))
    seen = []
    for line in figure.legends[0].get_lines():
        srgb = np.array(matplotlib.colors.to_rgb(line.get_color()))
        linear = ((srgb + 0.055) / 1.055) ** 2.4
        seen.append(lab(np.clip(np.array(SIGHTS[sight]) @ linear, 1e-3, 1)))
    # Just noticeable is 2.3.
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 14


@pytest.mark.parametrize("label", ["n_step={}", "i={0}, " + LONG])
@pytest.mark.parametrize("count", [13, 40])
def test_more_groups_have_a_panel_each(count, label):
    groups = some_groups(count, label=label)
    figure = drawn(groups, groups)
    assert len(figure.axes) == count and not figure.legends
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == group_names.short(list(groups)) and len(set(titles)) == count
    assert len({(axes.get_xlim(), axes.get_ylim()) for axes in figure.axes}) == 1
    boxes = [axes.get_tightbbox() for axes in figure.axes]
    assert all(inside(box, figure.bbox) for box in boxes)
    for one, two in itertools.combinations(boxes, 2):
        apart = (one.x1 <= two.x0, two.x1 <= one.x0, one.y1 <= two.y0, two.y1 <= one.y0)
        assert any(apart)
    for axes in figure.axes:
        assert axes.get_window_extent().width > 1.5 * figure.dpi
        assert axes.get_window_extent().height > 1 * figure.dpi
    texts = [text.get_text() for text in figure.texts]
    assert texts == ["steps", "return"]


def test_a_panel_shows_its_group_before_all_others():
    """Groups of one value each, so that heights of a picture are groups."""
    steps = np.arange(11.0)
    groups = {f"n_step={i}": [(steps, np.full(11, 1.0 * i))] for i in range(13)}
    figure = drawn(groups)
    pixels = np.asarray(figure.canvas.buffer_rgba())[::-1, :, :3].astype(int)
    for i, axes in enumerate(figure.axes):
        middle = int(axes.get_window_extent().x0 + axes.get_window_extent().width / 2)
        colours = []
        for value in range(13):
            height = axes.transData.transform((5, value))[1]
            column = pixels[int(height) - 1 : int(height) + 2, middle + 5]
            colours.append(column[np.argmax(np.ptp(column, axis=1))])
        is_blue = [colour[2] - colour[0] > 60 for colour in colours]
        assert is_blue == [value == i for value in range(13)]
        assert all(min(colour) < 250 for colour in colours)  # and the others are there


def test_a_picture_holds_the_means_behind_panels_once():
    few = figure_files.svg(drawn(some_groups(13)))
    more = figure_files.svg(drawn(some_groups(26)))
    assert len(more) < 2.2 * len(few)  # and not four times as much
    assert "currentColor" in more and '<g id="' not in more


ODD = {
    "zeros": [0.0, 0, 0],
    "negative": [-1.0, -2, -3],
    "a spike between zeros": [0.0, 1, 0],
    "of both signs": [0.0, 0.5, -1],
    "huge, of both signs": [1e308, -1e308, 1e308],
    "the largest": [1.7e308, 1.7e308, 1.7e308],
    "tiny": [5e-324, 1e-320, 0],
    "tiny to huge": [5e-324, 1, 1e308],
    "many decades": [1e-12, 1, 1e12],
    "nearly equal": [1.0, 1 + 1e-15, 1],
    "equal and large": [1e20, 1e20, 1e20],
    "one row": [7.0],
    "one row of zero": [0.0],
    "no row": [],
}


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize(
    ("odd", "count"), [*((odd, 2) for odd in ODD), ("zeros", 13), ("tiny to huge", 13)]
)
def test_odd_values_are_drawn(odd, count, log):
    ys = np.array(ODD[odd])
    steps = 10.0 * np.arange(1, len(ys) + 1)
    groups = {f"n_step={i}": [(steps, ys), (steps, ys / 2), (steps, -ys)] for i in range(count)}
    figure = drawn(groups, groups, log=log)
    assert "<svg" in figure_files.svg(figure)
    axes = figure.axes[0]
    is_log = log and (np.abs(ys) > 1e-150).any()
    assert axes.get_yscale() == ("log" if is_log else "linear")
    low, high = axes.get_ylim()
    assert -np.inf < low < high < np.inf and 0 == axes.get_xlim()[0] < axes.get_xlim()[1]
    assert any(low < tick < high for tick in axes.get_yticks())


def test_all_at_step_zero_and_beyond_all_steps():
    for step in (0.0, 1e308, -5.0):
        one = (np.array([step]), np.array([1.0]))
        assert np.isfinite(drawn({"a": [one, one]}).axes[0].get_xlim()).all()


def test_a_single_row_is_a_point():
    """A line needs two."""
    one = (np.array([5.0]), np.array([3.0]))
    late = (np.array([8.0]), np.array([4.0]))
    for runs, expected in (([one], [(5, 3)]), ([one, late], [(5, 3), (8, 4)])):
        figure = drawn({"a": runs})
        marked = [line for line in figure.axes[0].lines if line.get_marker() != "None"]
        shown = sorted(tuple(point) for line in marked for point in line.get_xydata())
        assert shown == expected


def test_values_without_a_place_on_a_logarithmic_axis_interrupt_the_curve():
    steps = np.arange(1.0, 5)
    group = curves.summary(
        [(steps, np.array([1.0, 0, 0, 2]))] * 2, [], mean_points=5, run_points=9, log=True
    )
    np.testing.assert_array_equal(group.mean[0], steps)
    np.testing.assert_array_equal(group.mean[1], [1, np.nan, np.nan, 2])
    np.testing.assert_array_equal(group.runs[1], [1, np.nan, np.nan, 2, np.nan] * 2)
    assert [part.tolist() for part in curves.alone(group.mean)] == [[1, 4], [1, 2]]


def test_a_curve_is_sorted_by_steps():
    rows = [{"step": 3, "loss": 1.0}, {"step": 1, "loss": 2.0}, {"step": 2, "loss": 10**400}]
    where, values = curves.curve(
        metric_columns.of([*rows, {"step": 4, "loss": True}]), "step", "loss"
    )
    assert where.tolist() == [1, 3] and values.tolist() == [2, 1]


def test_long_lines_are_thinned_and_keep_their_ends():
    steps = np.arange(1000.0)
    group = curves.summary([(steps, steps)] * 2, [], mean_points=5, run_points=40, log=False)
    assert len(group.runs[0]) == 2 * 41
    assert group.runs[1][0] == 0 and group.runs[1][39] == 999


def test_names_are_short():
    assert group_names.short(["atari"]) == ["atari"]
    assert group_names.short(["atari, n_step=1", "atari, n_step=3"]) == ["n_step=1", "n_step=3"]
    # Nothing would be left of the first.
    assert group_names.short(["atari", "atari, a=1"]) == ["atari", "atari, a=1"]
    labels = [f"atari, i={i}, {LONG.format(i)}" for i in range(13)]
    names = group_names.short(labels)
    assert names[12].startswith("13: i=12") and names[12].endswith("…")
    assert all(len(line) <= 28 for name in names for line in name.splitlines())
    assert group_names.are_cut(labels) and not group_names.are_cut(["a=1", "a=2"])


def test_names_that_no_font_holds_are_drawn():
    labels = ["預設", "a\nb\x00", "\udcff", "$x_1$ <script>", "ü" * 300]
    groups = dict(zip(labels, some_groups(5).values(), strict=True))
    for more in ({}, some_groups(13)):
        svg = figure_files.svg(drawn(groups | more))
        assert "<script" not in svg and "&lt;script&gt;" in svg
        svg.encode()


@pytest.mark.parametrize("count", [2, 13])
def test_what_is_expected_is_within_the_axes(count):
    groups = some_groups(count)
    band = known_curves.Band(np.array([40, 80]), np.array([-900.0, 10]), np.array([20.0, 9e4]))
    figure = drawn(groups, expected={"n_step=1": band})
    low, high = figure.axes[0].get_ylim()
    assert low < -900 and high > 9e4
    bars = [
        np.array(part.get_segments()).tolist()
        for axes in figure.axes
        for part in axes.collections
        if isinstance(part, matplotlib.collections.LineCollection)
    ]
    assert [[[40.0, -900.0], [40.0, 20.0]], [[80.0, 10.0], [80.0, 9e4]]] in bars
