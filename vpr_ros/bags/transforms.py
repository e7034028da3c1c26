"""A trajectory out of tf: the chain of transforms from one frame to another, composed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from vpr_ros.bags.message_types import POSES, stamp_ns_of
from vpr_ros.bags.reader import Bag
from vpr_ros.bags.trajectory import Samples, Trajectory
from vpr_ros.errors import BagError


class Edge(NamedTuple):
    """A transform that tf publishes: the pose of `child` in `parent`."""

    parent: str
    child: str

    def other(self, frame: str) -> str:
        return self.child if frame == self.parent else self.parent


def read_transforms(
    bag: Bag, topic: str, parent_frame: str, child_frame: str, max_gap_s: float
) -> Trajectory:
    """Compose the chain of transforms from `parent_frame` to `child_frame`.

    There is a pose wherever one edge of the chain has a sample and every other edge has one too,
    or can be interpolated between two that are at most `max_gap_s` apart. Edges of `tf_static`
    are constant. The recording is read twice, so that only the chain is kept in memory.

    Raises:
        BagError: there is no such chain, nothing in it moves, or its edges share no time.
    """
    edges = {edge for edge, _, _ in _transforms(bag, topic)}
    chain = find_chain(edges, parent_frame, child_frame)
    what = f'transforms from {parent_frame!r} to {child_frame!r} in {topic}'
    if chain is None:
        frames = ', '.join(sorted({frame for edge in edges for frame in edge}))
        raise BagError(f'there are no {what}; its frames are {frames or "none"}.')
    static, moving = _trajectories(bag, topic, chain)
    if not moving or not all(len(x) for x in (*static.values(), *moving.values())):
        raise BagError(f'the {what} are constant or not usable, so they give no trajectory.')
    stamps_ns = np.unique(np.concatenate([x.stamps_ns for x in moving.values()]))
    for trajectory in moving.values():
        stamps_ns = stamps_ns[trajectory.within(stamps_ns, max_gap_s)]
    if not len(stamps_ns):
        raise BagError(f'the {what} share no time with gaps of at most {max_gap_s:g} s.')
    # A static edge holds at all times: what it said last.
    sampled = {
        edge: x.sampled(np.full(len(stamps_ns), x.stamps_ns[-1])) for edge, x in static.items()
    }
    sampled |= {edge: x.sampled(stamps_ns) for edge, x in moving.items()}
    positions, rotations = compose(parent_frame, [(edge, *sampled[edge]) for edge in chain])
    return Trajectory.from_samples(
        stamps_ns,
        positions,
        rotations.as_quat(),
        frame_id=parent_frame,
        child_frame_id=child_frame,
        notes=[f'{x.parent} to {x.child}: {note}' for x in moving for note in moving[x].notes],
    )


def find_chain(edges: set[Edge], parent: str, child: str) -> list[Edge] | None:
    """Shortest way from one frame to another along edges, forwards or backwards."""
    ways: dict[str, list[Edge]] = {parent: []} if any(parent in x for x in edges) else {}
    waiting = deque(ways)
    while waiting:
        frame = waiting.popleft()
        for edge in sorted(edges):
            if frame in edge and edge.other(frame) not in ways:
                ways[edge.other(frame)] = [*ways[frame], edge]
                waiting.append(edge.other(frame))
    return ways.get(child)


def _trajectories(
    bag: Bag, topic: str, chain: list[Edge]
) -> tuple[dict[Edge, Trajectory], dict[Edge, Trajectory]]:
    """Samples of the edges of a chain: of those that are static, and of those that move."""
    samples = {edge: Samples() for edge in chain}
    moving = set()
    for edge, transform, static in _transforms(bag, topic):
        if edge in samples:
            pose = POSES['geometry_msgs/msg/TransformStamped'](transform)
            if static and edge not in moving:
                samples[edge] = Samples()  # it holds until it is said anew, whatever its stamp
            samples[edge].add(stamp_ns_of(transform.header), *pose)
            moving |= set() if static else {edge}
    found = {edge: x.trajectory(*edge) for edge, x in samples.items()}
    return (
        {edge: x for edge, x in found.items() if edge not in moving},
        {edge: x for edge, x in found.items() if edge in moving},
    )


def compose(
    frame: str, chain: list[tuple[Edge, np.ndarray, Rotation]]
) -> tuple[np.ndarray, Rotation]:
    """Positions (N, 3) and rotations of the end of a chain in `frame`, from those of its edges.

    Args:
        frame: at which the chain begins.
        chain: edges with position (N, 3) or (3,) and rotation of child in parent.
    """
    positions, rotations = np.zeros(3), Rotation.from_quat((0.0, 0.0, 0.0, 1.0))
    for edge, there, rotated in chain:
        back = rotated.inv()
        step, turn = (-back.apply(there), back) if frame == edge.child else (there, rotated)
        positions, rotations = positions + rotations.apply(step), rotations * turn
        frame = edge.other(frame)
    return positions, rotations


def _transforms(bag: Bag, topic: str) -> Iterator[tuple[Edge, Any, bool]]:
    """Edge and message of each transform, and whether it is static."""
    static = f'{topic}_static'
    topics = [x for x in (topic, static) if x == topic or x in bag.topics]
    for name, _, message in bag.messages(topics):
        for transform in message.transforms:
            # tf of ROS 1 wrote frames with a slash in front.
            parent = transform.header.frame_id.lstrip('/')
            yield Edge(parent, transform.child_frame_id.lstrip('/')), transform, name == static
