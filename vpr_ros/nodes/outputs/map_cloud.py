"""All places of the map as one PointCloud2, coloured by their similarity to the query.

The message is put together here and not by sensor_msgs_py: that is a copy of a structured array
either way, and its `create_cloud` gives the same bytes (`test_map_cloud.py`).
"""

from __future__ import annotations

import array
import sys

import numpy as np
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from vpr_ros.nodes.outputs.colours import Scale
from vpr_ros.nodes.outputs.positions import Positions

NAMES = ('x', 'y', 'z', 'similarity', 'rgb')
POINT = np.dtype([(name, np.float32) for name in NAMES])
FIELDS = [
    PointField(name=name, offset=POINT.fields[name][1], datatype=PointField.FLOAT32, count=1)
    for name in NAMES
]  # fmt: skip
NOT_SEARCHED = 0.0  # RViz's range of colours cannot stand what is not finite


def map_cloud(
    header: Header,
    positions: Positions,
    similarities: np.ndarray | None = None,
    threshold: float = np.nan,
) -> PointCloud2:
    """Every place with a pose.

    Args:
        header: frame of the map, stamp of the query.
        positions: of the map.
        similarities: (N,), float, of the places in the order of the map, -inf where not searched;
            places beyond were not searched. None: nothing was.
        threshold: least similarity to accept, for the colours; nan: none.

    Returns:
        Fields x, y, z, similarity (0 where not searched) and rgb (packed; grey there), float32.
    """
    found = np.full(len(positions.rows), -np.inf, np.float32)
    if similarities is not None:
        inside = positions.rows < len(similarities)
        found[inside] = similarities[positions.rows[inside]]
    points = np.empty(len(found), POINT)
    points['x'], points['y'], points['z'] = positions.xyz.T
    points['similarity'] = np.where(np.isfinite(found), found, NOT_SEARCHED)
    points['rgb'] = packed(Scale.of(found, threshold).colours(found))
    return cloud(header, points)


def packed(colours: np.ndarray) -> np.ndarray:
    """Colours (N, 3) uint8 in the bits of (N,) float32, 0x00RRGGBB, as PCL and RViz read them."""
    red, green, blue = colours.T.astype(np.uint32)
    return (red << 16 | green << 8 | blue).view(np.float32)


def cloud(header: Header, points: np.ndarray) -> PointCloud2:
    """The message of points (N,) of type POINT."""
    return PointCloud2(
        header=header,
        height=1,
        width=len(points),
        fields=FIELDS,
        is_bigendian=sys.byteorder != 'little',
        point_step=POINT.itemsize,
        row_step=POINT.itemsize * len(points),
        is_dense=True,
        data=array.array('B', points.tobytes()),
    )
