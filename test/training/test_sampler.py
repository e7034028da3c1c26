"""Batches: right places, fair sources, the same from the same seed."""

from itertools import islice

import numpy as np

from vpr_ros.training.sampler import image_batches, place_batches

PLACES = np.array([0, 0, 0, 0, 0, 1, 1, 1, 2, -1, -1, 3, 3, 3, 3])
SOURCES = np.array([0] * 11 + [1] * 4)


def draw(count=200, p=2, k=3, seed=0, **options):
    rng = np.random.default_rng(seed)
    return list(islice(place_batches(PLACES, SOURCES, p, k, rng, **options), count))


def test_views_of_one_place_stand_together_and_places_differ():
    for batch in draw():
        places = PLACES[batch].reshape(2, 3)
        assert (places == places[:, :1]).all()
        assert places[0, 0] != places[1, 0]
        assert (places >= 0).all()


def test_no_view_twice_where_there_are_enough():
    for batch in draw():
        for views in batch.reshape(2, 3):
            enough = np.count_nonzero(PLACES == PLACES[views[0]]) >= 3
            assert len(set(views)) == 3 or not enough


def test_small_places_repeat_their_views():
    assert any((batch.reshape(2, 3) == 8).all(axis=1).any() for batch in draw())


def test_sources_are_drawn_alike_often():
    first = np.array([SOURCES[batch].reshape(1, 3)[:, 0] for batch in draw(2000, p=1)])
    assert 0.45 < first.mean() < 0.55


def test_single_images():
    for batch in draw(single_image_share=1.0):
        assert all(len(set(views)) == 1 for views in batch.reshape(2, 3))


def test_same_seed_same_batches():
    assert all((a == b).all() for a, b in zip(draw(), draw(), strict=True))
    assert any((a != b).any() for a, b in zip(draw(), draw(seed=1), strict=True))


def test_fewer_places_than_asked_for():
    assert len(draw(1, p=100)[0]) == 4 * 3


def test_image_batches_reach_every_image_and_favour_no_source():
    drawn = np.concatenate(list(islice(image_batches(SOURCES, 15, np.random.default_rng(0)), 400)))
    assert set(drawn) == set(range(15))
    assert 0.47 < SOURCES[drawn].mean() < 0.53
