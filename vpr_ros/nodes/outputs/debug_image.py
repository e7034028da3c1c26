"""One answer as a picture: the query beside the best place, matches, the verdict above.

It is made to be read in a corner of RViz, 640 pixels wide, and drawn within milliseconds.
"""

from __future__ import annotations

import array
import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from vpr_ros.errors import ImageError
from vpr_ros.nodes.outputs.colours import WHITE, Colour, of_verdict
from vpr_ros.recognition.thumbnails import decode_thumbnail
from vpr_ros.records import Candidate, Recognition, Verdict, Verification, View

WIDTH, TALLEST, GAP = 960, 400, 4  # pixels: the sheet, its pictures, and between them
BAR, ROW, MARGIN = 84, 38, 14
LARGE, MIDDLE, SMALLEST = 27, 22, 16  # of text; at 640 pixels two thirds of it are left
PAPER: Colour = (24, 28, 34)
BLANK: Colour = (44, 49, 57)
FAINT: Colour = (156, 165, 178)
INLIER: Colour = (38, 214, 96)
OUTLIER: Colour = (205, 210, 218)
MOST_INLIERS, MOST_OUTLIERS = 40, 40  # lines drawn; more hide the pictures
SUBPIXEL = 4  # binary digits behind the point of a line's end
BRIGHT = 140  # luma from which text on a colour is dark


def debug_image(
    recognition: Recognition,
    views: Sequence[View],
    thumbnail: bytes | None = None,
    threshold: float = math.nan,
) -> np.ndarray:
    """Draw one answer.

    Args:
        recognition: the outcome.
        views: images of the query; the one that found the best candidate is drawn.
        thumbnail: JPEG of the best candidate's place, where the map has one.
        threshold: least similarity to accept.

    Returns:
        (H, 960, 3) uint8 RGB.
    """
    best = recognition.best
    view = view_of(best, views)
    query, place = view.image if view else None, decoded(thumbnail) if best else None
    height, widths = sizes(query, place)
    missing = 'no thumbnail in the map' if best else 'no candidate'
    left = panel(query, height, widths[0], 'no image')
    right = panel(place, height, widths[1], missing)
    pictures = np.full((height, WIDTH, 3), PAPER, np.uint8)
    start = (WIDTH - sum(widths) - GAP) // 2
    second = start + widths[0] + GAP
    pictures[:, start : start + widths[0]] = left
    pictures[:, second : second + widths[1]] = right
    if best and best.verification and query is not None and place is not None:
        boxes = ((start, widths[0]), (second, widths[1]))
        pictures = connected(pictures, best.verification, boxes)
    rows = (verdict_bar(recognition, threshold), pictures, captions(best, view, start, second))
    return np.concatenate(rows)


def image_message(header: Header, pixels: np.ndarray) -> Image:
    """A sensor_msgs/Image, rgb8, of (H, W, 3) uint8 RGB."""
    height, width = pixels.shape[:2]
    return Image(
        header=header,
        height=height,
        width=width,
        encoding='rgb8',
        step=3 * width,
        data=array.array('B', pixels.tobytes()),
    )


def view_of(best: Candidate | None, views: Sequence[View]) -> View | None:
    """The view that found the best candidate, else the first."""
    if not views:
        return None
    found = [view for view in views if best and view.camera == best.seen_by]
    return found[0] if found else views[0]


def decoded(thumbnail: bytes | None) -> np.ndarray | None:
    """Pixels (H, W, 3) uint8 RGB of a JPEG, or None for none and for a damaged one."""
    if not thumbnail:
        return None
    try:
        return decode_thumbnail(thumbnail)
    except ImageError:
        return None


def sizes(query: np.ndarray | None, place: np.ndarray | None) -> tuple[int, tuple[int, int]]:
    """One height for both pictures, and their widths: as large as the sheet allows."""
    shapes = [image.shape for image in (query, place) if image is not None]
    fallback = shapes[0] if shapes else (3, 4)
    aspects = [
        (shape[1] / shape[0]) for shape in (
            fallback if image is None else image.shape for image in (query, place)
        )
    ]  # fmt: skip
    height = max(1, min(TALLEST, int((WIDTH - GAP) / sum(aspects))))
    first = max(1, min(round(height * aspects[0]), WIDTH - GAP - 1))
    return height, (first, max(1, min(round(height * aspects[1]), WIDTH - GAP - first)))


def panel(image: np.ndarray | None, height: int, width: int, otherwise: str) -> np.ndarray:
    """The image in a size, or a grey panel that says why there is none."""
    if image is not None:
        smaller = image.shape[0] > height
        how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        return cv2.resize(image, (width, height), interpolation=how)
    blank = Picture.new('RGB', (width, height), BLANK)
    where = (width / 2, height / 2)
    ImageDraw.Draw(blank).text(where, otherwise, FAINT, font(MIDDLE), anchor='mm')
    return np.asarray(blank)


def connected(
    pictures: np.ndarray, found: Verification, boxes: Sequence[tuple[int, int]]
) -> np.ndarray:
    """Join the matches: inliers in green over the others, which are faint.

    Args:
        pictures: (H, W, 3) uint8 RGB, both side by side.
        found: matches and inliers, in pixels of the images that were matched.
        boxes: left edge and width of each picture.
    """
    ends = []
    pairs = ((found.query_points, found.query_size), (found.place_points, found.place_size))
    for (points, size), (left, width) in zip(pairs, boxes, strict=True):
        scale = np.divide((width, len(pictures)), (max(1, size[1]), max(1, size[0])))
        ends.append((points + 0.5) * scale - 0.5 + (left, 0))  # pixel centres are whole numbers
    for kind, colour, width, most, opacity in (
        (~found.inlier, OUTLIER, 1, MOST_OUTLIERS, 0.4),
        (found.inlier, INLIER, 1, MOST_INLIERS, 0.8),
    ):
        rows = np.flatnonzero(kind)
        if not len(rows):
            continue
        some = rows[np.linspace(0, len(rows) - 1, min(len(rows), most)).round().astype(int)]
        drawn = pictures.copy()
        for start, end in zip(_fixed(ends[0][some]), _fixed(ends[1][some]), strict=True):
            cv2.line(drawn, start, end, colour, width, cv2.LINE_AA, SUBPIXEL)
            for point in (start, end):
                radius = (2 + width) << SUBPIXEL
                cv2.circle(drawn, point, radius, colour, -1, cv2.LINE_AA, SUBPIXEL)
        pictures = cv2.addWeighted(drawn, opacity, pictures, 1.0 - opacity, 0.0)
    return pictures


def verdict_bar(recognition: Recognition, threshold: float) -> np.ndarray:
    """Accepted or refused and why; below it the evidence in numbers."""
    sheet = Picture.new('RGB', (WIDTH, BAR), PAPER)
    draw = ImageDraw.Draw(sheet)
    colour = of_verdict(recognition.verdict)
    word = word_of(recognition.verdict)
    end = MARGIN + 24 + font(LARGE, True).getlength(word)
    draw.rectangle((0, 0, end, BAR // 2), colour)
    ink = PAPER if np.dot(colour, (0.299, 0.587, 0.114)) > BRIGHT else WHITE
    middle = BAR / 4 + 1
    draw.text((MARGIN, middle), word, ink, font(LARGE, True), anchor='lm')
    reason, size = fitting(recognition.reason, WIDTH - end - 2 * MARGIN, MIDDLE)
    draw.text((end + MARGIN, middle), reason, WHITE, font(size), anchor='lm')
    x: float = MARGIN
    for name, value in evidence(recognition, threshold):
        draw.text((x, 3 * BAR / 4), name, FAINT, font(MIDDLE), anchor='lm')
        x += font(MIDDLE).getlength(name) + 8
        draw.text((x, 3 * BAR / 4), value, WHITE, font(MIDDLE, True), anchor='lm')
        x += font(MIDDLE, True).getlength(value) + 26
    return np.asarray(sheet)


def evidence(recognition: Recognition, threshold: float) -> list[tuple[str, str]]:
    """Names and values; a dash: not computed."""
    best = recognition.best
    if best is None:
        return [('query', str(recognition.query_id))]
    found = best.verification
    needed = '' if math.isnan(threshold) else f' / {threshold:.2f}'
    return [
        ('similarity', f'{best.similarity:.2f}{needed}'),
        ('inliers', f'{found.inliers} of {found.matches}' if found else '–'),
        ('probability', known(100 * recognition.probability, '.0f', ' %')),
        ('ambiguity', known(recognition.ambiguity, '.2f')),
    ]


def captions(best: Candidate | None, view: View | None, start: int, second: int) -> np.ndarray:
    """What the two pictures are."""
    sheet = Picture.new('RGB', (WIDTH, ROW), PAPER)
    draw = ImageDraw.Draw(sheet)
    left = ' · '.join(filter(None, ('query', view.camera if view else '')))
    right = 'map'
    if best:
        place = best.place
        parts = (f'place {place.id}', f'session {place.session_id}', place.camera)
        right = ' · '.join(filter(None, parts))
    texts, widths = (left, right), (second - start - 2 * MARGIN, WIDTH - second - 2 * MARGIN)
    size = min(fitting(*pair, MIDDLE)[1] for pair in zip(texts, widths, strict=True))
    for x, text, width in zip((start, second), texts, widths, strict=True):
        line, _ = fitting(text, width, size)
        draw.text((x + MARGIN, ROW / 2), line, FAINT, font(size), anchor='lm')
    return np.asarray(sheet)


def word_of(verdict: Verdict) -> str:
    """The verdict in one word."""
    return {Verdict.ACCEPTED: 'ACCEPTED', Verdict.ERROR: 'ERROR'}.get(verdict, 'REFUSED')


def known(value: float, form: str, unit: str = '') -> str:
    return f'{value:{form}}{unit}' if math.isfinite(value) else '–'


def fitting(text: str, width: float, size: int) -> tuple[str, int]:
    """The text and its size, smaller and then shortened until it fits a width."""
    text = ' '.join(text.split())
    while size > SMALLEST and font(size).getlength(text) > width:
        size -= 1
    if font(size).getlength(text) <= width:
        return text, size
    while text and font(size).getlength(f'{text}…') > width:
        text = text[:-1]
    return f'{text}…', size


@cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib."""
    import matplotlib as mpl  # late: only where somebody looks

    name = 'DejaVuSans-Bold.ttf' if bold else 'DejaVuSans.ttf'
    return ImageFont.truetype(Path(mpl.get_data_path(), 'fonts', 'ttf', name), size)


def _fixed(points: np.ndarray) -> list[list[int]]:
    """Points as OpenCV draws them between pixels."""
    return np.rint(points * (1 << SUBPIXEL)).astype(int).tolist()
