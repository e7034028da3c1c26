"""A recorded drive as every offline tool reads it: its keyframes, their poses, what was lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from vpr_ros.bags.cameras import read_camera
from vpr_ros.bags.depth import RecordedDepth, depth_topic
from vpr_ros.bags.keyframes import Keyframe, keyframes
from vpr_ros.bags.message_types import TRANSFORM_TYPE
from vpr_ros.bags.poses import Trajectory, read_trajectory
from vpr_ros.bags.reader import Bag
from vpr_ros.config import KeyframeConfig, NodeConfig, PoseConfig
from vpr_ros.errors import BagError
from vpr_ros.records import Camera, Frame

NO_POSES = NO_DEPTH = 'none'
ROOTS = ('map', 'odom')  # of tf (REP 105): the one that drifts less first

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class DriveOptions:
    """Which topics of a recording make a drive, and which of its images become places.

    Empty topics are found where there is only one choice, that of depth as `bags.depth` says;
    `pose_topic` may be NO_POSES and `depth_topic` NO_DEPTH. `base_frame` is the frame whose poses
    are given where the poses themselves do not name it, as in tf. `pose_frame` is the frame that
    they are given in; empty: any of a topic of poses, and of tf the first of ROOTS that leads on.
    """

    image_topic: str = ''
    pose_topic: str = ''
    keyframes: KeyframeConfig = KeyframeConfig()
    poses: PoseConfig = PoseConfig()
    depth_topic: str = ''
    depth_gap_s: float = NodeConfig.depth_gap_s
    base_frame: str = NodeConfig.base_frame
    pose_frame: str = ''


class Drive:
    """The images of one topic of an open recording, with the poses of another."""

    def __init__(self, bag: Bag, options: DriveOptions) -> None:
        """Choose the topics and read the poses.

        Raises:
            BagError: several topics and none named, or the one named cannot be read.
        """
        self.trajectory = _trajectory(bag, options)
        self.topic = bag.image_topic(options.image_topic or None)
        self.images = 0  # read so far
        self._bag = bag
        self._options = options
        self._depth: RecordedDepth | None = None

    def keyframes(
        self, progress: Progress = lambda done, total: None, depth: bool = False
    ) -> Iterator[Keyframe]:
        """Read the images; `progress` is called with images read and images in all.

        Args:
            progress: see above.
            depth: of the keyframes, where the recording has it; places of a map need none.

        Raises:
            BagError: the depth topic that was named is not there, or carries no depth images.
        """
        options = self._options
        if depth:
            self.open_depth()
        found = keyframes(
            self._counted(progress), self.trajectory, options.keyframes, options.poses.max_gap_s
        )
        return (replace(x, frame=self.with_depth(x.frame)) for x in found)

    def open_depth(self) -> None:
        """Begin to read depth; raises as `keyframes` does."""
        options = self._options
        if options.depth_topic == NO_DEPTH:
            return
        topic = depth_topic(self._bag, self.topic, options.depth_topic)
        self._depth = RecordedDepth(self._bag, topic, options.depth_gap_s) if topic else None

    def with_depth(self, frame: Frame) -> Frame:
        """An image of the recording, with its depth where there is some and it was opened."""
        return replace(frame, depth=self._depth.at(frame)) if self._depth else frame

    def _counted(self, progress: Progress) -> Iterator[Frame]:
        total = self._bag.count(self.topic)
        for frame in self._bag.frames(self.topic):
            self.images += 1
            progress(self.images, total)
            yield frame

    def camera(self) -> Camera | None:
        """Model of the camera, where the recording has it."""
        base = self.trajectory.child_frame_id if self.trajectory is not None else ''
        return read_camera(self._bag, self.topic, base or self._options.base_frame)

    def losses(self) -> tuple[str, ...]:
        """What could not be read so far, a sentence each."""
        bag = self._bag
        lost = tuple(f'{loss.topic}: {loss.reason}' for loss in bag.losses)
        return (*bag.notes, *lost, *(self._depth.losses() if self._depth else ()))


def _trajectory(bag: Bag, options: DriveOptions) -> Trajectory | None:
    """Poses of a recording, or None where there are none or none are wanted."""
    if options.pose_topic == NO_POSES:
        return None
    topics = [options.pose_topic] if options.pose_topic else bag.pose_topics()
    if len(topics) > 1:
        raise BagError(
            f'{bag.path} has several pose topics: name one of {", ".join(topics)}, or `none`'
        )
    if not topics:
        return None
    if bag.info(topics[0]).type == TRANSFORM_TYPE:
        return _from_tf(bag, topics[0], options)
    return read_trajectory(bag, topics[0], options.pose_frame)


def _from_tf(bag: Bag, topic: str, options: DriveOptions) -> Trajectory:
    """Poses of the base in the frame that is wanted, or in the best one that there is."""
    wanted, reasons = [options.pose_frame] if options.pose_frame else ROOTS, []
    for frame in wanted:
        try:
            return read_trajectory(bag, topic, frame, options.base_frame, options.poses.max_gap_s)
        except BagError as error:
            reasons.append(str(error))
    raise BagError(f'{reasons[-1]} Name others with pose_frame and base_frame.')
