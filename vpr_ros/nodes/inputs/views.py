"""Messages of one moment to what the recogniser looks at."""

from __future__ import annotations

from collections.abc import Mapping

from std_msgs.msg import Header

from vpr_ros.bags.images import image_from_message
from vpr_ros.config import NodeConfig
from vpr_ros.errors import ImageError
from vpr_ros.nodes.inputs.depth import DepthBuffer
from vpr_ros.nodes.inputs.received import Received
from vpr_ros.records import View


def decoded(
    received: tuple[Received, ...],
    config: NodeConfig,
    depths: Mapping[str, DepthBuffer],
    age_s: float,
) -> tuple[list[View], dict[str, Header], str]:
    """Decode what each camera sent.

    Args:
        received: of one moment.
        config: settings of the node.
        depths: depth images, by the camera.
        age_s: of the images, by the clock of the node.

    Returns:
        Views of those that can be decoded, headers by the camera, and the first fault or ''.
    """
    views, headers, faults = [], {}, []
    for one in received:
        try:
            message = one.message(config.image_transport)
            headers[one.camera] = message.header
            _require_young(age_s, config.max_image_age_s)
            image = image_from_message(message)
            views.append(View(image, one.camera, depths[one.camera].at(one.stamp_ns)))
        except ImageError as error:
            faults.append(str(error))
    return views, headers, (faults or [''])[0]


def _require_young(age_s: float, limit_s: float) -> None:
    if 0.0 < limit_s < age_s:
        raise ImageError(
            f'the image is {age_s:.1f} s old and {limit_s:g} s are allowed: correct the clock of '
            'the camera or of this machine, set use_sim_time for a recording, or max_image_age_s'
        )
