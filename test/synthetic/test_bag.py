from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from rosbags.highlevel import AnyReader
from rosbags.interfaces import QosDurability

from vpr_ros.bags.cameras import read_camera
from vpr_ros.bags.depth import RecordedDepth, depth_topic
from vpr_ros.bags.reader import open_bag
from vpr_ros.errors import BagError, ConfigError
from vpr_ros.synthetic.bag import render_drive, write_bag
from vpr_ros.synthetic.camera import Camera, Eye
from vpr_ros.synthetic.demo import write_demo
from vpr_ros.synthetic.drives import Drive, plan_drive
from vpr_ros.synthetic.render import render_with_depth
from vpr_ros.synthetic.scene import Scene

COUNT = 8


@pytest.fixture(scope='module')
def drive(town, other_scene) -> Drive:
    rng = np.random.default_rng(0)
    camera = Camera(60, 80, 57.0)
    long = plan_drive(town, other_scene.session, rng, 60.0, camera=camera)
    names = ('stamps_ns', 'positions_m', 'angles_rad', 'odometry_m', 'odometry_yaw_rad')
    cut = {name: getattr(long, name)[:COUNT] for name in (*names, 'travelled_m')}
    return replace(long, **cut)


@pytest.fixture(scope='module')
def bag(town, drive, tmp_path_factory) -> Path:
    return write_bag(tmp_path_factory.mktemp('bags') / 'drive', town, drive, workers=1)


def hashes(bag: Path) -> dict[str, str]:
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in bag.iterdir()}


def read(bag: Path, topic: str) -> list[tuple[int, object]]:
    with AnyReader([bag]) as reader:
        connections = [c for c in reader.connections if c.topic == topic]
        messages = reader.messages(connections)
        return [(stamp, reader.deserialize(raw, c.msgtype)) for c, stamp, raw in messages]


def test_the_bag_names_its_topics_and_counts(bag):
    assert sorted(f.name for f in bag.iterdir()) == ['drive.mcap', 'metadata.yaml']
    with AnyReader([bag]) as reader:
        found = {c.topic: (c.msgtype, c.msgcount) for c in reader.connections}
    assert found == {
        '/camera/image_raw/compressed': ('sensor_msgs/msg/CompressedImage', COUNT),
        '/camera/camera_info': ('sensor_msgs/msg/CameraInfo', COUNT),
        '/odom': ('nav_msgs/msg/Odometry', COUNT),
        '/ground_truth/pose': ('geometry_msgs/msg/PoseStamped', COUNT),
        '/tf_static': ('tf2_msgs/msg/TFMessage', 1),
    }


def test_stamps_frames_and_poses_are_those_of_the_drive(bag, drive):
    for topic, frame in {
        '/camera/image_raw/compressed': 'camera_optical_frame',
        '/camera/camera_info': 'camera_optical_frame',
        '/odom': 'odom',
        '/ground_truth/pose': 'map',
    }.items():
        for expected, (logged, message) in zip(drive.stamps_ns, read(bag, topic), strict=True):
            stamp = message.header.stamp
            assert logged == stamp.sec * 10**9 + stamp.nanosec == expected
            assert message.header.frame_id == frame
    for k, (_, message) in enumerate(read(bag, '/ground_truth/pose')):
        position, turn = message.pose.position, message.pose.orientation
        assert [position.x, position.y, position.z] == drive.positions_m[k].tolist()
        assert [turn.x, turn.y, turn.z, turn.w] == drive.quaternions[k].tolist()
    for k, (_, message) in enumerate(read(bag, '/odom')):
        assert message.child_frame_id == 'base_link'
        assert message.pose.pose.position.x == drive.odometry_m[k, 0]
        assert (np.diag(message.pose.covariance.reshape(6, 6)) > 0).all()
    speed = np.linalg.norm(drive.positions_m[2] - drive.positions_m[1]) * 10.0
    assert read(bag, '/odom')[2][1].twist.twist.linear.x == pytest.approx(speed, rel=0.1)


def test_images_are_those_that_are_rendered(bag, town, drive):
    messages = read(bag, '/camera/image_raw/compressed')
    for (_, message), image in zip(messages, render_drive(town, drive, 1), strict=True):
        assert message.format == 'jpeg'
        decoded = cv2.imdecode(message.data, cv2.IMREAD_COLOR)[..., ::-1]
        assert decoded.shape == (60, 80, 3)
        assert np.abs(decoded.astype(int) - image).mean() < 6.0


def test_camera_info_is_that_of_the_camera(bag, drive):
    _, info = read(bag, '/camera/camera_info')[0]
    assert (info.height, info.width, info.distortion_model) == (60, 80, 'plumb_bob')
    np.testing.assert_array_equal(info.k.reshape(3, 3), drive.camera.matrix())
    np.testing.assert_array_equal(info.p.reshape(3, 4)[:, :3], drive.camera.matrix())


def test_the_camera_is_mounted_where_it_looks_from(bag, drive):
    with open_bag(bag) as recording:
        camera = read_camera(recording, '/camera/image_raw/compressed', 'base_link')
        assert read_camera(recording, '/camera/image_raw/compressed', 'odom').base is None
    session = drive.session
    eye = Eye.mounted(
        drive.view(3), session.camera_height_m, session.camera_pitch_rad, drive.camera
    )
    seen = drive.poses[3] @ camera.base
    np.testing.assert_allclose(seen.position_m, eye.position_m, atol=1e-9)
    np.testing.assert_allclose(seen.rotation().as_matrix(), eye.axes.T, atol=1e-9)
    (connection,) = [x for x in connections(bag) if x.topic == '/tf_static']
    (offered,) = connection.ext.offered_qos_profiles
    assert offered.durability is QosDurability.TRANSIENT_LOCAL  # else no tf listener hears it


def connections(bag):
    with AnyReader([bag]) as reader:
        return list(reader.connections)


def test_depth_is_that_of_the_picture_and_is_found_beside_it(town, drive, tmp_path):
    bag = write_bag(tmp_path / 'deep', town, drive, 1, depth_m=20.0)
    scene = Scene.build(town, drive.session)
    with open_bag(bag) as recording:
        topic = depth_topic(recording, '/camera/image_raw/compressed')
        assert topic == '/camera/depth_registered/image_raw/compressedDepth'
        depth = RecordedDepth(recording, topic, 0.0)
        for k, frame in enumerate(recording.frames('/camera/image_raw/compressed')):
            picture, metres = render_with_depth(scene, drive.view(k), drive.camera)
            found = depth.at(frame)
            assert np.abs(frame.image.astype(int) - picture).mean() < 6.0
            near = metres <= 20.0
            assert 0.2 < near.mean() < 0.9
            np.testing.assert_allclose(found[near], metres[near], atol=6e-4)
            assert not found[~near].any()
    pictures = read(bag, '/camera/image_raw/compressed')
    for (_, with_depth), without in zip(pictures, render_drive(town, drive, 1), strict=True):
        decoded = cv2.imdecode(with_depth.data, cv2.IMREAD_COLOR)[..., ::-1]
        assert np.abs(decoded.astype(int) - without).mean() < 6.0


def test_the_bytes_depend_on_neither_run_nor_workers(bag, town, drive, tmp_path):
    again = write_bag(tmp_path / 'drive', town, drive, workers=2)
    assert hashes(again) == hashes(bag)


def test_progress_is_reported(town, drive, tmp_path):
    seen = []
    write_bag(tmp_path / 'a', town, drive, 1, progress=lambda *args: seen.append(args))
    assert seen == [(k + 1, COUNT) for k in range(COUNT)]


def test_an_existing_target_is_refused_and_left_alone(town, drive, tmp_path):
    target = tmp_path / 'precious'
    target.write_text('mine')
    with pytest.raises(BagError, match='precious exists already'):
        write_bag(target, town, drive, 1)
    assert target.read_text() == 'mine'
    assert write_bag(target, town, drive, 1, overwrite=True) == target
    assert (target / 'precious.mcap').is_file()
    assert [f.name for f in tmp_path.iterdir()] == ['precious']


@pytest.mark.parametrize('error', [KeyboardInterrupt, OSError, SystemExit])
@pytest.mark.parametrize('overwrite', [True, False])
def test_an_interrupted_write_leaves_what_was_there(town, drive, tmp_path, error, overwrite):
    def stop(done: int, total: int) -> None:
        if done == 3:
            raise error

    if overwrite:
        (tmp_path / 'old').mkdir()
        (tmp_path / 'old' / 'old.mcap').write_bytes(b'old')
    before = sorted(tmp_path.rglob('*'))
    with pytest.raises(error):
        write_bag(tmp_path / 'old', town, drive, 1, overwrite, stop)
    assert sorted(tmp_path.rglob('*')) == before


def test_the_demo_refuses_before_it_renders_anything(tmp_path):
    (tmp_path / 'second').mkdir()
    with pytest.raises(BagError, match='second exists already'):
        write_demo(tmp_path, progress=lambda *_: pytest.fail('rendered'))
    assert [f.name for f in tmp_path.iterdir()] == ['second']


@pytest.mark.parametrize('depth_m', [-1.0, 66.0, float('nan')])
def test_depth_that_16_bits_do_not_hold_is_refused(town, drive, tmp_path, depth_m):
    with pytest.raises(ConfigError, match='at most 65.535 m'):
        write_bag(tmp_path / 'deep', town, drive, 1, depth_m=depth_m)
    assert not list(tmp_path.iterdir())
