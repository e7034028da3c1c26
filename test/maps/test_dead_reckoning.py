"""What odometry may be off between two nodes is what many noisy drives are off."""

import numpy as np
from scipy.spatial.transform import Rotation
from small_graphs import drive

from vpr_ros.maps.dead_reckoning import DeadReckoning, Uncertain
from vpr_ros.records import Pose


def chain(edges):
    found = DeadReckoning()
    found.begin()
    for edge in edges:
        found.add(edge.stated)
    return found


def compounded(edges):
    total = edges[0].stated
    for edge in edges[1:]:
        total = total @ edge.stated
    return total


def test_sums_are_what_edges_add_up_to():
    _, nodes, edges = drive(60)
    found = chain(edges)
    there, slow = found.between(12, 50), compounded(edges[12:50])
    assert there.pose.distance_m(slow.pose) < 1e-6
    np.testing.assert_allclose(there.covariance, slow.covariance, rtol=1e-6, atol=1e-9)
    assert len(found) == 60
    assert np.isclose(found.ways_m[-1], sum(np.linalg.norm(e.pose.position_m) for e in edges))


def test_there_and_back():
    _, _, edges = drive(40)
    found = chain(edges)
    there, back = found.between(5, 30), found.between(30, 5)
    assert (there.pose @ back.pose).distance_m(Pose((0.0, 0.0, 0.0))) < 1e-9
    same = found.between(7, 7)
    assert same.pose.distance_m(Pose((0.0, 0.0, 0.0))) < 1e-12
    assert np.abs(same.covariance).max() < 1e-12


def noisy(edge, rng):
    error = rng.multivariate_normal(np.zeros(6), edge.covariance)
    turn = Rotation.from_rotvec(error[3:]) * edge.pose.rotation()
    position = np.add(edge.pose.position_m, error[:3])
    return Pose(tuple(position.tolist()), tuple(turn.as_quat().tolist()))


def test_covariance_is_that_of_many_drives():
    _, _, edges = drive(30)
    edges, rng = edges[3:25], np.random.default_rng(0)
    stated, samples = chain(edges).between(22, 0), []
    for _ in range(400):
        pose = Pose((0.0, 0.0, 0.0))
        for edge in edges:
            pose = pose @ noisy(edge, rng)
        back = pose.inverse()
        turn = back.rotation() * stated.pose.rotation().inv()
        shift = np.subtract(back.position_m, stated.pose.position_m)
        samples.append([*shift, *turn.as_rotvec()])
    found = np.cov(np.array(samples).T)
    ratio = np.diag(found) / np.diag(stated.covariance)
    assert (0.7 < ratio).all()
    assert (ratio < 1.4).all()


def test_distance_in_standard_deviations():
    one = Uncertain(Pose((1.0, 0.0, 0.0)), np.eye(6) * 2.0)
    other = Uncertain(Pose((4.0, 0.0, 0.0)), np.eye(6) * 7.0)
    assert np.isclose(one.squared_sigmas(other), 1.0)


def test_the_other_way_round():
    _, _, edges = drive(30)
    there = chain(edges).between(3, 25)
    back = there.inverse()
    slow = chain(edges).between(25, 3)
    assert back.pose.distance_m(slow.pose) < 1e-6
    np.testing.assert_allclose(back.covariance, slow.covariance, rtol=1e-6, atol=1e-9)
    again = back.inverse()
    np.testing.assert_allclose(again.covariance, there.covariance, rtol=1e-9, atol=1e-12)
