"""One image that somebody asks about: answered for itself, and the live queries do not notice."""

from __future__ import annotations

from sensor_msgs.msg import CompressedImage, Image

from vpr_msgs.msg import PlaceMatch
from vpr_msgs.srv import QueryImage
from vpr_ros.errors import ImageError
from vpr_ros.nodes.outputs.messages import NOWHERE, uncertain
from vpr_ros.nodes.responder import Responder

UNANSWERED = {PlaceMatch.STATUS_NO_MAP, PlaceMatch.STATUS_BAD_IMAGE, PlaceMatch.STATUS_ERROR}


def query_image(
    responder: Responder, request: QueryImage.Request, response: QueryImage.Response
) -> QueryImage.Response:
    """Answer a request. In the worker.

    Raises:
        ImageError: there is no image in the request, or it cannot be decoded.
    """
    response.match = responder.query(image_of(request), request.top_k)
    response.success = response.match.status not in UNANSWERED
    if not response.success:
        response.message = response.match.status_text
    return response


def image_of(request: QueryImage.Request) -> Image | CompressedImage:
    """The image that was given, raw before compressed.

    Raises:
        ImageError: neither has data.
    """
    if len(request.image.data):
        return request.image
    if len(request.compressed.data):
        return request.compressed
    raise ImageError('the request has no image: fill in image or compressed')


def no_match(responder: Responder, reason: str) -> PlaceMatch:
    """A match that says why there is none: nothing in it can be taken for a place or a pose."""
    config = responder.config
    match = PlaceMatch(
        map_frame=responder.recognizer.place_map.info.frame,
        status=PlaceMatch.STATUS_ERROR,
        status_text=reason,
        probability=float('nan'),
        ambiguity=float('nan'),
        pose=uncertain(NOWHERE, config),
    )
    match.header.frame_id = config.camera_frame
    return match
