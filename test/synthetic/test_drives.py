from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vpr_ros.errors import ConfigError
from vpr_ros.synthetic.camera import View
from vpr_ros.synthetic.demo import plan_demo
from vpr_ros.synthetic.drives import Drift, plan_drive
from vpr_ros.synthetic.lights import LIGHTS, Session
from vpr_ros.synthetic.routes import streets_of
from vpr_ros.synthetic.town import Town

NOON = Session('noon', LIGHTS['noon'])


def drive(town, seed=0, **options):
    return plan_drive(town, NOON, np.random.default_rng(seed), **options)


def drift_m(drive) -> np.ndarray:
    """Distance (N,) of the odometry from the true motion since the start."""
    turn = Rotation.from_euler('z', -drive.angles_rad[0, 2])
    true = turn.apply(drive.positions_m - drive.positions_m[0])
    return np.linalg.norm(true - drive.odometry_m, axis=1)


def test_the_same_seed_plans_the_same_drive(town):
    first, second = drive(town), drive(town)
    for name in ('stamps_ns', 'positions_m', 'angles_rad', 'odometry_m', 'odometry_yaw_rad'):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert not np.array_equal(first.odometry_m[:50], drive(town, seed=1).odometry_m[:50])


def test_a_drive_has_the_length_rate_and_speed_asked_for(town):
    planned = drive(town, length_m=300.0, rate_hz=5.0, speed_m_s=6.0)
    assert planned.travelled_m[-1] == pytest.approx(300.0, abs=3.0)
    assert set(np.diff(planned.stamps_ns)) == {200_000_000}
    speed = np.diff(planned.travelled_m) * 5.0
    assert speed.max() <= 6.01
    assert speed.min() > 1.0
    assert np.abs(np.diff(speed)).max() * 5.0 < 2.5  # m/s2


def test_headings_follow_the_path_and_turns_are_smooth(town):
    planned = drive(town, length_m=800.0)
    steps = np.diff(planned.positions_m[:, :2], axis=0)
    course = np.arctan2(steps[:, 1], steps[:, 0])
    error = np.angle(np.exp(1j * (course - planned.angles_rad[:-1, 2])))
    assert np.abs(error).max() < 0.12
    assert np.abs(np.diff(planned.angles_rad[:, 2])).max() < 0.12  # 70 degrees a second


def test_the_car_stays_on_the_road(town):
    planned = drive(town, length_m=1500.0)
    x, y = planned.positions_m[:, :2].T.astype(np.float32)
    assert town.ground.raster.read(town.ground.inside_m, x, y)[:, 0].min() > 0.5


def test_three_kilometres_pass_the_same_way_again():
    planned = drive(Town.build(0), length_m=3000.0)
    assert planned.travelled_m[-1] > 2950.0
    ways = list(zip(planned.route[:-1], planned.route[1:], strict=True))
    assert len(ways) - len(set(ways)) >= 3
    assert all(a != c for a, c in zip(planned.route, planned.route[2:]))  # noqa: B905


def test_quaternions_say_the_same_as_the_angles(town):
    planned = drive(town, length_m=60.0)
    angles = Rotation.from_euler('ZYX', planned.angles_rad[:, ::-1])
    found = Rotation.from_quat(planned.quaternions)
    assert (angles.inv() * found).magnitude().max() < 1e-9
    np.testing.assert_allclose(planned.view(7).rotation(), found[7].as_matrix(), atol=1e-12)
    assert planned.poses[7].position_m == tuple(planned.positions_m[7])
    assert len(planned.odometry) == len(planned)


@pytest.mark.parametrize('angles', [(0.3, -0.2, 2.5), (0.0, 0.0, -3.1), (-1.0, 0.7, 0.0)])
def test_a_view_turns_yaw_then_pitch_then_roll(angles):
    roll, pitch, yaw = angles
    view = View(0.0, 0.0, yaw, 0.0, pitch, roll)
    expected = Rotation.from_euler('ZYX', [yaw, pitch, roll])
    np.testing.assert_allclose(view.rotation(), expected.as_matrix(), atol=1e-12)
    np.testing.assert_allclose(Rotation.from_quat(view.quaternion()).as_matrix(), view.rotation())


def test_odometry_starts_at_the_identity_and_drifts_more_and_more(town):
    planned = [drive(town, seed, length_m=900.0) for seed in range(6)]
    for one in planned:
        assert not one.odometry_m[0].any()
        assert one.odometry_yaw_rad[0] == 0.0
    early, late = (np.mean([drift_m(one)[k] for one in planned]) for k in (100, -1))
    assert 0.0 < early < 0.3 * late
    assert 2.0 < late < 60.0


def test_without_drift_odometry_is_exact(town):
    planned = drive(town, drift=Drift(0.0, 0.0, 0.0))
    assert drift_m(planned).max() < 1e-9


def test_the_demo_meets_again_and_passes_new_streets():
    first, second = plan_demo(Town.build(0), 0)
    assert 400.0 < first.travelled_m[-1] < 600.0
    apart = np.linalg.norm(
        second.positions_m[:, None, :2] - first.positions_m[None, :, :2], axis=2
    )
    turned = np.cos(second.angles_rad[:, None, 2] - first.angles_rad[None, :, 2])
    again = ((apart < 3.0) & (turned > 0.8)).any(axis=1).mean()
    new = (apart.min(axis=1) > 25.0).mean()
    assert 0.25 < again < 0.7
    assert 0.25 < new < 0.7
    assert streets_of(second.route) - streets_of(first.route)
    past = first.travelled_m[:, None] - first.travelled_m[None, :] > 100.0
    own = np.linalg.norm(first.positions_m[:, None, :2] - first.positions_m[None, :, :2], axis=2)
    assert ((own < 2.0) & past).any(axis=1).mean() > 0.25
    assert second.stamps_ns[0] > first.stamps_ns[-1]
    assert first.session.light != second.session.light


@pytest.mark.parametrize('seed', [1, 2])
def test_the_demo_can_be_planned_from_any_seed(seed):
    first, second = plan_demo(Town.build(seed), seed)
    assert min(len(first), len(second)) > 400


@pytest.mark.parametrize('option', ['length_m', 'speed_m_s', 'rate_hz'])
@pytest.mark.parametrize('value', [0.0, -1.0, float('nan'), float('inf')])
def test_a_drive_that_cannot_be_is_refused(town, option, value):
    with pytest.raises(ConfigError, match=option):
        drive(town, **{option: value})


@pytest.mark.parametrize('route', [[], [3], [0, 24], [0, 0], [0, 999]])
def test_a_route_along_no_street_is_refused(town, route):
    with pytest.raises(ConfigError, match='route'):
        drive(town, route=route)


def test_the_lane_of_the_session_is_kept(town):
    left = plan_drive(town, replace(NOON, lane_offset_m=1.0), np.random.default_rng(0), 100.0)
    right = plan_drive(town, replace(NOON, lane_offset_m=-1.0), np.random.default_rng(0), 100.0)
    aside = left.positions_m[20] - right.positions_m[20]
    assert np.linalg.norm(aside) == pytest.approx(2.0, abs=0.6)
