"""Images of several cameras of one moment are brought together. Pure; no ROS is needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vpr_ros.nodes.inputs.received import Received

NS = 1_000_000_000
PATIENCE = 3  # groups without a camera, after which it is not waited for
LATE_NS = NS  # an image that is older than others by more than this has another clock


class Rig:
    """Groups images that lie within a gap, and hands each over once, in order of time.

    A group is complete when every camera is in it that was not missing from the last three; a
    camera that delivers again is waited for again. What is complete goes at once. What is not
    goes as soon as something arrives that comes after it: another image of a camera that is in
    it, or a newer one that does not fit. So no more than one image of each camera is kept, and
    for no longer than until the next one of the same camera.

    An image that is older than what was handed over already is dropped, and `late` is told of it:
    time must not seem to go back. When it does go back, for one camera or by more than a second,
    everything starts anew. An image without a stamp goes alone, and one of an only camera at once.
    """

    def __init__(
        self,
        cameras: Sequence[str],
        gap_s: float,
        put: Callable[[tuple[Received, ...]], None],
        late: Callable[[str], None] = lambda camera: None,
    ) -> None:
        """Begin with nothing.

        Args:
            cameras: names, in the order in which images are handed over.
            gap_s: largest time between two images of a group.
            put: takes the images of a group.
            late: told of every image that is dropped, by its camera.
        """
        self._cameras = tuple(cameras)
        self._gap_ns = round(gap_s * NS)
        self._put, self._late = put, late
        self._waiting: dict[str, Received] = {}
        self._forget()

    def put(self, image: Received) -> None:
        """Take an image of one of the cameras."""
        if len(self._cameras) == 1:
            self._put((image,))
        elif image.stamp_ns == 0:
            self._hand_over_if(image.camera in self._waiting)
            self._put((image,))
        else:
            self._place(image)

    def _place(self, image: Received) -> None:
        stamp = image.stamp_ns
        if self._jumped(image):
            self._hand_over_if(bool(self._waiting))
            self._forget()
        self._newest_of[image.camera] = stamp
        self._missing[image.camera] = 0
        stamps = [waiting.stamp_ns for waiting in self._waiting.values()]
        follows = bool(stamps) and stamp > min(stamps) + self._gap_ns
        self._hand_over_if(follows or image.camera in self._waiting)
        if self._handed_ns is not None and stamp < self._handed_ns:
            self._late(image.camera)
        elif self._waiting and stamp < max(stamps) - self._gap_ns:
            self._handed_ns = stamp
            self._put((image,))
        else:
            self._waiting[image.camera] = image
            self._hand_over_if(self._complete())

    def _jumped(self, image: Received) -> bool:
        """Whether the clock of this camera, or of all of them, has gone back."""
        stamp, before = image.stamp_ns, self._newest_of.get(image.camera)
        if before is not None and stamp < before:
            return True
        return self._handed_ns is not None and stamp < self._handed_ns - LATE_NS

    def _complete(self) -> bool:
        return all(x in self._waiting or self._missing[x] >= PATIENCE for x in self._cameras)

    def _hand_over_if(self, due: bool) -> None:
        if not due:
            return
        group = tuple(self._waiting[x] for x in self._cameras if x in self._waiting)
        for camera in self._cameras:
            self._missing[camera] = 0 if camera in self._waiting else self._missing[camera] + 1
        self._waiting = {}
        self._handed_ns = max(image.stamp_ns for image in group)
        self._put(group)

    def _forget(self) -> None:
        self._newest_of: dict[str, int] = {}
        self._missing = dict.fromkeys(self._cameras, 0)
        self._handed_ns: int | None = None  # newest stamp that was handed over
