import numpy as np
import pytest

from vpr_ros.nodes.outputs.messages import NS
from vpr_ros.nodes.sockets.odometry_track import KNOT_M, OdometryTrack
from vpr_ros.records import Pose


def straight(track, count, step_m=0.05, step_s=0.1, first=0):
    for k in range(first, first + count):
        track.put(round((1 + k * step_s) * NS), Pose((k * step_m, 0.0, 0.0)))


def test_a_pose_between_two_is_interpolated():
    track = OdometryTrack()
    straight(track, 1000)
    for seconds in (1.0, 1.04, 33.33, 100.9):
        found = track.at(round(seconds * NS))
        assert found.position_m[0] == pytest.approx(0.5 * (seconds - 1.0), abs=1e-6)


def test_what_lies_outside_is_not_known():
    track = OdometryTrack()
    assert track.at(NS) is None
    straight(track, 10)
    assert track.at(NS - 1) is None
    assert track.at(NS) is not None
    assert track.at(track.newest_ns() + 1) is None


def test_it_keeps_a_pose_for_a_part_of_the_way_and_the_newest():
    track = OdometryTrack()
    straight(track, 1000)
    stamps, poses = track.knots()
    assert len(track) < 1.3 * 50 / KNOT_M
    assert np.diff(poses[:, 0]).max() <= KNOT_M + 1e-9
    assert (np.diff(stamps) > 0).all()
    assert track.newest().position_m[0] == pytest.approx(999 * 0.05)


def test_a_robot_that_stands_costs_nothing_and_stays_where_it_stood():
    track = OdometryTrack()
    straight(track, 11)
    before = len(track)
    for k in range(5000):
        track.put(round((3 + k * 0.1) * NS), Pose((0.5, 0.0, 0.0)))
    assert len(track) <= before + 3
    assert track.at(400 * NS).position_m[0] == pytest.approx(0.5, abs=0.01)
    for k in range(20):  # and drives on
        track.put(round((503 + k * 0.1) * NS), Pose((0.5 + k * 0.05, 0.0, 0.0)))
    assert track.at(round(502.5 * NS)).position_m[0] == pytest.approx(0.5, abs=0.01)


def test_it_never_keeps_more_than_its_limit():
    track = OdometryTrack(limit=100)
    straight(track, 2000, step_m=0.3)
    assert len(track) <= 100
    stamps, poses = track.knots()
    assert stamps[0] == NS
    assert (np.diff(stamps) > 0).all()
    assert track.at(round(50.05 * NS)).position_m[0] == pytest.approx(0.3 * 490.5, abs=1e-3)
    assert np.diff(poses[:, 0])[-1] < 1.0  # what is new is kept densely


def test_turns_are_interpolated_on_the_shorter_way():
    track = OdometryTrack()
    track.put(NS, Pose((0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0)))
    track.put(2 * NS, Pose((0.0, 0.0, 0.0), (0.0, 0.0, -0.6, -0.8)))  # the same as 0.6, 0.8
    angle = track.at(NS + NS // 2).angle_rad(Pose((0.0, 0.0, 0.0)))
    assert angle == pytest.approx(np.arctan2(0.6, 0.8), abs=1e-6)
