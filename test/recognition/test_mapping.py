"""From a bag to a map: right places, whole or not at all."""

import numpy as np
import pytest
from small_drive import IMAGE, POSE, START_NS, write_drive

from vpr_ros.config import KeyframeConfig
from vpr_ros.errors import BagError, MapError
from vpr_ros.maps.place_map import PlaceMap
from vpr_ros.recognition.drive import NO_POSES, DriveOptions
from vpr_ros.recognition.mapping import build_map


def test_a_map_of_a_drive(small_bag, tiny_model, tmp_path):
    path, seen = tmp_path / 'small.vprmap', []
    summary = build_map(small_bag, tiny_model, path, progress=lambda *done: seen.append(done))
    assert (summary.places, summary.images, summary.posed) == (45, 45, 45)
    assert summary.losses == ()
    assert seen[-1] == (45, 45)
    with PlaceMap.open(path, tiny_model.fingerprint) as place_map:
        assert [p.stamp_ns for p in place_map.places] == [START_NS + k * 10**9 for k in range(45)]
        assert place_map.places[1].pose.distance_m(place_map.places[0].pose) == pytest.approx(
            2.0, abs=0.01
        )
        assert place_map.places[44].travelled_m == pytest.approx(88.0, abs=0.5)
        assert place_map.info.frame == 'map'
        assert place_map.thumbnail(1)[:2] == b'\xff\xd8'
        found = place_map.search(place_map.descriptors()[31], 3)
        assert {c.place.id for c in found[:2]} == {2, 32}
    assert [f.name for f in tmp_path.iterdir()] == ['small.vprmap']


def test_keyframes_by_distance(small_bag, tiny_model, tmp_path):
    options = DriveOptions(keyframes=KeyframeConfig(distance_m=5.9, angle_rad=0.0))
    summary = build_map(small_bag, tiny_model, tmp_path / 'm.vprmap', options)
    assert summary.places == 15


def test_without_poses(small_bag, tiny_model, tmp_path):
    options = DriveOptions(pose_topic=NO_POSES, keyframes=KeyframeConfig(period_s=3.0))
    summary = build_map(small_bag, tiny_model, tmp_path / 'm.vprmap', options)
    assert (summary.places, summary.posed) == (15, 0)


def test_same_bag_same_descriptors(small_bag, tiny_model, tmp_path):
    maps = []
    for name in 'ab':
        build_map(small_bag, tiny_model, tmp_path / name)
        with PlaceMap.open(tmp_path / name, tiny_model.fingerprint) as place_map:
            maps.append((place_map.places, place_map.descriptors()))
    assert maps[0][0] == maps[1][0]
    np.testing.assert_array_equal(maps[0][1], maps[1][1])


def test_an_existing_map_is_kept_unless_told_otherwise(small_bag, tiny_model, tmp_path):
    path = tmp_path / 'm.vprmap'
    build_map(small_bag, tiny_model, path)
    before = path.read_bytes()
    with pytest.raises(MapError, match='exists already'):
        build_map(small_bag, tiny_model, path)
    assert path.read_bytes() == before
    build_map(small_bag, tiny_model, path, overwrite=True)
    assert path.read_bytes() != before  # another uuid


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (DriveOptions(image_topic='/nothing'), '/nothing'),
        (DriveOptions(image_topic=POSE), 'not images'),
        (DriveOptions(pose_topic='/nothing'), '/nothing'),
        (DriveOptions(pose_topic=IMAGE), IMAGE),
    ],
)
def test_wrong_topics_leave_nothing_behind(small_bag, tiny_model, tmp_path, options, words):
    with pytest.raises(BagError, match=words):
        build_map(small_bag, tiny_model, tmp_path / 'm.vprmap', options)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_build_keeps_the_old_map(small_bag, tiny_model, tmp_path):
    path = tmp_path / 'm.vprmap'
    build_map(small_bag, tiny_model, path)
    before = path.read_bytes()

    def interrupt(done, total):
        if done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_map(small_bag, tiny_model, path, progress=interrupt, overwrite=True)
    assert path.read_bytes() == before
    assert [f.name for f in tmp_path.iterdir()] == ['m.vprmap']


def test_images_after_the_last_pose_are_places_without_one(tiny_model, tmp_path):
    bag = write_drive(tmp_path / 'bag', images=20, unposed=5)
    summary = build_map(bag, tiny_model, tmp_path / 'm.vprmap')
    assert summary.places == 20
    assert summary.posed == 15
