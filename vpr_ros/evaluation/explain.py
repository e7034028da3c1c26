"""One picture that explains one answer: query, candidates, masks, matches, numbers, verdict."""

from __future__ import annotations

import io
import math
from typing import NamedTuple

import numpy as np
from PIL import Image

from vpr_ros.evaluation.explain_drawing import (
    MOST_INLIERS,
    Sheet,
    connected,
    decoded,
    fitted,
    masked,
    rgb,
)
from vpr_ros.evaluation.explain_record import (
    NOT_COMPUTED,
    VERDICTS,
    Explanation,
    candidate_lines,
    place_name,
    signal_rows,
    stamp_words,
    timing_words,
)
from vpr_ros.evaluation.theme import LIGHT
from vpr_ros.recognition.matching import nearest_neighbours
from vpr_ros.records import Verdict

WIDTH, MARGIN, GAP = 1600, 36, 20  # pixels
INNER = WIDTH - 2 * MARGIN
HALF = (INNER - GAP) // 2
TALLEST, SHORTEST = 560, 220  # of the query and the best place
CARDS = 6  # further candidates shown
CARD_TALLEST = 200
TABLE_WIDTH = 880
GROUND = 238  # grey behind pictures
ROOM = 4000  # pixels from top to bottom, more than is ever needed
OPEN = (Verdict.TEMPORAL_PENDING, Verdict.EXCLUDED_RECENT, Verdict.NO_MAP)  # may still change


class Matches(NamedTuple):
    """Points of query and place, x and y as shares of width and height, (n, 2) each."""

    query: np.ndarray
    place: np.ndarray
    inlier: np.ndarray  # (n,) bool
    caption: str


def draw_explanation(shown: Explanation) -> np.ndarray:
    """Draw an answer, (H, 1600, 3) uint8 RGB.

    Above the query and the best place with what matched, then further candidates, then the
    signals in words, the probability and the verdict. What was not computed is said to be so.
    """
    sheet = Sheet(WIDTH, ROOM, LIGHT)
    y = sheet.text(MARGIN, 24, shown.query_name, 26, bold=True, width=INNER, lines=2)
    y = sheet.text(MARGIN, y, f'asked of {shown.map_name}', 16, LIGHT.faint, width=INNER, lines=2)
    y = draw_pair(sheet, shown, y + 14)
    y = draw_candidates(sheet, shown, y + 22)
    y += 22
    sheet.line(MARGIN, y, INNER)
    left = draw_signals(sheet, shown, MARGIN, y + 18)
    x = MARGIN + TABLE_WIDTH + 2 * GAP
    right = draw_verdict(sheet, shown, x, y + 18, WIDTH - MARGIN - x)
    return sheet.finished(max(left, right) + 28)


def to_png(picture: np.ndarray) -> bytes:
    """Bytes of a PNG file of an image (H, W, 3), uint8, RGB."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, 'PNG')
    return file.getvalue()


def draw_pair(sheet: Sheet, shown: Explanation, y: int) -> int:
    """The query and the best place side by side, their masks, and lines between what matched."""
    best, right = shown.recognition.best, MARGIN + HALF + GAP
    place = decoded(shown.thumbnails.get(best.place.id)) if best else None
    sides = f'{shown.image.shape[1]} x {shown.image.shape[0]} pixels'
    sheet.text(MARGIN, y, f'query · {sides}', 17, bold=True)
    label = f'best · {place_name(best.place)}' if best else 'no candidate'
    y = sheet.text(right, y, label, 17, bold=True) + 6
    matches = matches_of(shown)
    board = pair_of_pictures(shown, place, matches)
    height = len(board)
    sheet.paste(MARGIN, y, board)
    if best and place is None:
        words = 'the map keeps no picture of it'
        sheet.text(right + 24, y + height // 2 - 12, words, 17, LIGHT.faint)
    if best:
        sheet.frame(right, y, HALF, height, verdict_colour(shown.recognition.verdict))
    caption = f'{matches.caption if matches else nothing_matched(shown)} {mask_words(shown)}'
    y += height + 10
    facts = ' · '.join(candidate_lines(shown, 0)) if best else ''
    below = sheet.text(right, y, facts, 15, LIGHT.faint, width=HALF)
    return max(below, sheet.text(MARGIN, y, caption, 15, LIGHT.faint, width=HALF))


def pair_of_pictures(
    shown: Explanation, place: np.ndarray | None, matches: Matches | None
) -> np.ndarray:
    """Two panels as high as the higher picture, (H, INNER, 3) uint8 RGB."""
    pairs = ((shown.image, shown.query_local), (place, shown.place_local))
    pictures = [
        picture if local is None else masked(picture, local, shown.input_size, shown.patch)
        for picture, local in ((fitted(p, HALF, TALLEST), x) for p, x in pairs if p is not None)
    ]
    height = max(SHORTEST, *(len(picture) for picture in pictures))
    board = np.full((height, INNER, 3), GROUND, np.uint8)
    board[:, HALF : HALF + GAP] = rgb(LIGHT.paper)
    ends = []
    for number, picture in enumerate(pictures):
        side = np.array(picture.shape[1::-1])
        corner = (np.array((HALF, height)) - side) // 2 + (number * (HALF + GAP), 0)
        (left, top), (wide, tall) = corner, side
        board[top : top + tall, left : left + wide] = picture
        if matches:
            ends.append(matches[number] * side + corner - 0.5)
    if matches is None or place is None:
        return board
    return connected(board, ends[0], ends[1], matches.inlier)


def matches_of(shown: Explanation) -> Matches | None:
    """Matches of the geometric verification; without it those of the local features."""
    best = shown.recognition.best
    if best is None:
        return None
    found = best.verification
    if found is not None and found.matches:
        model = {'pnp_depth': 'pose from depth'}.get(found.model, f'{found.model} matrix')
        reason = f'one motion explains {found.inliers} of them ({model})'
        if found.inliers > MOST_INLIERS:
            reason += f', {MOST_INLIERS} of which have a line'
        if not found.model:
            reason = 'no motion explains them'
        return Matches(
            (found.query_points + 0.5) / found.query_size[::-1],
            (found.place_points + 0.5) / found.place_size[::-1],
            found.inlier,
            f'{found.matches} matches by {method_words(found.method)}: {reason}.',
        )
    query_local, place_local = shown.query_local, shown.place_local
    if query_local is None or place_local is None:
        return None
    if not (query_local.tokens.shape[1] and place_local.tokens.shape[1]):
        return None
    near = nearest_neighbours(query_local, place_local)
    keep = (near.mutual & (near.cosine > shown.config.reranking.least_cosine))[0].cpu().numpy()
    partner = near.place[0].cpu().numpy()[keep]
    size = np.array(shown.input_size)
    query = query_local.position[0].cpu().numpy()[keep] / size
    place = place_local.position[0].cpu().numpy()[partner] / size
    count = len(query)
    caption = f'{count} mutual matches of local features, not verified by geometry.'
    return Matches(query[:, ::-1], place[:, ::-1], np.zeros(count, bool), caption)


def nothing_matched(shown: Explanation) -> str:
    best = shown.recognition.best
    if best is None:
        return 'Nothing to compare with.'
    if best.verification is not None:
        return f'No matches by {method_words(best.verification.method)}.'
    return 'Matches were not computed: verification is off, and local features are missing.'


def method_words(method: str) -> str:
    return 'SIFT' if method == 'sift' else method


def mask_words(shown: Explanation) -> str:
    if shown.query_local is None:
        return ''
    return 'Tinted: patches kept as local features, the more reliable the stronger.'


def draw_candidates(sheet: Sheet, shown: Explanation, y: int) -> int:
    """A strip of the candidates after the best one, with their numbers."""
    candidates = shown.recognition.candidates
    if not candidates:
        return y - 22
    more = len(candidates) - 1
    pool = f'; {shown.recognition.pool} re-ranked' if shown.recognition.pool else ''
    title = f'other candidates ({min(more, CARDS)} of {more} shown{pool})'
    y = sheet.text(MARGIN, y, title if more else 'no other candidate', 17, bold=True) + 6
    width = (INNER - (CARDS - 1) * GAP) // CARDS
    ranks = range(1, min(len(candidates), CARDS + 1))
    pictures = [decoded(shown.thumbnails.get(candidates[rank].place.id)) for rank in ranks]
    small = [None if p is None else fitted(p, width, CARD_TALLEST) for p in pictures]
    height, bottom = max((len(p) for p in small if p is not None), default=60), y
    for rank, picture in zip(ranks, small, strict=True):
        x = MARGIN + (rank - 1) * (width + GAP)
        sheet.paste(x, y, np.full((height, width, 3), GROUND, np.uint8))
        if picture is None:
            sheet.text(x + 12, y + height // 2 - 10, 'no picture', 14, LIGHT.faint)
        else:
            left, top = (width - picture.shape[1]) // 2, (height - len(picture)) // 2
            sheet.paste(x + left, y + top, picture)
        place = candidates[rank].place
        below = sheet.text(x, y + height + 6, f'{rank + 1} · place {place.id}', 14, bold=True)
        for line in (stamp_words(place.stamp_ns), *candidate_lines(shown, rank)):
            below = sheet.text(x, below, line, 14, LIGHT.faint, width=width)
        bottom = max(bottom, below)
    return bottom


def draw_signals(sheet: Sheet, shown: Explanation, x: int, y: int) -> int:
    """The table of signals: name, value, what it means, and whether it passes its limit."""
    y = sheet.text(x, y, 'evidence for the best place', 17, bold=True) + 6
    rows = signal_rows(shown)
    if not rows:
        return sheet.text(x, y, 'none: there is no candidate', 16, LIGHT.faint)
    colours = {True: LIGHT.right, False: LIGHT.wrong, None: LIGHT.line}
    for row in rows:
        sheet.dot(x, y + 9, colours[row.passes])
        faint = LIGHT.faint if row.value == NOT_COMPUTED else LIGHT.ink
        sheet.text(x + 24, y, row.name, 16, faint)
        sheet.text(x + 170, y, row.value, 16, faint, bold=row.value != NOT_COMPUTED)
        width = TABLE_WIDTH - 310
        y = max(y + 28, sheet.text(x + 310, y, row.note, 15, LIGHT.faint, width=width) + 4)
    return y


def draw_verdict(sheet: Sheet, shown: Explanation, x: int, y: int, width: int) -> int:
    """The verdict and its reason, bars of probability and ambiguity, notes and timings."""
    answer, decision = shown.recognition, shown.config.decision
    colour = verdict_colour(answer.verdict)
    y = sheet.text(x, y, VERDICTS[answer.verdict], 28, colour, bold=True, width=width)
    y = sheet.text(x, y + 4, answer.reason, 17, width=width, lines=8) + 14
    least = shown.thresholds.probability
    most = decision.max_ambiguity if decision.max_ambiguity < 1.0 else math.nan
    y = draw_bar(sheet, x, y, width, 'probability that it is right', answer.probability, least)
    y = draw_bar(
        sheet, x, y, width, 'ambiguity: is another place as good?', answer.ambiguity, most
    )
    for note in shown.notes:
        y = sheet.text(x, y, note, 15, width=width) + 4
    return sheet.text(x, y + 4, timing_words(answer), 14, LIGHT.faint, width=width)


def draw_bar(
    sheet: Sheet, x: int, y: int, width: int, name: str, value: float, limit: float
) -> int:
    """A share as a bar with a mark at its limit; an empty outline where it was not computed."""
    known = not math.isnan(value)
    told = f'{value:.3f}' if known else NOT_COMPUTED
    if known and not math.isnan(limit):
        told += f' (limit {limit:.3f})'
    sheet.text(x, y, told, 15, LIGHT.ink if known else LIGHT.faint, bold=known, end=x + width)
    y = sheet.text(x, y, name, 15, LIGHT.faint) + 2
    sheet.bar(x, y, width, value, limit)
    return y + 26


def verdict_colour(verdict: Verdict) -> str:
    if verdict is Verdict.ACCEPTED:
        return LIGHT.right
    return LIGHT.accent if verdict in OPEN else LIGHT.wrong
