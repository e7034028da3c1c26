"""A corrected drive written to disk, and into the map that the live node is recording."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.node import Node

from vpr_msgs.srv import MovePlaces
from vpr_ros.config.sockets import LoopClosingConfig
from vpr_ros.errors import RosError
from vpr_ros.maps.graph_files import write_g2o, write_tum
from vpr_ros.maps.pose_graph import Node as Moment
from vpr_ros.nodes.outputs.messages import to_pose, to_time
from vpr_ros.nodes.services.waiting import Waiting
from vpr_ros.nodes.sockets.corrected_path import as_poses
from vpr_ros.nodes.sockets.following import Drive
from vpr_ros.nodes.sockets.graph_worker import GraphWorker

TRAJECTORY, GRAPH = 'trajectory.tum', 'graph.g2o'

Way = tuple[np.ndarray, np.ndarray]  # stamps (n,) and poses (n, 7)


class DriveSaving:
    """Answers `~/save`: the files by the worker, the places by the live node."""

    def __init__(
        self, node: Node, config: LoopClosingConfig, worker: GraphWorker, waiting: Waiting
    ) -> None:
        self._config, self._worker, self._waiting = config, worker, waiting
        self._client = node.create_client(MovePlaces, 'move_places')
        self._service = node.resolve_service_name('move_places')

    async def save(self, drive: Drive) -> str:
        """Write what the settings ask for; in the thread of the executor, which goes on.

        Returns:
            What was done, in one sentence.

        Raises:
            VprError: something was not done; the sentence also says what was.
        """
        job = self._worker.ask(lambda: self._written(drive))
        if job is None:
            raise RosError('the queue of the optimiser is full: ask again in a moment')
        await self._waiting.until(job.done)
        way, done = job.result()
        if not self._config.move_places:
            return done or 'nothing was to be done: set output or move_places'
        try:
            moved = await self._move(way)
        except RosError as error:
            raise RosError(f'{done or "no file was asked for"}; but {error}') from None
        return f'{done}; {moved}' if done else moved

    def _written(self, drive: Drive) -> tuple[Way, str]:
        if not len(drive.graph):
            raise RosError('there is no keyframe yet: is odometry published?')
        way = drive.graph.path()
        if not self._config.output:
            return way, ''
        folder = Path(self._config.output).expanduser()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RosError(f'cannot make the folder {folder}: {error.strerror}') from None
        stamps, poses = way
        nodes = zip(stamps.tolist(), as_poses(poses), strict=True)
        write_tum(folder / TRAJECTORY, (Moment(*x) for x in nodes))
        write_g2o(folder / GRAPH, drive.graph.as_graph())
        return way, f'{len(stamps)} poses and {len(drive.graph)} keyframes written to {folder}'

    async def _move(self, way: Way) -> str:
        client = self._client
        if not client.service_is_ready():
            raise RosError(
                f'nobody serves {self._service}: no place was moved; remap move_places to the '
                'live node, or set move_places to false'
            )
        stamps, poses = way
        request = MovePlaces.Request(
            stamps=[to_time(x) for x in stamps.tolist()],
            poses=[to_pose(x) for x in as_poses(poses)],
        )
        future = client.call_async(request)
        answer = await self._answer(future)
        if answer is None:
            client.remove_pending_request(future)
            raise RosError(f'{self._service} gave no answer in {self._config.answer_s:g} s')
        if answer.result != answer.SUCCESS:
            raise RosError(f'the live node refused: {answer.message}')
        return answer.message

    async def _answer(self, future: Any) -> Any:
        """Of the live node; None when it takes too long."""
        last_s = time.monotonic() + self._config.answer_s
        await self._waiting.until(lambda: future.done() or time.monotonic() > last_s)
        return future.result() if future.done() else None
