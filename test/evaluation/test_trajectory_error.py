"""Absolute trajectory error: what is left after a rigid alignment, and the plot of it."""

import sys

import numpy as np
import pytest
from PIL import Image
from small_graphs import LAP, laps, turned

from vpr_ros.bags.trajectory import Trajectory
from vpr_ros.errors import DatasetError
from vpr_ros.evaluation.trajectory_error import save_trajectories, trajectory_error
from vpr_ros.maps.pose_graph import Node
from vpr_ros.records import Pose


def truth_of(poses):
    return Trajectory.from_samples(
        np.arange(len(poses)) * 10**8, [p.position_m for p in poses], [p.quaternion for p in poses]
    )


def nodes_of(poses):
    return [Node(k * 10**8, pose) for k, pose in enumerate(poses)]


def test_another_frame_is_no_error():
    truth = laps(LAP)
    away = Pose((50.0, -3.0, 1.0), turned(1.0))
    found = trajectory_error(nodes_of([away @ pose for pose in truth]), truth_of(truth))
    assert found.rmse_m < 1e-6
    assert len(found.errors_m) == LAP


def test_noise_is():
    truth, rng = laps(4 * LAP), np.random.default_rng(0)
    poses = [Pose(tuple(np.add(p.position_m, rng.normal(0, 0.2, 3)).tolist())) for p in truth]
    found = trajectory_error(nodes_of(poses), truth_of(truth))
    assert found.rmse_m == pytest.approx(0.2 * np.sqrt(3), rel=0.1)
    assert found.median_m < found.rmse_m < found.max_m


def test_poses_without_truth_are_left_out():
    truth = laps(LAP)
    late = [Node(10**15, truth[0])]
    found = trajectory_error(nodes_of(truth) + late, truth_of(truth))
    assert len(found.errors_m) == LAP
    with pytest.raises(DatasetError, match='0 of 1 poses have a truth'):
        trajectory_error(late, truth_of(truth))


def test_standing_still_has_no_alignment():
    still = [Pose((1.0, 1.0, 1.0))] * 10
    with pytest.raises(DatasetError, match='cannot be laid over the truth'):
        trajectory_error(nodes_of(still), truth_of(still))


def test_without_evo_one_sentence(monkeypatch):
    for name in ('evo', 'evo.core', 'evo.core.metrics', 'evo.core.geometry'):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(DatasetError, match='pip install evo'):
        trajectory_error(nodes_of(laps(LAP)), truth_of(laps(LAP)))


def test_the_plot_is_a_picture(tmp_path):
    truth = laps(LAP)
    bent = [Pose((1.1 * p.position_m[0], p.position_m[1], 0.0)) for p in truth]
    errors = [trajectory_error(nodes_of(poses), truth_of(truth)) for poses in (bent, truth)]
    save_trajectories(tmp_path / 'a.png', *errors)
    with Image.open(tmp_path / 'a.png') as picture:
        assert min(picture.size) > 500
