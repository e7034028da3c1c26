"""A recorded drive as every offline tool reads it: its keyframes, their poses, what was lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from vpr_ros.bags.cameras import read_camera
from vpr_ros.bags.keyframes import Keyframe, keyframes
from vpr_ros.bags.poses import Trajectory, read_trajectory
from vpr_ros.bags.reader import Bag
from vpr_ros.config import KeyframeConfig, PoseConfig
from vpr_ros.errors import BagError
from vpr_ros.records import Camera, Frame

NO_POSES = 'none'

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class DriveOptions:
    """Which topics of a recording make a drive, and which of its images become places.

    Empty topics are found where there is only one choice; `pose_topic` may be NO_POSES.
    """

    image_topic: str = ''
    pose_topic: str = ''
    keyframes: KeyframeConfig = KeyframeConfig()
    poses: PoseConfig = PoseConfig()


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

    def keyframes(self, progress: Progress = lambda done, total: None) -> Iterator[Keyframe]:
        """Read the images; `progress` is called with images read and images in all."""
        options, total = self._options, self._bag.count(self.topic)

        def counted() -> Iterator[Frame]:
            for frame in self._bag.frames(self.topic):
                self.images += 1
                progress(self.images, total)
                yield frame

        return keyframes(counted(), self.trajectory, options.keyframes, options.poses.max_gap_s)

    def camera(self) -> Camera | None:
        """Model of the camera, where the recording has it."""
        base = self.trajectory.child_frame_id if self.trajectory is not None else ''
        return read_camera(self._bag, self.topic, base)

    def losses(self) -> tuple[str, ...]:
        """What could not be read so far, a sentence each."""
        bag = self._bag
        return (*bag.notes, *(f'{loss.topic}: {loss.reason}' for loss in bag.losses))


def _trajectory(bag: Bag, options: DriveOptions) -> Trajectory | None:
    """Poses of a recording, or None where there are none or none are wanted."""
    if options.pose_topic == NO_POSES:
        return None
    topics = [options.pose_topic] if options.pose_topic else bag.pose_topics()
    if len(topics) > 1:
        raise BagError(
            f'{bag.path} has several pose topics: name one of {", ".join(topics)}, or `none`'
        )
    return read_trajectory(bag, topics[0]) if topics else None
