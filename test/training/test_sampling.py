"""Samplers: batches of the right shape, without false strangers, that follow the model."""

import io
import math
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_views import texture_views

from vpr_ros.config.training import SamplerConfig
from vpr_ros.errors import ConfigError, DatasetError
from vpr_ros.training import descriptions, ground
from vpr_ros.training.descriptions import Descriptions
from vpr_ros.training.neighbourhoods import neighbourhoods
from vpr_ros.training.sampling import build_sampler, settled
from vpr_ros.training.views import ViewSet

SIDE, STEP_M, VIEWS, DIM = 10, 40.0, 12, 16
RADIUS_M = 25.0
SAGE = SamplerConfig(radius_m=RADIUS_M)
KINDS = [SAGE, replace(SAGE, online=False), replace(SAGE, kind='cliques')]
KIND_NAMES = ['online', 'frozen', 'cliques']


def view_set(position, places, areas=None, heading=None):
    count = len(places)
    areas = np.zeros(count, np.int64) if areas is None else np.asarray(areas)
    heading = np.full(count, math.nan) if heading is None else np.asarray(heading)
    names = tuple(f'area {n}' for n in range(int(areas.max()) + 1))
    return ViewSet([], np.asarray(position), heading, np.asarray(places), areas, areas, names)


def town(seed=0, areas=1, views=VIEWS, spread_m=3.0):
    """Square blocks, a place at each crossing, some views of each; areas over one another."""
    rng = np.random.default_rng(seed)
    places = np.repeat(np.arange(SIDE * SIDE), views)
    centre = np.stack([places % SIDE, places // SIDE], axis=1) * STEP_M
    return view_set(centre + rng.normal(0, spread_m, centre.shape), places, places % areas)


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


class Model:
    """Gives each image a fixed descriptor, and remembers what it was asked for."""

    def __init__(self, views, seed=0, noise=0.5):
        rng = np.random.default_rng(seed)
        own = rng.normal(size=(views.places.max() + 1, DIM))[views.places]
        self.rows = unit(own + noise * rng.normal(size=own.shape))
        self.asked = []

    def __call__(self, images):
        self.asked.append(images)
        return self.rows[images]


def plan(views, config=SAGE, model=None, places=8, views_per_place=4, batches=6, seed=0):
    sampler = build_sampler(views, config, places, views_per_place)
    return sampler.plan(batches, model or Model(views), np.random.default_rng(seed))


def require_disjoint(found, views, places):
    """Views of different places of a batch lie in other areas or farther apart than the radius."""
    for row, labels in zip(found.images, found.labels, strict=True):
        assert len(set(labels)) == places
        position, area = views.position_m[row], views.areas[row]
        apart = np.hypot(*(position[:, None] - position).transpose(2, 0, 1))
        other = (labels[:, None] != labels) & (area[:, None] == area)
        assert (apart[other] > RADIUS_M).all()
        own = labels[:, None] == labels
        assert (apart[own] < RADIUS_M).all()
        assert (area[:, None] == area)[own].all()


@pytest.mark.parametrize('config', KINDS, ids=KIND_NAMES)
@pytest.mark.parametrize('areas', [1, 7])
def test_places_of_a_batch_never_show_the_same(config, areas):
    views = town(areas=areas, spread_m=9.0)
    found = plan(views, config, places=30, batches=5)
    assert found.images.shape == found.labels.shape == (5, 120)
    assert found.images.dtype == found.labels.dtype == np.int64
    require_disjoint(found, views, 30)
    groups = found.images.reshape(-1, 4)
    assert all(len(set(group)) == 4 for group in groups)


@pytest.mark.parametrize('config', KINDS, ids=KIND_NAMES)
def test_same_seed_same_plan(config):
    views = town(areas=3)
    one, same, other = (plan(views, config, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.images, same.images)
    assert (one.images != other.images).any()


def test_heading_limit():
    views = town(spread_m=1.0, views=20)
    heading = np.where(np.arange(len(views)) % 2, 0.0, math.pi)
    views = replace(views, heading_rad=heading)
    found = plan(views, replace(SAGE, heading_rad=1.0), places=20)
    require_disjoint(found, views, 20)
    groups = heading[found.images.reshape(-1, 4)]
    assert (groups == groups[:, :1]).all()
    mixed = heading[plan(views, places=20).images.reshape(-1, 4)]
    assert (mixed != mixed[:, :1]).any()


def test_batches_are_of_places_that_look_alike():
    views = town()
    # Crossings of one column look alike; a batch of one draw has few columns.
    column = unit(np.eye(SIDE)[views.places % SIDE] + 0.02)
    noise = np.random.default_rng(0).normal(0, 0.01, (len(views), SIDE))
    model = Model(views)
    model.rows = unit(column + noise)
    config = replace(SAGE, similar_places=5, sharpness=20.0)
    found = plan(views, config, model, places=6, batches=30)
    columns = views.places[found.images[:, ::4]] % SIDE
    assert np.mean([len(set(row)) for row in columns]) < 1.5
    alike = plan(views, replace(config, sharpness=0.0), model, places=6, batches=30)
    columns = views.places[alike.images[:, ::4]] % SIDE
    assert np.mean([len(set(row)) for row in columns]) > 4


@pytest.mark.parametrize('visual', ['image', 'place'])
def test_online_follows_the_model(visual):
    views = town()
    sampler = build_sampler(views, replace(SAGE, visual=visual), 8, 4)
    assert sampler.online
    one, same, other = (
        sampler.plan(6, Model(views, seed), np.random.default_rng(0)) for seed in (0, 0, 5)
    )
    np.testing.assert_array_equal(one.images, same.images)
    assert (one.images != other.images).any()


def test_views_are_chosen_by_affinity():
    views = town(spread_m=0.0)  # all views of a place on one spot: only their looks count
    model = Model(views, noise=1.0)
    close = np.arange(len(views)) % VIEWS < 4
    model.rows[close] = Model(views, noise=0.1).rows[close]
    found = plan(views, model=model, places=20)
    assert close[found.images].all()
    random = plan(views, replace(SAGE, weighted=False), model, places=20)
    assert 0.2 < close[random.images].mean() < 0.5


@pytest.mark.parametrize('config', KINDS[1:], ids=KIND_NAMES[1:])
def test_frozen_mines_once_and_shuffles(config):
    views, rng = town(), np.random.default_rng(0)
    sampler = build_sampler(views, config, 8, 4)
    assert not sampler.online
    first = sampler.plan(6, Model(views), rng)
    later = Model(views, seed=9)
    second = sampler.plan(9, later, rng)
    assert later.asked == []
    assert second.images.shape == (9, 32)

    def batches(found):
        return {frozenset(views.places[row]) for row in found.images}

    assert batches(second) == batches(first)
    again = [frozenset(views.places[row]) for row in sampler.plan(6, later, rng).images]
    assert again != [frozenset(views.places[row]) for row in first.images]
    assert (second.images[:6] != first.images).any()
    require_disjoint(second, views, 8)


def test_members_of_frozen_cliques_vary():
    views, rng = town(), np.random.default_rng(0)
    seen = {}
    for kind in KINDS[1:]:
        sampler = build_sampler(views, kind, 8, 4)
        plans = [sampler.plan(2, Model(views), rng) for _ in range(40)]
        ever = {image for found in plans for image in found.images.ravel()}
        seen[kind.kind] = len(ever) / len(set(plans[0].images.ravel()))
    assert seen['sage'] == 1.0
    assert seen['cliques'] > 2.0


def test_each_image_is_described_once_in_a_plan(monkeypatch):
    monkeypatch.setattr(descriptions, 'IMAGES_AT_ONCE', 64)
    monkeypatch.setattr(descriptions, 'BLOCK_BYTES', 700)
    monkeypatch.setattr(descriptions, 'TABLE_BYTES', 4000)
    views = town(areas=2)
    model = Model(views)
    blocks = plan(views, model=model, places=20, batches=10)
    asked = np.concatenate(model.asked)
    assert len(set(asked)) == len(asked) > len(views) / 2
    assert max(map(len, model.asked)) == 64
    monkeypatch.undo()
    np.testing.assert_array_equal(plan(views, places=20, batches=10).images, blocks.images)


def test_only_one_view_of_each_place_is_described_where_that_is_enough():
    views = town()
    for config in (replace(SAGE, visual='place'), replace(SAGE, weighted=False), KINDS[2]):
        model = Model(views)
        plan(views, config, model)
        assert len(np.concatenate(model.asked)) == SIDE * SIDE


def test_smaller_cliques_only_where_allowed():
    views = town(views=6)
    require_disjoint(plan(views), views, 8)
    with pytest.raises(DatasetError, match='expected 10 views of a place within 25 m'):
        plan(views, replace(SAGE, smaller_cliques=False))


def test_large_cliques_come_first():
    views = town(views=6)
    many = town(seed=1, views=12)
    both = view_set(
        np.concatenate([views.position_m, many.position_m]),
        np.concatenate([views.places, many.places + 100]),
        np.repeat([0, 1], [len(views), len(many)]),
    )
    strict = plan(both, replace(SAGE, smaller_cliques=False), batches=20)
    assert (both.areas[strict.images] == 1).all()
    assert (both.areas[plan(both, batches=20).images] == 0).any()


def test_affinity_threshold():
    views = town(spread_m=4.0)
    model = Model(views)
    found = plan(views, replace(SAGE, affinity_threshold=-2.0), model, places=20)
    for group in found.images.reshape(-1, 4):
        position, rows = views.position_m[group], model.rows[group]
        apart = np.hypot(*(position[:, None] - position).transpose(2, 0, 1))
        looks = np.sqrt(np.maximum(2 - 2 * rows @ rows.T, 0))
        assert (np.maximum(apart, 0.5) * looks).max() < 2.0 + 1e-2
    with pytest.raises(DatasetError, match='affinity above -1e-06, found 0'):
        plan(town(views=5), replace(SAGE, affinity_threshold=-1e-6), batches=1)


def test_areas_are_drawn_by_their_places_and_none_twice_while_others_are_left():
    sizes = np.array([60, 30, 10])
    places = np.repeat(np.arange(100), VIEWS)
    areas = np.repeat(np.arange(3), sizes)[places]
    centre = np.stack([places * STEP_M, 0.0 * places], axis=1)
    views = view_set(centre, places, areas)
    alone = replace(SAGE, similar_places=0)
    one = plan(views, alone, places=1, batches=1500)
    share = np.bincount(views.areas[one.images[:, 0]]) / 1500
    np.testing.assert_allclose(share, sizes / 100, atol=0.05)
    three = plan(views, alone, places=3, batches=50)
    assert all(len(set(views.areas[row])) == 3 for row in three.images)


def test_videos_without_positions_go_by_their_labels():
    video = town(seed=3)
    video = replace(video, position_m=np.full((len(video), 2), math.nan))
    walk = town()
    both = view_set(
        np.concatenate([walk.position_m, video.position_m]),
        np.concatenate([walk.places, video.places + 100]),
        np.repeat([0, 1], [len(walk), len(video)]),
    )
    found = plan(both, batches=20)
    groups = found.images.reshape(20, 8, 4)
    assert set(both.areas[groups].ravel()) == {0, 1}
    for batch in groups:
        of_video = both.places[batch][both.areas[batch[:, 0]] == 1]
        assert (of_video == of_video[:, :1]).all()
        assert len(set(of_video[:, 0])) == len(of_video)
    prepared = ground.survey(both, SAGE, 4)
    np.testing.assert_array_equal(prepared.distances_m(len(walk) + np.arange(3)[None]), 1.0)


def test_single_views_without_a_position_or_a_place_are_left_out():
    views = town()
    lost = np.arange(len(views)) % 5 == 0
    position = np.where(lost[:, None], math.nan, views.position_m)
    places = np.where(np.arange(len(views)) % 5 == 1, -1, views.places)
    views = replace(views, position_m=position, places=places)
    assert set(ground.survey(views, SAGE, 4).members % 5) == {2, 3, 4}
    found = plan(views, batches=20)
    assert set(found.images.ravel() % 5) == {2, 3, 4}


def test_duplicates_and_zero_distances():
    views = town(spread_m=0.0)
    model = Model(views)
    model.rows[:] = model.rows[0]
    require_disjoint(plan(views, model=model, places=20), views, 20)


def test_a_batch_that_fills_the_town():
    views = town(spread_m=0.5)
    require_disjoint(plan(views, places=100, batches=2), views, 100)
    with pytest.raises(DatasetError, match='found 100: set places_per_batch'):
        plan(views, places=101, batches=1)
    with pytest.raises(DatasetError, match='found 100: set places_per_batch'):
        plan(views, replace(SAGE, similar_places=0), places=101, batches=1)


def test_a_batch_that_leaves_no_room_begins_again():
    # Three of five spots fit, unless one begins with the second or the fourth.
    spots = np.repeat(np.arange(5), VIEWS)
    views = view_set(np.stack([20.0 * spots, 0.0 * spots], axis=1), spots)
    found = plan(views, replace(SAGE, similar_places=0), places=3, batches=20)
    require_disjoint(found, views, 3)
    assert set(views.places[found.images].ravel()) == {0, 2, 4}


def test_neither_the_seed_nor_its_twin_is_drawn_beside_it():
    views = town()
    model = Model(views, noise=0.0)
    twins = views.places % 50
    model.rows = model.rows[twins * VIEWS]
    prepared, rng = ground.survey(views, SAGE, 4), np.random.default_rng(0)
    known = Descriptions(model, len(views), torch.device('cpu'))
    table = prepared.one_each(rng)
    known.require(table)
    for seed in range(0, 100, 7):
        drawn = neighbourhoods(prepared, np.array([seed]), known, table, 200, 1.0, rng)[0]
        assert drawn[0] == seed
        assert len(set(drawn)) == len(drawn) == 1 + 100 - 2 - 2  # the farthest has a twin too
        assert seed % 50 not in drawn[1:] % 50


def test_no_clique_anywhere():
    views = view_set(np.arange(60)[:, None] * [[30.0, 0.0]], np.arange(60) // 4)
    with pytest.raises(DatasetError, match='nowhere among 60 views, 60 of them with a position'):
        build_sampler(views, SAGE, 2, 4)


def test_descriptors_that_are_not_finite():
    views = town()
    model = Model(views)
    model.rows[7] = math.nan  # seen as a member of a clique
    with pytest.raises(DatasetError, match='1 of .* descriptors are not finite: the weights'):
        plan(views, model=model, places=80, batches=2)
    model.rows[:] = math.inf
    with pytest.raises(DatasetError, match='100 of 100 descriptors are not finite'):
        plan(views, model=model)


def test_a_full_disk_is_said(monkeypatch):
    class Full(io.FileIO):
        def __init__(self):
            super().__init__(os.open('/dev/full', os.O_RDWR), 'r+')

        def truncate(self, size):
            return size

    monkeypatch.setattr(descriptions.tempfile, 'TemporaryFile', Full)
    monkeypatch.setattr(descriptions.np, 'memmap', lambda *_, shape, **__: np.zeros(shape))
    with pytest.raises(DatasetError, match='No space left on device; make room or set TMPDIR'):
        plan(town())


def test_progress_ends_with_the_whole():
    views, seen = town(), []
    sampler = build_sampler(views, SAGE, 8, 4)
    sampler.plan(6, Model(views), np.random.default_rng(0), lambda *now: seen.append(now))
    assert seen[-1] == (100 + 48, 100 + 48)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


@pytest.mark.parametrize('config', KINDS, ids=KIND_NAMES)
def test_photographs_take_the_place_of_some_groups(config):
    walk = town()
    lone = 10
    both = view_set(
        np.concatenate([walk.position_m, np.full((lone, 2), math.nan)]),
        np.concatenate([walk.places, 100 + np.arange(lone)]),
        np.repeat([0, 1], [len(walk), lone]),
    )
    sampler = build_sampler(both, config, 8, 4, single_image_share=0.375)
    found = sampler.plan(20, Model(both), np.random.default_rng(0))
    groups = found.images.reshape(20, 8, 4)
    photograph = both.areas[groups] == 1
    assert (photograph.all(axis=2).sum(axis=1) == 3).all()
    assert (photograph.any(axis=2).sum(axis=1) == 3).all()
    for batch, of_one in zip(groups, photograph.all(axis=2), strict=True):
        assert (batch[of_one] == batch[of_one][:, :1]).all()
        assert len(set(batch[of_one][:, 0])) == 3
    assert set(groups[photograph]) == set(range(len(walk), len(both)))
    assert sampler.online == (config is SAGE)


def test_without_photographs_the_share_changes_nothing():
    views = town()
    plain, asked = (build_sampler(views, SAGE, 8, 4, share) for share in (0.0, 0.5))
    one, other = (s.plan(3, Model(views), np.random.default_rng(0)) for s in (plain, asked))
    np.testing.assert_array_equal(one.images, other.images)


def test_cliques_need_two_views():
    with pytest.raises(ConfigError, match='views_per_place: the sampler sage'):
        build_sampler(town(), SAGE, 4, 1)


PLACES = np.array([0, 0, 0, 0, 0, 1, 1, 1, 2, -1, -1, 3, 3, 3, 3])
AREAS = np.array([0] * 11 + [1] * 4)
LABELLED = view_set(np.full((15, 2), math.nan), PLACES, AREAS)
PLAIN = SamplerConfig(kind='places')


def drawn(places=2, views=3, batches=300, share=0.0, seed=0):
    sampler = build_sampler(LABELLED, PLAIN, places, views, share)
    return sampler.plan(batches, None, np.random.default_rng(seed))


def test_places_by_label():
    found = drawn()
    np.testing.assert_array_equal(found.labels[0], [0, 0, 0, 1, 1, 1])
    groups = PLACES[found.images].reshape(-1, 2, 3)
    assert (groups == groups[..., :1]).all()
    assert (groups[:, 0, 0] != groups[:, 1, 0]).all()
    assert (groups >= 0).all()
    images = found.images.reshape(-1, 3)
    distinct = np.array([len(set(row)) for row in images])
    assert (distinct[PLACES[images[:, 0]] != 2] == 3).all()
    assert (distinct[PLACES[images[:, 0]] == 2] == 1).all()  # one view, three times over


def test_areas_alike_often():
    assert 0.45 < AREAS[drawn(1, batches=2000).images[:, 0]].mean() < 0.55


def test_single_images():
    found = drawn(share=1.0).images.reshape(-1, 3)
    assert (found == found[:, :1]).all()


def test_one_view_a_place_means_any_image():
    found = drawn(20, 1, batches=400).images
    assert set(found.ravel()) == set(range(15))
    assert 0.47 < AREAS[found].mean() < 0.53


def test_places_from_one_seed():
    np.testing.assert_array_equal(drawn().images, drawn().images)
    assert (drawn().images != drawn(seed=1).images).any()


def test_too_few_places():
    with pytest.raises(DatasetError, match='expected at least 5 places, found 4'):
        drawn(5)


@pytest.mark.parametrize(('extent_m', 'given_m', 'radius_m'), [
    (1000.0, 0.0, 25.0), (50.0, 0.0, 5.0), (50.0, 7.0, 7.0),
])  # fmt: skip
def test_the_radius_suits_the_area_unless_it_is_given(extent_m, given_m, radius_m):
    views = texture_views(3, views=2)
    across = np.linspace(0.0, extent_m, 6)
    views = replace(views, position_m=np.column_stack([across, 0.0 * across]))
    assert settled(SamplerConfig(radius_m=given_m), views).radius_m == radius_m
    nowhere = replace(views, position_m=np.full((6, 2), np.nan))
    assert settled(SamplerConfig(), nowhere).radius_m == 25.0
