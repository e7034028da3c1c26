"""An image message as it arrived: nobody has looked into it but for the stamp."""

from __future__ import annotations

from dataclasses import dataclass, field

from vpr_ros.nodes.inputs.cdr import AnyImage, image_message, stamp_of


@dataclass(frozen=True, slots=True)
class Received:
    """Bytes of one camera's message, and when they came by `time.perf_counter()`."""

    camera: str
    data: bytes = field(repr=False)
    arrived_s: float

    @property
    def stamp_ns(self) -> int:
        """Stamp of the header in nanoseconds, read without decoding; 0 where unreadable."""
        return stamp_of(self.data)

    def message(self, transport: str) -> AnyImage:
        """The message, its pixels not copied.

        Raises:
            ImageError: as `cdr.image_message`.
        """
        return image_message(self.data, transport)
