"""Closures found in a map are those that a live node would have stated."""

from dataclasses import replace

import numpy as np
import pytest
from small_drive import PLACES

from vpr_ros.config import DecisionConfig, RecognizerConfig, VerificationConfig
from vpr_ros.maps.compress import Compression, compress
from vpr_ros.maps.place_map import IN_MEMORY, PlaceMap
from vpr_ros.models import build_model
from vpr_ros.recognition.closing import find_closures
from vpr_ros.recognition.drive import DriveOptions
from vpr_ros.recognition.mapping import build_map
from vpr_ros.recognition.over_time.agreement import NS
from vpr_ros.records import Place, Pose, PoseKind

CONFIG = RecognizerConfig(
    verification=VerificationConfig(candidates=0),
    decision=DecisionConfig(exclude_recent_s=5.0, exclude_recent_m=5.0, consistent_frames=2),
)
LOW = 0.99


@pytest.fixture
def built(small_bag, tiny_model, tmp_path):
    build_map(small_bag, tiny_model, tmp_path / 'a.vprmap', DriveOptions())
    return tmp_path / 'a.vprmap'


def opened(path, model):
    return PlaceMap.open(path, model.require_weights(), model.name)


def test_a_drive_meets_itself(built, tiny_model):
    seen = []
    with opened(built, tiny_model) as place_map:
        found = find_closures(place_map, tiny_model, CONFIG, lambda done, of: seen.append(done))
        rows = {place.stamp_ns: row for row, place in enumerate(place_map.places)}
        ids = {place.id: row for row, place in enumerate(place_map.places)}
        assert seen[-1] == len(place_map) == 45
    pairs = [(rows[x.from_stamp_ns], ids[x.to_place]) for x in found]
    # The first revisit waits for the second, which agrees.
    assert pairs == [(k, k - PLACES) for k in range(PLACES + 1, 45)]
    for closure in found:
        assert closure.kind is PoseKind.FROM_MAP
        assert closure.similarity > 0.99
        assert (np.linalg.eigvalsh(closure.covariance) > 0).all()


def test_sessions_know_those_before_and_not_those_after(small_bag, built, tiny_model, tmp_path):
    from vpr_ros.maps.merge import merge_files

    later = tmp_path / 'b.vprmap'
    build_map(small_bag, tiny_model, later, DriveOptions(image_topic='/camera/image_raw'))
    with PlaceMap.open(later, None, writable=True) as other:
        other._transaction.write("UPDATE sessions SET name = 'again'")
    merge_files([built, later], tmp_path / 'both.vprmap')
    with opened(tmp_path / 'both.vprmap', tiny_model) as place_map:
        found = find_closures(place_map, tiny_model, CONFIG)
        session = {place.id: place.session_id for place in place_map.places}
    ends = [(x.from_session, session[x.to_place]) for x in found]
    assert ends.count((1, 1)) == 14
    assert (1, 2) not in ends
    assert ends.count((2, 1)) + ends.count((2, 2)) >= 40


def test_a_compressed_map_closes_the_same_loops(small_bag, tiny_weights, tmp_path):
    # In fp32 and below the threshold of the weights: half the length lowers an untrained model's
    # similarities by about the rounding of bf16, which would decide otherwise.
    model = build_model('sage_test', 'cpu', tiny_weights, 'fp32')
    config = replace(CONFIG, decision=replace(CONFIG.decision, similarity_threshold=LOW))
    whole, short = tmp_path / 'a.vprmap', tmp_path / 'c.vprmap'
    build_map(small_bag, model, whole, DriveOptions())
    compress(whole, short, Compression(16, False))
    found = []
    for path in (whole, short):
        with opened(path, model) as place_map:
            found.append([(x.from_stamp_ns, x.to_place) for x in
                          find_closures(place_map, model, config)])  # fmt: skip
    assert set(found[0]) & set(found[1])
    assert len(found[1]) >= len(found[0]) - 2


def test_the_way_is_counted_as_a_live_node_counts_it(tiny_model):
    """The map's way is that of a finer, noisier odometry, three times as long; places lack it."""
    there_and_back = [*range(26), *range(24, -1, -1)]
    decision = replace(CONFIG.decision, similarity_threshold=0.999, consistent_frames=1)
    model = tiny_model
    with PlaceMap.create(IN_MEMORY, model.name, model.fingerprint, model.descriptor_dim) as drive:
        session = drive.add_session('drive')
        for k, x in enumerate(there_and_back):
            descriptor = np.zeros(model.descriptor_dim, np.float32)
            descriptor[:2] = np.cos(x / 10), np.sin(x / 10)
            known = k != 5
            pose = Pose((float(x), 0.0, 0.0)) if known else None
            drive.add(Place(0, session, k * NS, pose, '', 3.0 * k if known else None), descriptor)
        found = find_closures(drive, model, replace(CONFIG, decision=decision))
    # From 3 s after the turn at 25, a place lies 5 s and 5 m behind that looks alike.
    assert [closure.from_stamp_ns // NS for closure in found] == list(range(28, 51))
    assert all(x.from_stamp_ns // NS - (x.to_place - 1) >= 5 for x in found)


def test_damaged_thumbnails_are_none(built, tiny_model):
    with PlaceMap.open(built, None, writable=True) as place_map:
        place_map._transaction.write("UPDATE places SET thumbnail = x'00' WHERE id % 2 = 0")
    with opened(built, tiny_model) as place_map:
        assert len(find_closures(place_map, tiny_model, CONFIG)) == 14
