"""The debug image shows what there is and says what there is not."""

import math
from dataclasses import replace

import numpy as np
import pytest
from showing import HEADER, recognition, small_map, thumbnail, verified, view

from vpr_ros.nodes.outputs.colours import AMBER, GREEN, RED
from vpr_ros.nodes.outputs.debug_image import (
    BAR,
    BLANK,
    INLIER,
    WIDTH,
    captions,
    debug_image,
    evidence,
    fitting,
    font,
    image_message,
    sizes,
    view_of,
)
from vpr_ros.records import Verdict

QUERY, PLACE = (200, 60, 30), (40, 90, 160)


@pytest.fixture(scope='module')
def place_map():
    return small_map()


def middles(pixels):
    """Colours in the upper corners of the two pictures, where no match is drawn."""
    row = pixels[BAR + 330]
    return row[WIDTH // 4], row[3 * WIDTH // 4]


def close(colour, wanted):
    return np.abs(colour.astype(int) - wanted).max() < 12


def share_of(pixels, colour, tolerance=40):
    return (np.abs(pixels.astype(int) - colour).max(axis=2) < tolerance).mean()


def test_the_query_stands_beside_the_place(place_map):
    pixels = debug_image(recognition(place_map), [view(colour=QUERY)], thumbnail(PLACE), 0.75)
    assert pixels.dtype == np.uint8 and pixels.shape[1:] == (WIDTH, 3)
    left, right = middles(pixels)
    assert close(left, QUERY) and close(right, PLACE)


@pytest.mark.parametrize(
    ('verdict', 'colour'),
    [(Verdict.ACCEPTED, GREEN), (Verdict.AMBIGUOUS, AMBER), (Verdict.ERROR, RED)],
)
def test_the_bar_has_the_colour_of_the_verdict(place_map, verdict, colour):
    pixels = debug_image(recognition(place_map, verdict), [view()], thumbnail())
    assert pixels[2, 2].tolist() == list(colour)


def test_inliers_are_lines_from_picture_to_picture(place_map):
    def green(found):
        answer = recognition(place_map, found=found)
        pixels = debug_image(answer, [view(colour=QUERY)], thumbnail(PLACE))
        return share_of(pixels[BAR:-40], INLIER, 60)

    assert green(None) == green(verified(0, 30)) == 0.0
    assert 0.0 < green(verified(5, 30)) < green(verified(25, 30))


def test_lines_end_at_the_points(place_map):
    points = np.array([[20.0, 30.0]], np.float32)  # of 120 x 160 and 60 x 80
    found = replace(
        verified(1, 1), query_points=points, place_points=points, inlier=np.array([True])
    )
    black = [view(colour=(0, 0, 0))]
    pixels = debug_image(recognition(place_map, found=found), black, thumbnail((0, 0, 0)))
    pictures = pixels[BAR:-40]
    rows, columns = np.nonzero(pictures[..., 1] > 120)
    height = sizes(np.zeros((3, 4)), np.zeros((3, 4)))[0]
    first, last = columns.argmin(), columns.argmax()
    assert columns[first] == pytest.approx(20.5 / 160 * 478, abs=5)
    assert rows[first] == pytest.approx(30.5 / 120 * height, abs=5)
    assert columns[last] == pytest.approx(WIDTH / 2 + 20.5 / 80 * 478, abs=6)
    assert rows[last] == pytest.approx(30.5 / 60 * height, abs=5)


def test_what_is_missing_is_said(place_map):
    nothing = recognition(place_map, Verdict.NO_MAP, rows=())
    for answer, views, jpeg in (
        (nothing, [view(colour=QUERY)], None),
        (recognition(place_map, found=verified(5, 9)), [view(colour=QUERY)], None),
        (recognition(place_map, found=verified(5, 9)), [view(colour=QUERY)], b'no jpeg'),
    ):
        pixels = debug_image(answer, views, jpeg)
        left, right = middles(pixels)
        assert close(left, QUERY) and right.tolist() == list(BLANK)
        said = pixels[BAR : BAR + 360, WIDTH // 2 + 4 :]
        assert (said.max(axis=2) > 120).any()
    left, _ = middles(debug_image(nothing, []))
    assert left.tolist() == list(BLANK)


def test_the_view_that_found_the_best_place_is_drawn(place_map):
    views = [view('front', QUERY), view('rear', (20, 200, 20))]
    answer = recognition(place_map)
    seen = replace(answer.best, seen_by='rear')
    answer = replace(answer, candidates=(seen, *answer.candidates[1:]))
    assert view_of(answer.best, views).camera == 'rear'
    assert view_of(None, views).camera == 'front' and view_of(answer.best, []) is None
    left, _ = middles(debug_image(answer, views, thumbnail(PLACE)))
    assert close(left, (20, 200, 20))


def test_the_evidence_in_words(place_map):
    answer = recognition(place_map, found=verified(5, 9), probability=0.876, ambiguity=0.25)
    assert evidence(answer, 0.75) == [
        ('similarity', '0.90 / 0.75'),
        ('inliers', '5 of 9'),
        ('probability', '88 %'),
        ('ambiguity', '0.25'),
    ]
    bare = dict(evidence(recognition(place_map), math.nan))
    assert bare == dict.fromkeys(('inliers', 'probability', 'ambiguity'), '–') | {
        'similarity': '0.90'
    }


@pytest.mark.parametrize('shape', [(480, 640), (1080, 1920), (376, 1242), (640, 360), (1, 4000)])
def test_every_shape_fits_the_sheet(place_map, shape):
    answer = recognition(place_map, found=verified(5, 9))
    pixels = debug_image(answer, [view(size=shape)], thumbnail())
    assert pixels.shape[1] == WIDTH and pixels.shape[0] <= 600
    height, widths = sizes(np.zeros(shape), np.zeros((60, 80)))
    assert sum(widths) <= WIDTH - 4 and min(*widths, height) >= 1


def test_long_text_becomes_smaller_then_shorter():
    assert fitting('short', 400, 22) == ('short', 22)
    text, size = fitting('of middling length, it seems', 240, 22)
    assert text.endswith('seems') and size < 22
    text, size = fitting(100 * 'too long ', 300, 22)
    assert text.endswith('…') and font(size).getlength(text) <= 300
    captions(None, view(60 * 'name'), 0, 480)


def test_the_message_is_rgb8():
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    message = image_message(HEADER, pixels)
    assert (message.height, message.width, message.step) == (2, 3, 9)
    assert message.encoding == 'rgb8' and message.header == HEADER
    assert bytes(message.data) == pixels.tobytes()
