"""What geometry is asked, and when: rendered views of walls as places and queries."""

import math
import threading
from dataclasses import replace

import cv2
import numpy as np
import pytest

from vpr_ros.config import RecognizerConfig
from vpr_ros.config.recognition import VerificationConfig
from vpr_ros.recognition.confirming import AHEAD, Confirmer, least_similarity, thorough
from vpr_ros.recognition.decision import Thresholds
from vpr_ros.recognition.described import Described, Query
from vpr_ros.recognition.geometry import verification
from vpr_ros.records import Candidate, Place, View

DESCRIPTOR = np.ones(1, np.float32)
HALF = Thresholds(0.5)


def picture(seed, shift=0):
    """Blobs of many sizes, RGB (240, 320, 3); shifted it is the same wall from elsewhere."""
    random = np.random.default_rng(seed)
    image = np.full((240, 400, 3), 128, np.uint8)
    for _ in range(300):
        centre = (int(random.integers(400)), int(random.integers(240)))
        colour = tuple(int(x) for x in random.integers(0, 255, 3))
        cv2.circle(image, centre, int(random.integers(3, 15)), colour, -1)
    return np.ascontiguousarray(image[:, shift : shift + 320])


class Map:
    """Ten walls in a row, in two sessions of five."""

    def __init__(self):
        self.places = [Place(10 + i, 1 + i // 5, i, camera='front') for i in range(10)]
        self.read = []

    def thumbnail(self, place_id):
        self.read.append(place_id)
        return cv2.imencode('.jpg', picture(place_id)[..., ::-1])[1].tobytes()

    def camera(self, name):
        return None


@pytest.fixture
def places():
    return Map()


def confirmer(places, least=-math.inf, **settings):
    config = VerificationConfig(**{'matches': 'corners', **settings})
    rows = {place.id: row for row, place in enumerate(places.places)}
    return Confirmer(places, config, (240, 240), rows, lambda name: None, least)


def query(row, image=None):
    seen = picture(10 + row, 9) if image is None else image
    return Query((Described(DESCRIPTOR, image=seen, camera='front'),), 0)


def candidates(places, rows, similarities):
    return [
        Candidate(places.places[row], similarity, seen_by='front')
        for row, similarity in zip(rows, similarities, strict=True)
    ]


def test_a_confirmed_place_comes_first_and_ends_the_search(places):
    given = candidates(places, (7, 2, 5), (0.9, 0.8, 0.7))
    found = confirmer(places).confirm(query(2), given)
    assert [x.place.id for x in found] == [12, 17, 15]
    assert [x.tried for x in found] == [True, True, False]
    assert found[2].verification is None


def test_what_similarity_refuses_is_not_looked_at(places):
    given = candidates(places, (7, 2, 5), (0.9, 0.4, 0.3))
    found = confirmer(places, least=0.5).confirm(query(2), given)
    assert [x.place.id for x in found] == [17, 12, 15]
    assert [x.tried for x in found] == [True, False, False]
    assert set(places.read) == {17}


def test_nothing_is_looked_at_where_all_are_refused(places, monkeypatch):
    monkeypatch.setitem(verification.FIND, 'corners', None)  # would be an error
    one = confirmer(places, least=0.95)
    given = candidates(places, (2, 7), (0.9, 0.8))
    assert one.confirm(query(2), given) == given
    one.look_ahead()
    assert places.read == []


def test_which_similarity_is_worth_the_time():
    config = RecognizerConfig()
    assert least_similarity(config, HALF) == 0.5
    assert least_similarity(thorough(config), HALF) == -math.inf
    assert least_similarity(config, replace(HALF, probability=0.9)) == -math.inf
    assert least_similarity(config, None) == -math.inf


def same(one, other):
    a, b = one.verification, other.verification
    return a.inliers == b.inliers and np.array_equal(a.query_points, b.query_points)


def test_places_beside_a_confirmed_one_are_made_ready_when_there_is_time(places):
    one = confirmer(places)
    one.confirm(query(3), candidates(places, (3,), (0.9,)))
    assert places.read == [13]
    one.look_ahead()
    assert AHEAD == 2
    assert sorted(places.read) == [11, 12, 13, 14]  # and no other session's
    one.confirm(query(4), candidates(places, (4,), (0.9,)))
    one.look_ahead()
    assert sorted(places.read) == [11, 12, 13, 14]


def test_looking_ahead_changes_no_answer(places):
    ahead, alone = confirmer(places), confirmer(Map())
    for row in (2, 3, 4):
        found = ahead.confirm(query(row), candidates(places, (row,), (0.9,)))
        ahead.look_ahead()
        (other,) = alone.confirm(query(row), candidates(places, (row,), (0.9,)))
        assert same(found[0], other)


def test_sift_begins_early_where_it_was_asked_at_the_query_before(places, monkeypatch):
    threads = []
    sift = verification.FIND['sift']

    def watched(grey):
        threads.append(threading.current_thread().name)
        return sift(grey)

    monkeypatch.setitem(verification.FIND, 'sift', watched)
    one, here = confirmer(places, matches='sift'), threading.current_thread().name
    image = picture(12, 9)
    one.begin([View(image, 'front')])
    assert not threads  # nothing was asked for so far
    first = one.confirm(query(2, image), candidates(places, (2,), (0.9,)))
    assert threads == [here, here]  # of query and place
    following = picture(13, 9)
    one.begin([View(following, 'front'), View(picture(13, 4), 'rear')])
    second = one.confirm(query(3, following), candidates(places, (3,), (0.9,)))
    assert (
        len(threads) == 4 and threads.count(here) == 3
    )  # the query's elsewhere, the place's here
    alone = confirmer(Map(), matches='sift')
    (other,) = alone.confirm(query(3, following), candidates(places, (3,), (0.9,)))
    assert same(second[0], other) and not same(first[0], other)


def test_a_camera_without_a_name_begins_early_too(places, monkeypatch):
    begun = []
    monkeypatch.setattr(verification.Verifier, 'begin', lambda self, image: begun.append(image))
    one, image = confirmer(places, matches='sift'), picture(12, 9)
    nameless = Query((Described(DESCRIPTOR, image=image),), 0)
    one.begin([View(image)])
    assert not begun
    one.confirm(nameless, [Candidate(places.places[2], 0.9)])
    one.begin([View(image)])
    assert len(begun) == 1 and begun[0] is image


def test_nothing_begins_early_where_corners_settled_it(places, monkeypatch):
    monkeypatch.setitem(verification.FIND, 'sift', None)  # would be an error
    one = confirmer(places, matches='auto')
    for row in (2, 3):
        one.begin([View(picture(10 + row, 9), 'front')])
        found = one.confirm(query(row), candidates(places, (row,), (0.9,)))
        assert found[0].verification.method == 'corners'


def test_points_of_a_query_are_found_once_for_all_its_candidates(places, monkeypatch):
    seen = []
    corners = verification.FIND['corners']
    monkeypatch.setitem(verification.FIND, 'corners', lambda x: (seen.append(x), corners(x))[1])
    one = confirmer(places)
    one.confirm(query(2), candidates(places, (7, 8, 2), (0.9, 0.8, 0.7)))
    assert len(seen) == 4  # the query's, and those of three places


def test_a_damaged_image_gives_no_matches(places):
    one = confirmer(places)
    for bad in (np.zeros((2, 2), np.float32), np.zeros((240, 320, 3), np.uint8)):
        found = one.confirm(query(2, bad), candidates(places, (2,), (0.9,)))
        assert found[0].tried and found[0].verification is None


@pytest.mark.parametrize('matches', ['corners', 'sift'])
def test_an_image_in_the_memory_of_the_one_before_is_another_one(places, matches):
    """As of a camera that fills one buffer again and again; the second image is refused."""
    buffer = picture(12, 9)
    one = confirmer(places, least=0.5, matches=matches)
    for row, similarity in ((2, 0.9), (7, 0.3), (3, 0.9)):
        buffer[:] = picture(10 + row, 9)
        one.begin([View(buffer, 'front')])
        found = one.confirm(query(row, buffer), candidates(places, (row,), (similarity,)))
    alone = confirmer(Map(), matches=matches)
    alone = alone.confirm(query(3), candidates(places, (3,), (0.9,)))
    assert alone[0].verification.inliers > 40 and same(found[0], alone[0])
