"""What a picture of one answer is drawn with: a sheet of text and images, masks, match lines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

from vpr_ros.evaluation.strips import FONT, INTERPOLATION
from vpr_ros.evaluation.theme import Theme

if TYPE_CHECKING:
    from vpr_ros.records import LocalFeatures

BOLD = FONT.with_name('DejaVuSans-Bold.ttf')
MASK, FAINTEST, STRONGEST = (190, 70, 255), 0.06, 0.34  # colour and opacity of kept patches
INLIER, OUTLIER = (38, 214, 96), (205, 210, 218)
MOST_INLIERS, MOST_OUTLIERS = 60, 100  # lines drawn; more hide the pictures
BAR = 14  # pixels
SUBPIXEL = 4  # binary digits behind the point of a line's end


class Sheet:
    """A sheet of one width, filled from above and cut off below what was drawn."""

    def __init__(self, width: int, height: int, theme: Theme) -> None:
        self.theme = theme
        self.image = Image.new('RGB', (width, height), theme.paper)
        self._draw = ImageDraw.Draw(self.image)

    def text(
        self, x: int, y: int, text: str, size: int = 16, colour: str = '', bold: bool = False,
        width: int | None = None, lines: int = 20, end: int | None = None,
    ) -> int:  # fmt: skip
        """Write text with its top left corner at x, y, wrapped to a width; return where it ends.

        With `end` one line ends there instead. The last of more than `lines` lines ends with an
        ellipsis.
        """
        font = ImageFont.truetype(BOLD if bold else FONT, size)
        if end is not None:
            x = end - round(font.getlength(text))
        for line in wrapped(text, font, width, lines):
            self._draw.text((x, y + size // 5), line, fill=colour or self.theme.ink, font=font)
            y += leading(size)
        return y

    def paste(self, x: int, y: int, pixels: np.ndarray) -> None:
        self.image.paste(Image.fromarray(pixels), (x, y))

    def line(self, x: int, y: int, width: int) -> None:
        self._draw.line((x, y, x + width, y), fill=self.theme.line)

    def dot(self, x: int, y: int, colour: str) -> None:
        self._draw.ellipse((x, y, x + 10, y + 10), fill=colour)

    def frame(self, x: int, y: int, width: int, height: int, colour: str) -> None:
        """A frame round an area, outside of it."""
        self._draw.rectangle((x - 4, y - 4, x + width + 3, y + height + 3), None, colour, 4)

    def bar(self, x: int, y: int, width: int, share: float, limit: float = math.nan) -> None:
        """A bar filled up to a share of its width, with a mark at a limit; nan: none."""
        known = not math.isnan(share)
        corners = (x, y, x + width, y + BAR)
        theme = self.theme
        self._draw.rectangle(corners, theme.line if known else theme.paper, theme.line)
        if known and share > 0:
            filled = round(min(share, 1.0) * width)
            self._draw.rectangle((x, y, x + filled, y + BAR), theme.accent)
        if not math.isnan(limit):
            mark = x + round(limit * width)
            self._draw.line((mark, y - 4, mark, y + BAR + 4), theme.ink, 3)

    def finished(self, bottom: int) -> np.ndarray:
        """The sheet down to a row, (H, W, 3) uint8 RGB."""
        return np.array(self.image.crop((0, 0, self.image.width, bottom)))


def leading(size: int) -> int:
    """From one line of text to the next, in pixels."""
    return round(1.4 * size)


def wrapped(
    text: str, font: ImageFont.FreeTypeFont, width: int | None, lines: int = 20
) -> list[str]:
    """Lines that fit a width; words longer than a line, such as paths, are broken."""
    if width is None:
        return text.splitlines() or ['']
    done: list[str] = []
    for word in text.split():
        both = f'{done[-1]} {word}' if done else word
        if font.getlength(both) <= width:
            done[-1:] = [both]
            continue
        while font.getlength(word) > width and len(word) > 1:
            fits = next(n for n in range(len(word) - 1, 0, -1) if n == 1 or
                        font.getlength(word[:n]) <= width)  # fmt: skip
            done.append(word[:fits])
            word = word[fits:]  # noqa: PLW2901
        done.append(word)
    if len(done) > lines:
        done, last = done[:lines], done[lines - 1]
        while font.getlength(f'{last}…') > width and last:
            last = last[:-1]
        done[-1] = f'{last}…'
    return done or ['']


def decoded(thumbnail: bytes | None) -> np.ndarray | None:
    """Pixels (H, W, 3) uint8 RGB of a JPEG, or None for none and for a damaged one."""
    if not thumbnail:
        return None
    image = cv2.imdecode(np.frombuffer(thumbnail, np.uint8), cv2.IMREAD_COLOR)
    return None if image is None else np.ascontiguousarray(image[:, :, ::-1])


def fitted(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """The image as large as a box allows, not distorted."""
    scale = min(height / image.shape[0], width / image.shape[1])
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    return cv2.resize(image, size, interpolation=INTERPOLATION[scale < 1])


def masked(
    image: np.ndarray, local: LocalFeatures, input_size: tuple[int, int], patch: int
) -> np.ndarray:
    """Tint the patches that have a local feature, the more reliable ones more strongly.

    Args:
        image: (H, W, 3) uint8 RGB.
        local: of one image.
        input_size: height and width of the model's input, in whose pixels the positions are.
        patch: side of a patch there; features that lie closer have smaller squares.
    """
    valid = local.valid[0].cpu().numpy()
    position = local.position[0].float().cpu().numpy()[valid]
    strength = local.reliability[0].float().cpu().numpy()[valid].clip(0.0, 1.0)
    opacity = np.zeros(image.shape[:2], np.float32)
    scale = np.divide(image.shape[:2], input_size)
    half = squares(position, patch) / 2
    first = np.rint((position - half) * scale).astype(int).clip(0)
    last = np.rint((position + half) * scale).astype(int)
    for (top, left), (bottom, right), share in zip(first, last, strength, strict=True):
        opacity[top:bottom, left:right] = FAINTEST + share * (STRONGEST - FAINTEST)
    mixed = image + opacity[:, :, None] * (np.array(MASK, np.float32) - image)
    return mixed.round().astype(np.uint8)


def squares(position: np.ndarray, patch: int) -> float:
    """Side of the square of each feature: a patch, or the distance of rows where it is less."""
    steps = np.diff(np.unique(position[:, 0].round(2)))
    return float(min(patch, steps.min(initial=patch)))


def connected(
    image: np.ndarray, query: np.ndarray, place: np.ndarray, inlier: np.ndarray
) -> np.ndarray:
    """Draw the points, and lines between them: inliers in green over all others, which are faint.

    Every point is drawn; of many lines only some, evenly, because more would hide the pictures.

    Args:
        image: (H, W, 3) uint8 RGB, both pictures side by side.
        query: ends of the lines in one picture, x and y in pixels of `image`, (n, 2).
        place: in the other.
        inlier: (n,), bool.
    """
    for kind, colour, width, most, opacity in (
        (~inlier, OUTLIER, 1, MOST_OUTLIERS, 0.55),
        (inlier, INLIER, 2, MOST_INLIERS, 0.8),
    ):
        drawn, rows = image.copy(), np.flatnonzero(kind)
        some = spread_out(rows, most)
        _lines(drawn, query[some], place[some], colour, width)
        _points(drawn, np.concatenate((query[rows], place[rows])), colour, width)
        image = cv2.addWeighted(drawn, opacity, image, 1.0 - opacity, 0.0)
    return image


def spread_out(rows: np.ndarray, most: int) -> np.ndarray:
    """At most so many of the rows, evenly."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).round().astype(int)]


def _lines(
    image: np.ndarray, starts: np.ndarray, ends: np.ndarray, colour: Sequence[int], width: int
) -> None:
    for start, end in zip(_fixed(starts), _fixed(ends), strict=True):
        cv2.line(image, start, end, colour, width, cv2.LINE_AA, SUBPIXEL)


def _points(image: np.ndarray, points: np.ndarray, colour: Sequence[int], width: int) -> None:
    radius = round((1.2 + width) * (1 << SUBPIXEL))
    for point in _fixed(points):
        cv2.circle(image, point, radius, colour, -1, cv2.LINE_AA, SUBPIXEL)


def _fixed(points: np.ndarray) -> list[list[int]]:
    """Points as OpenCV draws them between pixels."""
    return np.rint(points * (1 << SUBPIXEL)).astype(int).tolist()


def rgb(colour: str) -> tuple[int, ...]:
    """A colour of the theme as numbers."""
    return ImageColor.getrgb(colour)[:3]
