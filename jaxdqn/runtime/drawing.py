"""Pictures of play: an enlarged screen, what the network thinks beside it, and sheets of frames."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jaxdqn.runtime import play

_HEIGHT = 560  # pixels, about what a screen is enlarged to
_PANEL = 320  # width of what stands beside the screen
_GAP = 12
_GRID = 1200  # pixels, about the longer side of a grid of tiles
_BACKGROUND, _TEXT, _DIM = (24, 24, 27), (235, 235, 240), (113, 113, 122)
_TAKEN, _BAR = (52, 211, 153), (82, 82, 91)


def screen(moment: play.Moment) -> Image.Image:
    """The screen, enlarged by a whole number so that its pixels stay sharp; even sides."""
    picture = Image.fromarray(moment.screen)
    scale = max(1, round(_HEIGHT / picture.height))
    picture = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.BOX)
    return picture.crop((0, 0, picture.width // 2 * 2, picture.height // 2 * 2))


def overlay(moment: play.Moment, action_names: Sequence[str]) -> Image.Image:
    """The screen with Q-values, the action taken, the return so far and the network's input."""
    left = screen(moment)
    whole = Image.new("RGB", (left.width + _PANEL, left.height), _BACKGROUND)
    whole.paste(left, (0, 0))
    draw = ImageDraw.Draw(whole)
    x, y, right = left.width + _GAP, _GAP, whole.width - _GAP
    draw.text((x, y), f"return {moment.game_return:g}", _TEXT, _font(22))
    draw.text((right, y + 5), f"step {moment.length:,}", _DIM, _font(15), anchor="ra")
    # Frames in more columns are smaller: the actions need room too.
    columns = 2
    while (inputs := _stack_picture(moment, right - x, columns)).height > whole.height // 2:
        columns += 1
    room = whole.height - inputs.height - 2 * _GAP - 28 - (y + 40)
    _draw_q_values(draw, (x, y + 40, right, y + 40 + room), moment, action_names)
    top = whole.height - inputs.height - _GAP
    draw.text((x, top - 22), "what the network sees, newest last", _DIM, _font(13))
    whole.paste(inputs, (x, top))
    return whole


def sheet(moments: Sequence[play.Moment]) -> Image.Image:
    """One row for each moment: the raw screen, and the frames that the network sees of it."""
    rows = []
    for moment in moments:
        raw = Image.fromarray(moment.screen)
        seen = _stack_picture(moment, 2 * _PANEL, columns=len(_images(moment.stack)))
        row = Image.new(
            "RGB", (raw.width + seen.width + 3 * _GAP, max(raw.height, seen.height) + 40), "white"
        )
        draw = ImageDraw.Draw(row)
        draw.text(
            (_GAP, 8), f"step {moment.length:,}, return {moment.game_return:g}", "black", _font(14)
        )
        row.paste(raw, (_GAP, 32))
        row.paste(seen, (raw.width + 2 * _GAP, 32))
        rows.append(row)
    whole = Image.new("RGB", (max(r.width for r in rows), sum(r.height for r in rows)), "white")
    y = 0
    for row in rows:
        whole.paste(row, (0, y))
        y += row.height
    return whole


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _draw_q_values(
    draw: ImageDraw.ImageDraw,
    box: tuple[int, int, int, int],
    moment: play.Moment,
    action_names: Sequence[str],
) -> None:
    """A bar for each action, from the lowest value to the highest, the one taken in colour."""
    x, y, right, bottom = box
    height = min(28, (bottom - y) // len(action_names))
    font = _font(max(8, min(15, height - 4)))
    names = max(draw.textlength(name, font) for name in action_names) + _GAP
    numbers = max(draw.textlength(f"{q:.2f}", font) for q in moment.q_values) + _GAP
    lowest, spread = moment.q_values.min(), np.ptp(moment.q_values) or 1.0
    length = right - x - names - numbers
    for i, (name, q) in enumerate(zip(action_names, moment.q_values, strict=True)):
        top, taken = y + i * height, i == moment.action
        draw.text((x, top), name, _TAKEN if taken else _TEXT, font)
        share = float((q - lowest) / spread)
        draw.rectangle(
            (
                x + names,
                top + 2,
                x + names + max(2, share * length),
                max(top + 3, top + height - 5),
            ),
            _TAKEN if taken else _BAR,
        )
        draw.text((right, top), f"{q:.2f}", _TAKEN if taken else _TEXT, font, anchor="ra")


def _images(stack: np.ndarray) -> np.ndarray:
    """Channels of frames [S, C, H, W] one after the other, [S * C, H, W]; others as they are."""
    return stack.reshape(-1, *stack.shape[2:]) if stack.ndim == 4 else stack


def _stack_picture(moment: play.Moment, width: int, columns: int) -> Image.Image:
    """The stack as pictures in a grid, or as numbers where a frame is no picture."""
    stack = _images(moment.stack)
    if stack.ndim != 3:
        rows = ["  ".join(f"{value:.3g}" for value in frame.ravel()[:8]) for frame in stack]
        rows = rows[-8:]
        picture = Image.new("RGB", (width, 20 * len(rows)), _BACKGROUND)
        draw = ImageDraw.Draw(picture)
        for i, text in enumerate(rows):
            draw.text((0, 20 * i), text, _TEXT, _font(13))
        return picture
    columns = min(columns, len(stack))
    cell = (width - (columns - 1) * 4) // columns
    height = cell * stack.shape[1] // stack.shape[2]
    lines = -(-len(stack) // columns)
    picture = Image.new("RGB", (width, lines * (height + 4) - 4), _BACKGROUND)
    for i, frame in enumerate(stack):
        small = Image.fromarray(frame).resize((cell, height), Image.Resampling.NEAREST)
        picture.paste(small, (i % columns * (cell + 4), i // columns * (height + 4)))
    return picture


def tiles(grid: np.ndarray, *, signed: bool) -> Image.Image:
    """Small pictures [rows, columns, H, W] in a grid, enlarged.

    Args:
      grid: their values.
      signed: blue below zero, red above it, as strong as the share of the largest; else black to
        white, each picture by its own largest.
    """
    rows, columns, height, width = grid.shape
    scale = max(1, round(_GRID / max(rows * height, columns * width)))
    if signed:
        share = grid / max(float(np.abs(grid).max()), 1e-12)
        fade = 1 - np.abs(share)
        colour = np.stack(
            [np.where(share > 0, 1, fade), fade, np.where(share < 0, 1, fade)], axis=-1
        )
    else:
        largest = np.maximum(grid.max(axis=(2, 3), keepdims=True), 1e-12)
        colour = np.repeat((grid / largest)[..., None], 3, axis=-1)
    large = np.repeat(np.repeat(colour, scale, axis=2), scale, axis=3)
    framed = np.pad(large, ((0, 0), (0, 0), (0, 1), (0, 1), (0, 0)), constant_values=0.5)
    whole = framed.transpose(0, 2, 1, 3, 4).reshape(
        rows * framed.shape[2], columns * framed.shape[3], 3
    )
    return Image.fromarray((255 * whole.clip(0, 1)).astype(np.uint8))


def salient(stack: np.ndarray, saliency: np.ndarray) -> Image.Image:
    """Frames [S, H, W] or [S, C, H, W] side by side in grey, in red where the network looks.

    Args:
      stack: uint8, oldest first.
      saliency: of the same shape, in [0, 1].
    """
    grey = _images(stack).astype(np.float32)
    red = np.maximum(grey, 255 * _images(saliency))
    frames = np.stack([red, grey, grey], axis=-1).astype(np.uint8)
    pictures = [Image.fromarray(frame).resize((252, 252), Image.Resampling.BOX) for frame in frames]
    whole = Image.new("RGB", ((252 + 4) * len(pictures) - 4, 252), _BACKGROUND)
    for i, picture in enumerate(pictures):
        whole.paste(picture, (i * (252 + 4), 0))
    return whole


def titled(pictures: Mapping[str, Image.Image]) -> Image.Image:
    """Pictures one below the other, each under its title."""
    width = max(picture.width for picture in pictures.values())
    height = sum(picture.height + 40 for picture in pictures.values())
    whole = Image.new("RGB", (width, height), "white")
    draw, y = ImageDraw.Draw(whole), 0
    for title, picture in pictures.items():
        draw.text((_GAP, y + 8), title, "black", _font(20))
        whole.paste(picture, (0, y + 40))
        y += picture.height + 40
    return whole
