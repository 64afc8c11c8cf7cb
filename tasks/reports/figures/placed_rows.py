"""Rows of images with their texts, placed by the pixel."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from tasks.reports.figures.plotting import Artist, Bbox, Figure, ScalarMappable
from tasks.reports.figures.style import DPI, ERRORS, Array, new_figure, shown_aspect

LONGER_SIDE = 168
"""Pixels of an image's longer side as drawn: six for each of the 28 of Fashion-MNIST."""
FRAME, FRAME_GREY = 2, 204
"""Pixels of the line around an image, and its grey."""
GAP = 16
"""Pixels between two images, and around the bar of colours."""
TEXT_WIDTH = 168
"""Pixels from one image to the next, at least: room for a class's name of 12 letters."""
TEXT_SIZE, LINE_HEIGHT = 11, 28
"""Of texts above and below images: points of their letters, and pixels from line to line."""
TEXT_GAP = 6
"""Pixels between an image and its texts."""
BAR_WIDTH = 24
"""Pixels of the bar of colours."""


class Row(NamedTuple):
    """Images side by side."""

    label: str
    images: Array
    """(n, height, width, 3) colours in 0..1."""
    captions: list[str] | None = None
    """Written below the images."""
    headings: list[str] | None = None
    """Written above them; of rows without captions."""


def draw_rows(
    title: str,
    rows: list[Row],
    path: Path,
    colors: ScalarMappable | None = None,
    color_label: str = "",
) -> None:
    """Labelled rows of images, with a bar that explains colours, if any.

    All places are in pixels, so that Matplotlib lays out nothing and resamples no image, which
    takes it several times as long as to draw.
    """
    texts = [text for row in rows for text in [row.label, *_texts(row)]]
    placed, size = _place_rows(rows)
    width, height = size
    with new_figure((width / DPI, height / DPI), path, names=texts) as figure:
        figure.text(0.5, 1 + TEXT_GAP / height, title, ha="center", va="bottom", fontsize=13)
        figure.add_artist(_Pixels(figure, _compose(placed, size)))
        for row in placed:
            _write_texts(figure, row, size)
        if colors:
            extend = "both" if colors is ERRORS else "neither"  # only errors leave their range
            place = (1 + 2 * GAP / width, 0, BAR_WIDTH / width, 1)
            figure.colorbar(colors, cax=figure.add_axes(place), label=color_label, extend=extend)


class PlacedRow(NamedTuple):
    """A row and its place, in pixels from the upper left corner of all rows."""

    row: Row
    tiles: Array
    """(n, height, width, 3) the images as drawn, in their frames."""
    centres: Array
    """(n,) from the left."""
    top: int
    """Of the images."""

    @property
    def bottom(self) -> int:
        """Of the images."""
        return self.top + int(self.tiles.shape[1])


def _place_rows(rows: list[Row]) -> tuple[list[PlacedRow], tuple[int, int]]:
    """The rows, one below the other, and width and height of all."""
    tiles = [_frame_images(row.images) for row in rows]
    pitch = max(TEXT_WIDTH, *(images.shape[2] + GAP for images in tiles))
    placed, height = [], 0
    for row, images in zip(rows, tiles, strict=True):
        centres = np.arange(len(images)) * pitch + (pitch - GAP) // 2
        top = height + _height_of(row.headings)
        placed.append(PlacedRow(row, images, centres, top))
        height = placed[-1].bottom + _height_of(row.captions) + GAP
    return placed, (max(map(len, tiles)) * pitch - GAP, height - GAP)


def _frame_images(images: Array) -> Array:
    """Images (n, height, width, 3) in 0..1 at the size in which they are drawn, 8 bits, framed."""
    aspect = shown_aspect(images)
    size = round(LONGER_SIDE * min(1 / aspect, 1)), round(LONGER_SIDE * min(aspect, 1))
    pixels = np.rint(255 * images).astype(np.uint8)
    tiles = np.stack([_resize(image, *size) for image in pixels])
    sides = (FRAME, FRAME)
    return np.pad(tiles, ((0, 0), sides, sides, (0, 0)), constant_values=FRAME_GREY)


def _resize(image: Array, width: int, height: int) -> Array:
    """Repeat pixels, or average them, along each side for itself."""
    picture = Image.fromarray(image)
    for size in ((width, picture.height), (width, height)):
        larger = size >= picture.size
        filtering = Image.Resampling.NEAREST if larger else Image.Resampling.HAMMING
        picture = picture.resize(size, filtering)
    return np.asarray(picture)


def _texts(row: Row) -> list[str]:
    return row.captions or row.headings or []


def _height_of(texts: list[str] | None) -> int:
    """Pixels that texts take above or below images."""
    lines = max((text.count("\n") + 1 for text in texts or [] if text), default=0)
    return lines * LINE_HEIGHT + TEXT_GAP if lines else 0


def _compose(rows: list[PlacedRow], size: tuple[int, int]) -> Array:
    """All images, as (height, width, 4) opaque colours of 8 bits."""
    canvas = np.full((size[1], size[0], 4), 255, np.uint8)
    for row in rows:
        width = row.tiles.shape[2]
        for centre, tile in zip(row.centres, row.tiles, strict=True):
            left = centre - width // 2
            canvas[row.top : row.bottom, left : left + width, :3] = tile
    return canvas


class _Pixels(Artist):
    """Colours that fill a figure, drawn as they are."""

    def __init__(self, figure: Figure, colors: Array) -> None:
        """Draw (height, width, 4) colours of 8 bits, a pixel for each."""
        super().__init__()
        self.place, self.colors = figure.transFigure, colors[::-1]  # from the bottom

    def get_window_extent(self, renderer: Any = None) -> Bbox:  # noqa: ARG002 - theirs
        """Where it draws, in pixels; Matplotlib calls this."""
        return Bbox(self.place.transform([(0, 0), (1, 1)]))

    def draw(self, renderer: Any) -> None:
        """Draw the colours; Matplotlib calls this."""
        graphics = renderer.new_gc()
        renderer.draw_image(graphics, *np.rint(self.get_window_extent().p0), self.colors)
        graphics.restore()


def _write_texts(figure: Figure, placed: PlacedRow, size: tuple[int, int]) -> None:
    (width, height), row = size, placed.row
    middle = 1 - (placed.top + placed.bottom) / 2 / height
    figure.text(-GAP / 2 / width, middle, row.label, ha="right", va="center")
    if row.headings:
        place, side = placed.top - TEXT_GAP, "bottom"
    else:
        place, side = placed.bottom + TEXT_GAP, "top"
    for centre, text in zip(placed.centres, _texts(row), strict=False):
        x, y = centre / width, 1 - place / height
        figure.text(x, y, text, ha="center", va=side, fontsize=TEXT_SIZE)
