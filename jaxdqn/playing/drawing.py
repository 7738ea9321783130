"""Pictures of play: an enlarged screen, the network's view next to it, and sheets of frames."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

from jaxdqn.playing import moments as moments_lib
from jaxdqn.playing import pictures, return_distributions, style

_HEIGHT = 560  # pixels, the approximate height of an enlarged screen
_WIDEST = 2560  # pixels of an enlarged screen
_PANEL = 320  # width of the panel next to the screen
_SEAM = 4  # between frames
_NUMBER, _LINES = 72, 8  # pixels of a number, and maximum lines of them
_LEAST = 9  # minimum pixels of an action's row; below it, low values are left out
_LEAST_SPREAD = 0.01  # of the largest value, that bars show over their whole length
_SALIENT = 252  # pixels of the longer side of a frame with its saliency
_GRID = 1200  # pixels, about the longer side of a grid of tiles
_LINE = 0.5  # gray of the lines between them


def screen(moment: moments_lib.Moment) -> Image.Image:
    """The screen, enlarged by a whole number so that pixels stay sharp; with even sides."""
    picture = Image.fromarray(moment.screen)
    scale = max(1, min(round(_HEIGHT / picture.height), _WIDEST // picture.width))
    picture = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.BOX)
    return picture.crop((0, 0, picture.width // 2 * 2, picture.height // 2 * 2))


def overlay(
    moment: moments_lib.Moment,
    action_names: Sequence[str],
    returns: return_distributions.Returns | None = None,
) -> Image.Image:
    """The screen with Q-values, the action taken, the return so far and the network's input.

    Args:
      moment: what is drawn.
      action_names: of all actions.
      returns: that are expected of them, for a panel of their own; None for none.
    """
    whole = _overlay(moment, action_names)
    if returns is None:
        return whole
    panel = return_distributions.panel(
        returns, moment.q_values, moment.action, action_names, whole.height
    )
    both = Image.new("RGB", (whole.width + panel.width, whole.height))
    both.paste(whole, (0, 0))
    both.paste(panel, (whole.width, 0))
    return both


def _overlay(moment: moments_lib.Moment, action_names: Sequence[str]) -> Image.Image:
    left = screen(moment)
    whole = Image.new("RGB", (left.width + _PANEL, left.height), style.BACKGROUND)
    whole.paste(left, (0, 0))
    draw = ImageDraw.Draw(whole)
    x, y, right = left.width + style.GAP, style.GAP, whole.width - style.GAP
    draw.text((x, y), f"return {moment.game_return:g}", style.TEXT, style.font(22))
    draw.text((right, y + 5), f"step {moment.length:,}", style.DIM, style.font(15), anchor="ra")
    inputs = _stack_picture(moment.stack, right - x, whole.height // 2)
    room = whole.height - inputs.height - 2 * style.GAP - 28 - (y + 40)
    _draw_q_values(draw, (x, y + 40, right, y + 40 + room), moment, action_names)
    top = whole.height - inputs.height - style.GAP
    draw.text((x, top - 22), "what the network sees, newest last", style.DIM, style.font(13))
    whole.paste(inputs, (x, top))
    return whole


def sheet(moments: Sequence[moments_lib.Moment]) -> Image.Image:
    """One row for each moment: the raw screen, and the frames that the network sees."""
    rows = []
    for moment in moments:
        raw = Image.fromarray(moment.screen)
        seen = _stack_picture(moment.stack, 2 * _PANEL, max(raw.height, _PANEL // 2))
        row = Image.new(
            "RGB",
            (raw.width + seen.width + 3 * style.GAP, max(raw.height, seen.height) + 40),
            "white",
        )
        draw = ImageDraw.Draw(row)
        draw.text(
            (style.GAP, 8),
            f"step {moment.length:,}, return {moment.game_return:g}",
            "black",
            style.font(14),
        )
        row.paste(raw, (style.GAP, 32))
        row.paste(seen, (raw.width + 2 * style.GAP, 32))
        rows.append(row)
    whole = Image.new("RGB", (max(r.width for r in rows), sum(r.height for r in rows)), "white")
    y = 0
    for row in rows:
        whole.paste(row, (0, y))
        y += row.height
    return whole


def _draw_q_values(
    draw: ImageDraw.ImageDraw,
    box: tuple[int, int, int, int],
    moment: moments_lib.Moment,
    action_names: Sequence[str],
) -> None:
    """A bar for each action, as long as `_bar_shares` says; the one taken in color."""
    x, y, right, bottom = box
    shown = _shown(moment, max(1, (bottom - y) // _LEAST))
    values = {i: f"{q:.2f}" if abs(q) < 1e6 else f"{q:.3g}" for i, q in enumerate(moment.q_values)}
    shares = _bar_shares(moment.q_values)
    height = min(28, (bottom - y) // len(shown))
    font = style.font(max(8, min(15, height - 4)))
    names = max(draw.textlength(action_names[i], font) for i in shown) + style.GAP
    numbers = max(draw.textlength(values[i], font) for i in shown) + style.GAP
    length = right - x - names - numbers
    for row, i in enumerate(shown):
        top, taken = y + row * height, i == moment.action
        draw.text((x, top), action_names[i], style.TAKEN if taken else style.TEXT, font)
        draw.rectangle(
            (
                x + names,
                top + 2,
                x + names + max(2, shares[i] * length),
                max(top + 3, top + height - 5),
            ),
            style.TAKEN if taken else style.BAR,
        )
        draw.text((right, top), values[i], style.TAKEN if taken else style.TEXT, font, anchor="ra")
    if len(shown) < len(action_names):
        left_out = f"and {len(action_names) - len(shown)} others"
        draw.text((x, y + len(shown) * height), left_out, style.DIM, font)


def _bar_shares(values: np.ndarray) -> np.ndarray:
    """The lengths of bars [A], from 0 for the lowest value to 1 for the highest.

    Values that differ by less than 1% of the largest are not spread over the whole length: their
    bars would show a difference that hardly matters.
    """
    wide = values.astype(np.float64)
    finite = wide[np.isfinite(wide)]
    if not finite.size:
        return np.zeros(len(wide))
    least = _LEAST_SPREAD * np.abs(finite).max()
    stretch = min(1.0, np.ptp(finite) / least) if least else 1.0
    return np.where(np.isnan(wide), 0, 1 - stretch * (1 - pictures.shares(wide)))


def _shown(moment: moments_lib.Moment, most: int) -> list[int]:
    """The actions for which there is room, in order: those with the highest values."""
    count = len(moment.q_values)
    if count <= most:
        return list(range(count))
    best = np.argsort(-np.nan_to_num(moment.q_values, nan=-np.inf), kind="stable")
    others = [int(i) for i in best if i != moment.action]
    return sorted([moment.action, *others[: max(0, most - 2)]])  # a line says how many are left out


def _stack_picture(stack: np.ndarray, width: int, height: int) -> Image.Image:
    """A stack of frames as pictures that fit `width` x `height`, or as numbers."""
    frames = pictures.of_stack(stack)
    if frames is None:
        return _numbers(stack, width)
    count, rows, columns = frames.shape[:3]

    def scale(across: int) -> float:
        """The scale of frames if so many are next to each other."""
        down = -(-count // across)
        return min(
            (width - (across - 1) * _SEAM) / (across * columns),
            (height - (down - 1) * _SEAM) / (down * rows),
        )

    across = max(range(1, count + 1), key=scale)
    largest, down = scale(across) + 1e-9, -(-count // across)
    size = (max(1, int(largest * columns)), max(1, int(largest * rows)))
    whole = Image.new(
        "RGB",
        (across * (size[0] + _SEAM) - _SEAM, down * (size[1] + _SEAM) - _SEAM),
        style.BACKGROUND,
    )
    for i, frame in enumerate(frames):
        small = Image.fromarray(frame).resize(size, Image.Resampling.NEAREST)
        whole.paste(small, (i % across * (size[0] + _SEAM), i // across * (size[1] + _SEAM)))
    return whole


def _numbers(stack: np.ndarray, width: int) -> Image.Image:
    """Frames as numbers, each on lines of its own; the newest frames for which there is room."""
    across = max(1, width // _NUMBER)
    frames = [
        [f"{value:.3g}" for value in frame]
        for frame in stack.reshape(len(stack), -1).astype(np.float64).tolist()
    ]
    lines = [frame[i : i + across] for frame in frames for i in range(0, len(frame), across)]
    of_each = len(lines) // len(frames)
    if of_each > _LINES:
        lines = lines[-of_each:][: _LINES - 1]
        lines.append([f"and {len(frames[-1]) - across * len(lines):,} more"])
    else:
        lines = lines[-(_LINES // of_each * of_each) :]
    width = min(width, _NUMBER * max(map(len, lines)))
    picture = Image.new("RGB", (width, 20 * len(lines)), style.BACKGROUND)
    draw = ImageDraw.Draw(picture)
    for row, line in enumerate(lines):
        for column, text in enumerate(line):
            draw.text((column * _NUMBER, 20 * row), text, style.TEXT, style.font(13))
    return picture


def tiles(grid: np.ndarray, *, signed: bool) -> Image.Image:
    """Small pictures [rows, columns, H, W] in a grid, enlarged.

    Args:
      grid: their values; NaN is as gray as the lines between the tiles.
      signed: blue below zero, red above it, relative to the largest absolute value; else black to
        white, relative to the largest value of each picture.
    """
    rows, columns, height, width = grid.shape
    scale = max(1, round(_GRID / max(rows * height, columns * width)))
    is_number, grid = ~np.isnan(grid)[..., None], np.nan_to_num(grid)
    if signed:
        share = grid / max(float(np.abs(grid).max()), 1e-12)
        fade = 1 - np.abs(share)
        colour = np.stack(
            [np.where(share > 0, 1, fade), fade, np.where(share < 0, 1, fade)], axis=-1
        )
    else:
        largest = np.maximum(grid.max(axis=(2, 3), keepdims=True), 1e-12)
        colour = np.repeat((grid.clip(0) / largest)[..., None], 3, axis=-1)
    colour = np.where(is_number, colour, _LINE)
    large = np.repeat(np.repeat(colour, scale, axis=2), scale, axis=3)
    framed = np.pad(large, ((0, 0), (0, 0), (0, 1), (0, 1), (0, 0)), constant_values=_LINE)
    whole = framed.transpose(0, 2, 1, 3, 4).reshape(
        rows * framed.shape[2], columns * framed.shape[3], 3
    )
    return Image.fromarray((255 * whole.clip(0, 1)).astype(np.uint8))


def salient(stack: np.ndarray, saliency: np.ndarray) -> Image.Image:
    """Frames side by side in gray, with red where the network looks.

    Args:
      stack: [S, *frame_shape] of any type, oldest first. A frame in color is one picture, whose
        red is that of the channel that counts most. Any other channel is a picture of its own.
      saliency: of the same shape, in [0, 1].
    """
    grey = pictures.unstacked(pictures.as_bytes(stack)).astype(np.float32)
    saliency = pictures.unstacked(saliency)
    if grey.ndim == 4:  # in color
        grey, saliency = grey.mean(axis=3), saliency.max(axis=3)
    rest = grey * (1 - saliency)  # otherwise white pixels would stay white
    red = np.maximum(grey, 255 * saliency)
    frames = np.stack([red, rest, rest], axis=-1).astype(np.uint8)
    rows, columns = frames.shape[1:3]
    scale = _SALIENT / max(rows, columns)
    size = (max(1, round(columns * scale)), max(1, round(rows * scale)))
    whole = Image.new("RGB", ((size[0] + _SEAM) * len(frames) - _SEAM, size[1]), style.BACKGROUND)
    for i, frame in enumerate(frames):
        picture = Image.fromarray(frame).resize(size, Image.Resampling.BOX)
        whole.paste(picture, (i * (size[0] + _SEAM), 0))
    return whole


def titled(drawn: Mapping[str, Image.Image]) -> Image.Image:
    """Pictures one below the other, each under its title."""
    titles = max(style.font(20).getlength(title) for title in drawn)
    width = max(*(picture.width for picture in drawn.values()), int(titles) + 2 * style.GAP)
    height = sum(picture.height + 40 for picture in drawn.values())
    whole = Image.new("RGB", (width, height), "white")
    draw, y = ImageDraw.Draw(whole), 0
    for title, picture in drawn.items():
        draw.text((style.GAP, y + 8), title, "black", style.font(20))
        whole.paste(picture, (0, y + 40))
        y += picture.height + 40
    return whole
