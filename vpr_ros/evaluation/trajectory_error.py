"""Absolute trajectory error, by evo: how far a trajectory is from the truth once laid over it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from vpr_ros.bags.trajectory import Trajectory
from vpr_ros.errors import DatasetError
from vpr_ros.evaluation.theme import LIGHT, Theme, legend_below, new_figure, style
from vpr_ros.maps.pose_graph import Node

FEWEST = 3  # poses by which a trajectory can be laid over another
MAX_GAP_S = 0.5


@dataclass(frozen=True)
class TrajectoryError:
    """Errors in metres of M poses whose truth is known, after a rigid alignment."""

    errors_m: np.ndarray = field(repr=False)  # (M,)
    positions_m: np.ndarray = field(repr=False)  # (M, 3), laid over the truth
    truth_m: np.ndarray = field(repr=False)  # (M, 3)

    @property
    def rmse_m(self) -> float:
        """The absolute trajectory error."""
        return float(np.sqrt(np.mean(self.errors_m**2)))

    @property
    def median_m(self) -> float:
        return float(np.median(self.errors_m))

    @property
    def max_m(self) -> float:
        return float(self.errors_m.max())


def trajectory_error(
    nodes: Sequence[Node], truth: Trajectory, max_gap_s: float = MAX_GAP_S
) -> TrajectoryError:
    """Compare poses with the truth at their stamps.

    Args:
        nodes: in any frame; those whose truth is not known are left out.
        truth: of the same base.
        max_gap_s: largest time between two true poses that may be interpolated.

    Raises:
        DatasetError: evo is not installed, or fewer than 3 poses have a truth or they are all at
            one spot.
    """
    pairs = [(node.pose, truth.at(node.stamp_ns, max_gap_s)) for node in nodes]
    known = [(ours, theirs) for ours, theirs in pairs if theirs is not None]
    if len(known) < FEWEST:
        raise DatasetError(
            f'{len(known)} of {len(nodes)} poses have a truth at their time: expected {FEWEST} '
            'at least; check that the truth is of the same drive'
        )
    ours, theirs = (_path([pair[k] for pair in known]) for k in (0, 1))
    metrics, geometry = _evo()
    try:
        ours.align(theirs)
    except geometry.GeometryException as fault:
        raise DatasetError(f'the poses cannot be laid over the truth: {fault}') from None
    error = metrics.APE(metrics.PoseRelation.translation_part)
    error.process_data((theirs, ours))
    return TrajectoryError(
        np.asarray(error.error), np.asarray(ours.positions_xyz), np.asarray(theirs.positions_xyz)
    )


def draw_trajectories(
    before: TrajectoryError, after: TrajectoryError, theme: Theme = LIGHT
) -> Figure:
    """Both trajectories over the truth, from above."""
    with matplotlib.rc_context(style(theme)):
        figure, axes = new_figure(7.4, 6.4)
        axes.plot(
            *after.truth_m[:, :2].T, color=theme.ink, linewidth=3.0, alpha=0.25, label='truth'
        )
        for error, colour, what in (
            (before, theme.wrong, 'before'),
            (after, theme.accent, 'after'),
        ):
            axes.plot(
                *error.positions_m[:, :2].T, color=colour, linewidth=1.3,
                label=f'{what}: {error.rmse_m:.2f} m',
            )  # fmt: skip
        axes.set_aspect('equal', adjustable='datalim')
        axes.set(xlabel='x, m', ylabel='y, m')
        legend_below(axes, 3)
    return figure


def save_trajectories(
    path: Path | str, before: TrajectoryError, after: TrajectoryError, theme: Theme = LIGHT
) -> None:
    """Write the figure as PNG or SVG, by the ending of the name."""
    figure = draw_trajectories(before, after, theme)
    figure.savefig(Path(path), facecolor=theme.paper)


def _evo() -> tuple[Any, Any]:
    try:
        from evo.core import geometry, metrics
    except ImportError as error:
        raise DatasetError(f'trajectory errors need evo ({error}): `pip install evo`') from None
    return metrics, geometry


def _path(poses: Sequence[Any]) -> Any:
    _evo()
    from evo.core.trajectory import PosePath3D

    return PosePath3D(poses_se3=[pose.matrix() for pose in poses])
