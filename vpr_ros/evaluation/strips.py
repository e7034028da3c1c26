"""Strips of matches to look at: the surest right and wrong ones, the unsure, and the missed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vpr_ros.evaluation.images import Images
from vpr_ros.evaluation.protocols import Track, angles_deg
from vpr_ros.evaluation.result import Evaluation

WIDTH, FRAME, LABEL, CAPTION, GAP = 352, 6, 36, 48, 10  # pixels
PANEL_HEIGHTS = (100, 352)
RIGHT, WRONG, NEUTRAL, GROUND = (18, 131, 63), (200, 44, 30), (84, 92, 104), (24, 28, 34)
FONT = Path(matplotlib.get_data_path()) / 'fonts' / 'ttf' / 'DejaVuSans.ttf'
INTERPOLATION = {True: cv2.INTER_AREA, False: cv2.INTER_LINEAR}  # smaller, larger
SMALLEST = 16  # points of text
APART = 5  # strips of one group are at least this many queries apart


@dataclass(frozen=True)
class Strip:
    """One query and what was found for it; `reference` is the best match, `right` a true one."""

    query: int
    reference: int
    right: int | None

    @property
    def references(self) -> list[int]:
        return [self.reference] if self.right is None else [self.reference, self.right]


@dataclass(frozen=True)
class Group:
    """Strips of one kind, the most telling first."""

    name: str
    title: str
    strips: tuple[Strip, ...]


def choose(evaluation: Evaluation, count: int) -> list[Group]:
    """Choose up to `count` strips of each kind; groups without any are left out."""
    answers, ranking = evaluation.answers, evaluation.evidence.ranking
    score = ranking.similarities[:, 0]
    judged = ranking.answered & ~answers.ignored
    right, wrong = judged & answers.correct, judged & ~answers.correct
    unsure = right & ~answers.accepted & evaluation.is_drive
    missed = wrong & ~answers.accepted & answers.has_positive & evaluation.is_drive
    kinds = (
        ('right', 'Right matches, surest first', right & ~unsure, -score),
        ('wrong', 'Wrong matches, surest first', wrong, -score),
        ('unsure', 'Right, but not accepted, least sure first', unsure, score),
        ('missed', 'Missed: another place came first', missed, score),
    )
    groups = [
        Group(name, title, tuple(strip_of(evaluation, q) for q in spaced(flags, order, count)))
        for name, title, flags, order in kinds
    ]
    return [group for group in groups if group.strips]


def spaced(flags: np.ndarray, order: np.ndarray, count: int) -> list[int]:
    """The first `count` flagged queries by `order`, APART from one another."""
    chosen: list[int] = []
    for row in np.argsort(order, kind='stable'):
        if len(chosen) < count and flags[row] and all(abs(row - c) >= APART for c in chosen):
            chosen.append(int(row))
    return chosen


def strip_of(evaluation: Evaluation, query: int) -> Strip:
    """The best match of a query, and a right answer beside it if the match is not right."""
    evidence = evaluation.evidence
    reference = int(evidence.ranking.indices[query, 0])
    rights = np.flatnonzero(evidence.truth.positive[query])
    if evaluation.answers.correct[query] or not len(rights):
        return Strip(query, reference, None)
    return Strip(query, reference, int(rights[np.argmax(likeness(evaluation, query, rights))]))


def likeness(evaluation: Evaluation, query: int, rows: np.ndarray) -> np.ndarray:
    """How well references show the same as the query: by similarity, else by position."""
    evidence = evaluation.evidence
    if evidence.similarity is not None:
        return evidence.similarity[query, rows]
    ours, theirs = evidence.queries.positions_m, evidence.references.positions_m
    if ours is None or theirs is None:
        return np.zeros(len(rows))
    return -np.linalg.norm(theirs[rows] - ours[query], axis=1)


class Thumbnails(dict[int, np.ndarray]):
    """Small images by row, (H, W, 3) uint8 RGB, and the file names where there are any."""

    names: Sequence[str] = ()


def thumbnails(images: Sequence[np.ndarray], rows: Iterable[int]) -> Thumbnails:
    """Read these rows once, in order, which a video can do fast."""
    small = Thumbnails((row, fitted(images[row])) for row in sorted(set(rows)))
    small.names = images.names if isinstance(images, Images) else ()
    return small


def draw_strip(
    evaluation: Evaluation, strip: Strip, queries: Thumbnails, references: Thumbnails
) -> np.ndarray:
    """The strip as a picture, (H, W, 3) uint8 RGB: query, match, and right one if wrong."""
    correct = evaluation.answers.correct[strip.query]
    query = queries[strip.query]
    height = int(np.clip(query.shape[0], *PANEL_HEIGHTS))
    tracks = evaluation.evidence.queries, evaluation.evidence.references
    panels = [
        panel(query, height, f'query {name_of(strip.query, tracks[0], queries)}', NEUTRAL),
        panel(
            references[strip.reference],
            height,
            f'match {name_of(strip.reference, tracks[1], references)}',
            RIGHT if correct else WRONG,
        ),
    ]
    if strip.right is not None:
        label = f'right {name_of(strip.right, tracks[1], references)}'
        panels.append(panel(references[strip.right], height, label, RIGHT))
    elif not correct:
        nothing = np.full((height, WIDTH, 3), GROUND, np.uint8)
        panels.append(panel(nothing, height, 'never seen before', NEUTRAL))
    gap = np.full((len(panels[0]), GAP, 3), GROUND, np.uint8)
    row = np.concatenate([part for p in panels for part in (p, gap)][:-1], axis=1)
    caption = text_band(row.shape[1], CAPTION, GROUND, verdict(evaluation, strip), 22)
    return np.concatenate((row, caption), axis=0)


def fitted(image: np.ndarray) -> np.ndarray:
    """The image without distortion, as large as a panel allows."""
    scale = min(PANEL_HEIGHTS[1] / image.shape[0], WIDTH / image.shape[1])
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=INTERPOLATION[scale < 1])


def panel(image: np.ndarray, height: int, label: str, colour: tuple[int, ...]) -> np.ndarray:
    """One image in a coloured frame, with its label below."""
    if image.shape[0] > height:
        width = max(1, image.shape[1] * height // image.shape[0])
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    board = np.full((height, WIDTH, 3), GROUND, np.uint8)
    top, left = (height - image.shape[0]) // 2, (WIDTH - image.shape[1]) // 2
    board[top : top + image.shape[0], left : left + image.shape[1]] = image
    framed = cv2.copyMakeBorder(board, *(FRAME,) * 4, cv2.BORDER_CONSTANT, value=colour)
    return np.concatenate((framed, text_band(framed.shape[1], LABEL, colour, label, 20)), axis=0)


def name_of(row: int, track: Track, images: Thumbnails) -> str:
    """Row and stamp in seconds; the file name where there is no stamp."""
    if track.stamps_ns is not None:
        seconds, rest = divmod(int(track.stamps_ns[row]), 1_000_000_000)
        return f'{row} · {seconds}.{rest // 1_000_000:03d} s'
    return f'{row} · {Path(images.names[row]).name}' if images.names else str(row)


def verdict(evaluation: Evaluation, strip: Strip) -> str:
    """One line: right or wrong, accepted or not, similarity, distance, angle and time between."""
    evidence, answers = evaluation.evidence, evaluation.answers
    q, r, rule = strip.query, strip.reference, evidence.truth.rule
    words = ['RIGHT' if answers.correct[q] else 'WRONG']
    if evaluation.is_drive:
        words.append('accepted' if answers.accepted[q] else 'not accepted')
    words += [
        f'similarity {evidence.ranking.similarities[q, 0]:.3f}',
    ]
    if np.isfinite(answers.error_m[q]):
        words.append(f'{answers.error_m[q]:.2f} m apart')
    if rule is not None and rule.heading_deg is not None:
        pair = evidence.queries.take(np.array([q])), evidence.references.take(np.array([r]))
        words.append(f'{angles_deg(*pair).item():.0f}° turned')
    stamps = evidence.queries.stamps_ns
    if evidence.truth.within_drive and stamps is not None:
        words.append(f'{(stamps[q] - stamps[r]) / 1e9:.1f} s earlier')
    return '  ·  '.join(words)


def text_band(
    width: int, height: int, colour: tuple[int, ...], text: str, size: int
) -> np.ndarray:
    """A band of one colour with one line of white text, made smaller, then shortened, to fit."""
    font = ImageFont.truetype(FONT, size)
    while font.getlength(text) > width - 2 * FRAME and size > SMALLEST:
        size -= 1
        font = ImageFont.truetype(FONT, size)
    while font.getlength(text) > width - 2 * FRAME and len(text) > 1:
        text = text.rstrip('…')[:-1] + '…'
    picture = Image.new('RGB', (width, height), colour)
    place = (FRAME + 2, height / 2)
    ImageDraw.Draw(picture).text(place, text, fill='white', font=font, anchor='lm')
    return np.array(picture)
