"""A pose at any stamp: exact at samples, interpolated between, none where nobody knows."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation, Slerp

from vpr_ros.bags.trajectory import Trajectory, slerp

SECOND_NS = 10**9
START_NS = 1_403_715_273_262_142_976  # more digits than a float holds


def random_trajectory(count: int = 20, seed: int = 0) -> Trajectory:
    rng = np.random.default_rng(seed)
    stamps = START_NS + np.cumsum(rng.integers(1, SECOND_NS, count))
    rotations = Rotation.from_rotvec(rng.normal(size=(count, 3)))
    return Trajectory.from_samples(stamps, rng.normal(size=(count, 3)), rotations.as_quat())


def straight(stamps_s: list[float]) -> Trajectory:
    """One metre a second along x."""
    stamps = [START_NS + round(x * SECOND_NS) for x in stamps_s]
    positions = [(x, 0, 0) for x in stamps_s]
    return Trajectory.from_samples(stamps, positions, [(0, 0, 0, 1)] * len(stamps))


def test_interpolation_is_that_of_scipy():
    trajectory = random_trajectory()
    assert not trajectory.notes
    times = (trajectory.stamps_ns - START_NS) / SECOND_NS
    reference = Slerp(times, Rotation.from_quat(trajectory.quaternions))
    first, last = trajectory.stamps_ns[[0, -1]]
    stamps = np.random.default_rng(1).integers(first, last, 200)
    positions, rotations = trajectory.sampled(stamps)
    for stamp_ns, position, rotation in zip(stamps, positions, rotations, strict=True):
        pose = trajectory.at(int(stamp_ns), 10.0)
        time = (stamp_ns - START_NS) / SECOND_NS
        expected = [np.interp(time, times, x) for x in trajectory.positions_m.T]
        assert pose.position_m == pytest.approx(expected)
        assert position == pytest.approx(expected)
        assert (pose.rotation().inv() * reference(time)).magnitude() < 1e-6
        assert (rotation.inv() * reference(time)).magnitude() < 1e-6


def test_samples_are_exact_to_the_nanosecond():
    trajectory = random_trajectory()
    for i, stamp_ns in enumerate(trajectory.stamps_ns):
        pose = trajectory.at(int(stamp_ns), 0.0)
        assert pose.position_m == tuple(trajectory.positions_m[i])
        assert pose.quaternion == tuple(trajectory.quaternions[i])
        assert trajectory.at(int(stamp_ns) + 1, 0.0) is None


def test_outside_and_in_a_gap_there_is_no_pose():
    trajectory = straight([0, 1, 1.4, 3])
    known = {-0.1: None, 0: 0, 0.5: None, 1: 1, 1.2: 1.2, 1.4: 1.4, 2: None, 3: 3, 3.1: None}
    for time_s, expected in known.items():
        pose = trajectory.at(START_NS + round(time_s * SECOND_NS), 0.5)
        assert (pose and pose.position_m[0]) == (expected and pytest.approx(expected)), time_s
    stamps = np.array([START_NS + round(x * SECOND_NS) for x in known])
    expected = [x is not None for x in known.values()]
    assert trajectory.within(stamps, 0.5).tolist() == expected


def test_quaternions_of_either_sign_turn_the_short_way():
    turn = Rotation.from_euler('z', [[0], [20]], degrees=True).as_quat()
    for first in (turn[0], -turn[0]):
        for second in (turn[1], -turn[1]):
            middle = Rotation.from_quat(slerp(tuple(first), tuple(second), 0.25))
            assert middle.as_euler('xyz', degrees=True) == pytest.approx([0, 0, 5])


def test_the_same_and_opposite_quaternions_stay_unit_and_finite():
    for second in ((0.0, 0.0, 0.0, 1.0), (0.0, 0.0, 0.0, -1.0), (0.0, 0.0, 1e-9, 1.0)):
        assert slerp((0.0, 0.0, 0.0, 1.0), second, 0.5)[3] == pytest.approx(1)
    half_turn = slerp((0.0, 0.0, 0.0, 1.0), (0.0, 0.0, 1.0, 0.0), 0.5)
    assert np.linalg.norm(half_turn) == pytest.approx(1)
    assert Rotation.from_quat(half_turn).magnitude() == pytest.approx(np.pi / 2)


def test_samples_are_cleaned_and_what_was_done_is_counted():
    unit = (0, 0, 0, 1)
    samples = [
        (3, (3, 0, 0), unit),
        (1, (1, 0, 0), (0, 0, 0, 2)),
        (2, (np.nan, 0, 0), unit),
        (4, (4, 0, 0), (0, 0, 0, 0)),
        (5, (5, 0, 0), (0, np.inf, 0, 1)),
        (3, (9, 0, 0), unit),
        (6, (6, 0, 0), (0, 0, 0, -1)),
    ]
    trajectory = Trajectory.from_samples(*zip(*samples, strict=True), frame_id='map')
    assert trajectory.stamps_ns.tolist() == [1, 3, 6]
    assert trajectory.positions_m[:, 0].tolist() == [1, 3, 6]
    assert np.linalg.norm(trajectory.quaternions, axis=1).tolist() == [1, 1, 1]
    assert trajectory.frame_id == 'map'
    assert trajectory.notes == (
        '2 of 7 poses with NaN or infinite values left out.',
        '1 of 7 poses with a quaternion of length 0 left out.',
        '1 of 7 poses earlier than the one before, put in order.',
        '1 of 7 poses with a stamp that was there already left out.',
        '1 of 7 poses with a quaternion not of length 1, put right.',
    )


@pytest.mark.parametrize('samples', [[], [(1, (np.nan, 0, 0), (0, 0, 0, 1))]])
def test_trajectory_without_samples_knows_no_pose(samples):
    columns = zip(*samples, strict=True) if samples else ((), (), ())
    trajectory = Trajectory.from_samples(*columns)
    assert len(trajectory) == 0
    assert trajectory.at(1, 10.0) is None
    assert trajectory.travelled_m(1) == 0
    assert not trajectory.within(np.array([1]), 10.0).any()


def test_path_grows_between_samples_and_stands_still_outside():
    trajectory = Trajectory.from_samples(
        np.array([0, 1, 2]) * SECOND_NS, [(0, 0, 0), (3, 4, 0), (3, 4, 2)], [(0, 0, 0, 1)] * 3
    )
    stamps_s = [-1, 0, 0.5, 1, 1.5, 2, 9]
    travelled = [trajectory.travelled_m(round(x * SECOND_NS)) for x in stamps_s]
    assert travelled == pytest.approx([0, 0, 2.5, 5, 6, 7, 7])
