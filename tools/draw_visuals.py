"""See without RViz what a person sees of the live node: one answer as a picture.

    python3 tools/draw_visuals.py answer.png --node /place_recognition --accepted

listens to ~/markers, ~/map_cloud and ~/debug_image of the node and draws the next answer: the
whole map and the surroundings of the answer from above, sizes and colours as RViz has them, and
the debug image. Points of the cloud are four pixels large, as in rviz/place_recognition.rviz.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import numpy as np
import rclpy
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, Polygon
from rclpy.qos import qos_profile_sensor_data
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import Image, PointCloud2
from visualization_msgs.msg import Marker, MarkerArray

GROUND, GRID = '#303030', '#464646'  # of RViz
NEAR = 24.0  # side of the nearer view, in diameters of the largest candidate
CAPITAL = 0.73  # height of a capital letter, of the size of its font
POINT_PX = 4
MARGIN = 1.12
DPI = 120


def main() -> int:
    arguments = parse()
    rclpy.init(args=[])
    try:
        scene = listen(arguments.node, arguments.wait, arguments.accepted)
    finally:
        rclpy.shutdown()
    if scene is None:
        sys.stderr.write(f'{arguments.node} said nothing within {arguments.wait:g} s\n')
        return 1
    draw(*scene).savefig(arguments.output, dpi=DPI)
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('output', help='the picture to write')
    parser.add_argument('--node', default='/place_recognition', help='full name of the node')
    parser.add_argument('--wait', type=float, default=60.0, help='seconds')
    parser.add_argument('--accepted', action='store_true', help='wait for an accepted answer')
    return parser.parse_args()


def listen(
    name: str, wait_s: float, accepted: bool
) -> tuple[list[Marker], PointCloud2, Image] | None:
    """Markers as a viewer holds them, cloud and image of about one answer; None: none came."""
    node = rclpy.create_node('draw_visuals')
    seen: dict[tuple[str, int], Marker] = {}
    newest: dict[str, Any] = {}

    def markers(message: MarkerArray) -> None:
        for marker in message.markers:
            seen.pop((marker.ns, marker.id), None)
            if marker.action == Marker.ADD:
                seen[marker.ns, marker.id] = marker

    node.create_subscription(MarkerArray, f'{name}/markers', markers, 1)
    node.create_subscription(PointCloud2, f'{name}/map_cloud', lambda m: newest.update(cloud=m), 1)
    node.create_subscription(
        Image, f'{name}/debug_image', lambda m: newest.update(image=m), qos_profile_sensor_data
    )
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        rclpy.spin_once(node, timeout_sec=0.1)
        verdict, paths = seen.get(('verdict', 0)), any(ns == 'paths' for ns, _ in seen)
        fits = verdict and (not accepted or verdict.text.startswith('ACCEPTED'))
        if fits and paths and len(newest) == 2:
            stamps = {str(x.header.stamp) for x in (verdict, *newest.values())}
            if len(stamps) == 1:  # all three speak of one image
                return list(seen.values()), newest['cloud'], newest['image']
    return None


def draw(markers: list[Marker], cloud: PointCloud2 | None, image: Image | None) -> Figure:
    """The whole map, the surroundings of the answer, and the debug image."""
    figure = Figure(figsize=(16, 9), facecolor='#181c22')
    whole = figure.add_axes((0.01, 0.02, 0.485, 0.96))
    near = figure.add_axes((0.505, 0.46, 0.485, 0.52))
    points = cloud_points(cloud)
    xy = np.concatenate([points[['x', 'y']].tolist() or np.empty((0, 2)), *path_points(markers)])
    view(whole, *around(xy))
    focus = [m for m in markers if m.ns in {'pose', 'candidates'} and m.id == 0]
    if focus:
        size = max((m.scale.x for m in markers if m.ns == 'candidates'), default=1.0) * NEAR
        where = focus[-1].pose.position
        view(near, np.array([where.x, where.y]), size)
    else:
        near.set_visible(False)
    for axes in (whole, near):
        draw_scene(axes, markers, points)
    if image is not None:
        beside = figure.add_axes((0.505, 0.02, 0.485, 0.42))
        beside.imshow(pixels(image))
        beside.axis('off')
    return figure


def cloud_points(cloud: PointCloud2 | None) -> np.ndarray:
    """Points (N,) with named fields."""
    if cloud is None:
        return np.empty(0, [(name, np.float32) for name in ('x', 'y', 'z', 'similarity', 'rgb')])
    fields = cloud.fields
    layout: Any = {'itemsize': cloud.point_step}
    layout |= {'names': [x.name for x in fields], 'offsets': [x.offset for x in fields]}
    return np.frombuffer(cloud.data, np.dtype(layout | {'formats': ['<f4'] * len(fields)}))


def path_points(markers: list[Marker]) -> list[np.ndarray]:
    return [np.array([(p.x, p.y) for p in m.points]) for m in markers if m.ns == 'paths']


def pixels(image: Image) -> np.ndarray:
    return np.frombuffer(image.data, np.uint8).reshape(image.height, image.width, 3)


def around(xy: np.ndarray) -> tuple[np.ndarray, float]:
    """Middle and height of a view of all points."""
    if not len(xy):
        return np.zeros(2), 10.0
    low, high = xy.min(axis=0), xy.max(axis=0)
    return (low + high) / 2, MARGIN * max(float((high - low).max()), 1.0)


def view(axes: Axes, centre: np.ndarray, size: float) -> None:
    """Look at a square from above, with a grid as RViz draws one."""
    box = axes.get_position()
    wide = box.width * 16 / (box.height * 9)
    across = size * wide if wide > 1 else size
    axes.set_xlim(centre[0] - across / 2, centre[0] + across / 2)
    axes.set_ylim(centre[1] - across / wide / 2, centre[1] + across / wide / 2)
    axes.set_facecolor(GROUND)
    axes.grid(True, color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=7, colors='#8a8f98', direction='in', pad=-12)
    for spine in axes.spines.values():
        spine.set_visible(False)


def draw_scene(axes: Axes, markers: list[Marker], points: np.ndarray) -> None:
    box = axes.get_position()
    points_per_m = box.width * 16 * 72 / float(np.diff(axes.get_xlim())[0])
    packed = np.ascontiguousarray(points['rgb']).view(np.uint32)
    colours = np.stack([packed >> 16 & 255, packed >> 8 & 255, packed & 255], axis=1) / 255
    side = POINT_PX * 72 / DPI
    order = np.argsort(points['similarity'])  # the brightest above the others
    axes.scatter(
        points['x'][order], points['y'][order], s=side**2, c=colours[order], marker='s',
        linewidths=0, zorder=2,
    )  # fmt: skip
    for marker in sorted(markers, key=lambda m: m.pose.position.z):
        DRAWN[marker.type](axes, marker, points_per_m)


def draw_line(axes: Axes, marker: Marker, points_per_m: float) -> None:
    xy = np.array([(p.x, p.y) for p in marker.points])
    width = max(marker.scale.x * points_per_m, 0.4)
    axes.plot(*xy.T, color=rgba(marker), linewidth=width, solid_capstyle='butt', zorder=1)


def draw_sphere(axes: Axes, marker: Marker, points_per_m: float) -> None:
    where, size = marker.pose.position, [marker.scale.x]
    axes.add_collection(
        EllipseCollection(
            size,
            size,
            [0],
            units='x',
            offsets=[(where.x, where.y)],
            offset_transform=axes.transData,
            facecolor=[rgba(marker)],
            zorder=3 + where.z / 1e4,
        )  # fmt: skip
    )


def draw_disc(axes: Axes, marker: Marker, points_per_m: float) -> None:
    where = marker.pose.position
    size, angle = (marker.scale.x, marker.scale.y), np.degrees(yaw(marker))
    axes.add_patch(Ellipse((where.x, where.y), *size, angle=angle, fc=rgba(marker), zorder=2.5))


def draw_arrow(axes: Axes, marker: Marker, points_per_m: float) -> None:
    length, width = marker.scale.x, marker.scale.y
    neck = 0.77 * length  # the head is 23 % of an arrow in RViz, and twice as thick
    outline = np.array([
        (0, -width / 2), (neck, -width / 2), (neck, -width), (length, 0), (neck, width),
        (neck, width / 2), (0, width / 2),
    ])  # fmt: skip
    c, s = np.cos(yaw(marker)), np.sin(yaw(marker))
    where = marker.pose.position
    corners = outline @ np.array([[c, s], [-s, c]]) + (where.x, where.y)
    axes.add_patch(Polygon(corners, fc=rgba(marker), zorder=4))


def draw_text(axes: Axes, marker: Marker, points_per_m: float) -> None:
    where, size = marker.pose.position, marker.scale.z * points_per_m / CAPITAL
    axes.text(
        where.x, where.y, marker.text, color=rgba(marker), fontsize=size, ha='center',
        va='center', zorder=5, clip_on=True,
    )  # fmt: skip


def rgba(marker: Marker) -> tuple[float, ...]:
    return marker.color.r, marker.color.g, marker.color.b, marker.color.a


def yaw(marker: Marker) -> float:
    q = marker.pose.orientation
    return float(Rotation.from_quat([q.x, q.y, q.z, q.w]).as_euler('zyx')[0])


DRAWN = {
    Marker.LINE_STRIP: draw_line,
    Marker.LINE_LIST: draw_line,
    Marker.SPHERE: draw_sphere,
    Marker.CYLINDER: draw_disc,
    Marker.ARROW: draw_arrow,
    Marker.TEXT_VIEW_FACING: draw_text,
}


if __name__ == '__main__':
    raise SystemExit(main())
