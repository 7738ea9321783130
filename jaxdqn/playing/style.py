"""Colors, fonts and distances of pictures of play."""

from PIL import ImageFont

GAP = 12  # pixels between parts
BACKGROUND, TEXT, DIM = (24, 24, 27), (235, 235, 240), (113, 113, 122)
TAKEN, BAR = (52, 211, 153), (82, 82, 91)


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font of all pictures, of a size in pixels."""
    return ImageFont.load_default(size)
