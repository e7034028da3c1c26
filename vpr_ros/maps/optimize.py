"""A map whose loops are closed: the same places where their closures say that they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vpr_ros.config.graph import GraphConfig
from vpr_ros.errors import GraphError
from vpr_ros.maps import schema
from vpr_ros.maps.closures import FoundClosure
from vpr_ros.maps.files import copy_database, writing
from vpr_ros.maps.map_graph import MapGraph, map_graph
from vpr_ros.maps.place_map import PlaceMap
from vpr_ros.maps.pose_graph import Node, Optimized, PoseGraph, optimize
from vpr_ros.records import Place, Pose


@dataclass(frozen=True)
class ClosedMap:
    """What optimisation has made of a map."""

    map_graph: MapGraph
    optimized: Optimized

    @property
    def kept(self) -> np.ndarray:
        """Which closures were believed, (C,) bool."""
        return self.optimized.kept[self.map_graph.odometry :]

    @property
    def rejected(self) -> list[FoundClosure]:
        pairs = zip(self.map_graph.closures, self.kept, strict=True)
        return [closure for closure, kept in pairs if not kept]

    @property
    def poses(self) -> dict[int, Pose]:
        """New poses of places, by their id."""
        nodes = self.map_graph.nodes.items()
        return {place_id: self.optimized.poses[node] for place_id, node in nodes}

    @property
    def nodes(self) -> list[Node]:
        """The moments where they are now."""
        pairs = zip(self.map_graph.graph.nodes, self.optimized.poses, strict=True)
        return [Node(node.stamp_ns, pose) for node, pose in pairs]

    @property
    def graph(self) -> PoseGraph:
        """Nodes as they are now and the edges that were believed."""
        pairs = zip(self.map_graph.graph.edges, self.optimized.kept, strict=True)
        return PoseGraph(self.nodes, [edge for edge, kept in pairs if kept])

    def largest_move(self) -> tuple[int, float]:
        """The place that moved furthest, and by how many metres."""
        before = self.map_graph.graph.nodes
        moves = {
            place_id: before[node].pose.distance_m(self.optimized.poses[node])
            for place_id, node in self.map_graph.nodes.items()
        }
        place_id = max(moves, key=lambda key: moves[key])
        return place_id, moves[place_id]

    def gaps_m(self) -> tuple[np.ndarray, np.ndarray]:
        """Distance between what each believed closure states and the poses, before and after."""
        graph = self.map_graph.graph
        edges = [
            edge for edge, kept in zip(graph.edges, self.optimized.kept, strict=True)
            if kept and edge.robust
        ]  # fmt: skip

        def gaps(poses: list[Pose]) -> np.ndarray:
            return np.array([(poses[e.start] @ e.pose).distance_m(poses[e.end]) for e in edges])

        return gaps([node.pose for node in graph.nodes]), gaps(self.optimized.poses)


def close_loops(
    places: Sequence[Place], closures: Iterable[FoundClosure], config: GraphConfig | None = None
) -> ClosedMap:
    """Find where the places of a map are, given its loop closures; the places stay as they are.

    Raises:
        GraphError: no place has a pose, an edge is not sound, or GTSAM is missing.
    """
    config = config or GraphConfig()
    found = map_graph(places, closures, config)
    if not found.nodes:
        raise GraphError('no place of the map has a pose: there is nothing to optimise')
    return ClosedMap(found, optimize(found.graph, config))


def write_moved(
    place_map: PlaceMap, poses: Mapping[int, Pose], path: Path | str, overwrite: bool = False
) -> None:
    """Write a new map of the same places with other poses, whole or not at all.

    It has its own identity; descriptors, thumbnails, cameras and whatever else stay.

    Args:
        place_map: as it is.
        poses: by the id of a place.
        path: the file to write.
        overwrite: replace an existing file.

    Raises:
        MapError: the file exists or cannot be written, or there is no such place.
    """
    with writing(Path(path), overwrite) as part:
        with place_map.reading() as database:
            copy_database(database, part)
        with closing(schema.open_database(part, writable=True)) as database:
            schema.write_identity(database, schema.read_info(database, str(part)))
        with PlaceMap.open(part, None, writable=True) as moved:
            moved.move(poses)
