"""What a person sees, published for those who look: markers, map cloud, debug image."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import ExitStack

from builtin_interfaces.msg import Time
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import Header
from visualization_msgs.msg import Marker, MarkerArray

from vpr_msgs.msg import PlaceMatch
from vpr_ros.maps.place_map import PlaceMap
from vpr_ros.nodes.outputs.debug_image import debug_image, image_message
from vpr_ros.nodes.outputs.map_cloud import map_cloud
from vpr_ros.nodes.outputs.markers import Shown, answer, paths
from vpr_ros.nodes.outputs.positions import Positions
from vpr_ros.records import Pose, Recognition, View

MARKERS_PERIOD_S = 0.2
CLOUD_PERIOD_S = 0.2
IMAGE_PERIOD_S = 0.1
PATHS_PERIOD_S = 2.0  # for those who came late, and of a growing map
QUIET_S = 2.0  # without a query, after which the map is shown by itself
LOG_PERIOD_S = 5.0
WATCHED = QoSProfile(depth=1)
CAMERA = QoSProfile(
    depth=1, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.BEST_EFFORT
)


class Outlet:
    """A topic that is served only to those who listen, and not too often."""

    def __init__(self, publisher: Publisher, period_s: float) -> None:
        self.publisher = publisher
        self._period_s, self._next_s = period_s, 0.0

    @property
    def watched(self) -> bool:
        return self.publisher.get_subscription_count() > 0

    def due(self) -> bool:
        """Whether somebody listens and the last message is long enough ago."""
        return time.monotonic() >= self._next_s and self.watched

    def publish(self, message: MarkerArray | PointCloud2 | Image) -> None:
        self._next_s = time.monotonic() + self._period_s
        self.publisher.publish(message)


class Visuals:
    """Publishes what a person looks at. One thread at a time: that of the worker."""

    def __init__(self, node: Node, stack: ExitStack) -> None:
        """Create the topics; the stack destroys them."""

        def outlet(type_: type, topic: str, qos: QoSProfile, period_s: float) -> Outlet:
            publisher = node.create_publisher(type_, topic, qos)
            stack.callback(node.destroy_publisher, publisher)
            return Outlet(publisher, period_s)

        self._markers = outlet(MarkerArray, '~/markers', WATCHED, MARKERS_PERIOD_S)
        self._cloud = outlet(PointCloud2, '~/map_cloud', WATCHED, CLOUD_PERIOD_S)
        self._image = outlet(Image, '~/debug_image', CAMERA, IMAGE_PERIOD_S)
        self._logger = node.get_logger()
        self._positions = Positions()
        self._shown = Shown()
        self._paths_of, self._paths_next_s = '', 0.0  # uuid of the map
        self._query_s = self._coloured_s = -math.inf  # when either was last seen

    @property
    def wants_similarities(self) -> bool:
        """Whether answers should carry the similarities of all places."""
        return self._cloud.watched or self._markers.watched

    def show(
        self,
        recognition: Recognition,
        match: PlaceMatch,
        views: Sequence[View],
        place_map: PlaceMap,
        pose: Pose | None = None,
    ) -> None:
        """Show one answer to whoever looks; never raises.

        Args:
            recognition: the outcome.
            match: its message.
            views: images of the query.
            place_map: that was asked.
            pose: of the query in the frame of the map; None: unknown, or in another frame.
        """
        self._query_s = time.monotonic()
        try:
            self._show_in_space(recognition, match, place_map, pose)
            if self._image.due():
                best = recognition.best
                thumbnail = place_map.thumbnail(best.place.id) if best else None
                pixels = debug_image(recognition, views, thumbnail, match.similarity_threshold)
                self._image.publish(image_message(match.header, pixels))
        except Exception as error:
            self._failed(error)

    def idle(self, place_map: PlaceMap) -> None:
        """Show the map by itself when there are no queries; to be called every second.

        Never raises.
        """
        if time.monotonic() - self._query_s < QUIET_S:
            return
        header = Header(stamp=Time(), frame_id=place_map.info.frame)
        try:
            if self._markers.due():
                self._positions.look(place_map)
                if (drawn := self._paths(header, place_map)) is not None:
                    self._markers.publish(self._shown.message(header, drawn, None))
            if self._cloud.due():
                self._positions.look(place_map)
                self._cloud.publish(map_cloud(header, self._positions))
        except Exception as error:
            self._failed(error)

    def _show_in_space(
        self, recognition: Recognition, match: PlaceMatch, place_map: PlaceMap, pose: Pose | None
    ) -> None:
        markers, cloud = self._markers.due(), self._cloud.due()
        if not (markers or cloud):
            return
        self._positions.look(place_map)
        header = Header(stamp=match.header.stamp, frame_id=match.map_frame)
        if cloud:
            self._show_cloud(header, recognition, match.similarity_threshold)
        if markers:
            # One message for both: on a topic of depth 1 the second would replace the first.
            drawn = answer(header, recognition, match, self._positions, pose)
            self._markers.publish(
                self._shown.message(header, self._paths(header, place_map), drawn)
            )

    def _show_cloud(self, header: Header, recognition: Recognition, threshold: float) -> None:
        """The cloud; without similarities only when those of before are old."""
        found, now_s = recognition.similarities, time.monotonic()
        if found is not None:
            self._coloured_s = now_s
        elif now_s - self._coloured_s < QUIET_S:
            return
        self._cloud.publish(map_cloud(header, self._positions, found, threshold))

    def _paths(self, header: Header, place_map: PlaceMap) -> list[Marker] | None:
        """The paths of the map where it is another, or time for them, else None."""
        uuid, now_s = place_map.info.uuid, time.monotonic()
        if uuid == self._paths_of and now_s < self._paths_next_s:
            return None
        self._paths_of, self._paths_next_s = uuid, now_s + PATHS_PERIOD_S
        return paths(header, self._positions)

    def _failed(self, error: Exception) -> None:
        self._logger.error(
            f'what a person sees could not be drawn: {error!r}',
            throttle_duration_sec=LOG_PERIOD_S,
        )
