"""Our poses and edges in the words of GTSAM, which is imported where it is needed.

GTSAM's covariances are of the rotation first, and of errors in the axes of an edge's end.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from vpr_ros.errors import GraphError
from vpr_ros.records import Pose

if TYPE_CHECKING:
    from vpr_ros.maps.graph_edges import Edge

ROTATION_FIRST = np.array([3, 4, 5, 0, 1, 2])
FIXED = (1e-4, 1e-4)  # standard deviations of the first pose: radians, metres
LOOSE_RAD = 3.0


def load_gtsam() -> ModuleType:
    """The module.

    Raises:
        GraphError: it is not installed.
    """
    try:
        import gtsam
    except ImportError as error:
        raise GraphError(f'pose graphs need GTSAM ({error}): `pip install gtsam`') from None
    return gtsam


def to_gtsam(pose: Pose) -> Any:
    """A gtsam.Pose3."""
    gtsam = load_gtsam()
    x, y, z, w = pose.quaternion
    return gtsam.Pose3(gtsam.Rot3.Quaternion(w, x, y, z), np.array(pose.position_m))


def to_pose(pose: Any) -> Pose:
    """The inverse of `to_gtsam`."""
    return Pose.from_matrix(pose.matrix())


def noise(edge: Edge) -> Any:
    """The Gaussian noise model of an edge."""
    back = np.kron(np.eye(2), edge.pose.rotation().as_matrix().T)
    covariance = back @ edge.covariance @ back.T
    covariance = covariance[np.ix_(ROTATION_FIRST, ROTATION_FIRST)]
    return load_gtsam().noiseModel.Gaussian.Covariance((covariance + covariance.T) / 2)


def cauchy(model: Any, width: float) -> Any:
    """A noise model under which an edge counts the less, the further off it is."""
    kinds = load_gtsam().noiseModel
    return kinds.Robust.Create(kinds.mEstimator.Cauchy.Create(width), model)


def factor(edge: Edge, model: Any) -> Any:
    """The edge with a noise model."""
    return load_gtsam().BetweenFactorPose3(edge.start, edge.end, to_gtsam(edge.pose), model)


def anchor(node: int, pose: Pose, loose_m: float = 0.0) -> Any:
    """A node held in its pose: firmly, or by as much as it takes not to float."""
    gtsam = load_gtsam()
    rad, metres = (LOOSE_RAD, loose_m) if loose_m else FIXED
    model = gtsam.noiseModel.Diagonal.Sigmas(np.array([rad] * 3 + [metres] * 3))
    return gtsam.PriorFactorPose3(node, to_gtsam(pose), model)


def to_values(poses: Iterable[Pose]) -> Any:
    """A gtsam.Values of nodes 0 to N - 1."""
    values = load_gtsam().Values()
    for node, pose in enumerate(poses):
        values.insert(node, to_gtsam(pose))
    return values


def from_values(values: Any, count: int) -> list[Pose]:
    """The inverse of `to_values`."""
    return [to_pose(values.atPose3(node)) for node in range(count)]
