from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from street_views import middle_view, view_between

from vpr_ros.synthetic.camera import Camera, Eye, View
from vpr_ros.synthetic.lights import LIGHTS, Session
from vpr_ros.synthetic.render import render, render_scene, render_with_depth
from vpr_ros.synthetic.routes import streets_alike
from vpr_ros.synthetic.visibility import SPLIT, look

CAMERA = Camera()


def likeness(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation of two pictures after light and small shifts are taken out."""
    edges = []
    for picture in (a, b):
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
        relief = grey - cv2.GaussianBlur(grey, (0, 0), 12)
        small = cv2.resize(np.abs(relief), (40, 30), interpolation=cv2.INTER_AREA)
        edges.append(small - small.mean())
    return float((edges[0] * edges[1]).sum() / np.linalg.norm(edges[0]) / np.linalg.norm(edges[1]))


def test_the_same_arguments_give_the_same_bytes(town, scene):
    view = middle_view(town, 3)
    picture = render_scene(scene, view, CAMERA)
    assert picture.shape == (240, 320, 3)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, render_scene(scene, view, CAMERA))
    np.testing.assert_array_equal(picture, render(town, scene.session, view))


def test_noise_differs_from_pose_to_pose_but_not_from_run_to_run(town, scene):
    noisy = replace(scene, session=replace(scene.session, noise=0.05))
    view = middle_view(town, 3)
    moved = replace(view, x_m=view.x_m + 1e-9)
    first = render_scene(noisy, view, CAMERA)
    np.testing.assert_array_equal(first, render_scene(noisy, view, CAMERA))
    assert (first != render_scene(noisy, moved, CAMERA)).mean() > 0.5


@pytest.mark.parametrize('pitch_rad', [0.0, 0.08])
@pytest.mark.parametrize('roll_rad', [0.0, -0.05])
def test_roofs_are_drawn_where_their_corners_project(town, scene, pitch_rad, roll_rad):
    """Where the sky begins above a facade, its edge is within a pixel of the exact place."""
    checked = 0
    scene = replace(scene, town=replace(town, trees=town.trees[:0]))  # they hide roofs
    for street in range(0, len(town.plan.streets), 3):
        view = replace(middle_view(town, street), pitch_rad=pitch_rad, roll_rad=roll_rad)
        checked += check_roof_lines(scene, view)
    assert checked > 8


def check_roof_lines(scene, view: View) -> int:
    eye = Eye.mounted(view, scene.session.camera_height_m, scene.session.camera_pitch_rad, CAMERA)
    seen = look(scene, eye)
    numbers = seen.numbers
    picture = render_scene(scene, view, CAMERA).astype(float).sum(axis=2)
    count = 0
    for number, polygon in enumerate(seen.polygons, start=1):
        corners = scene.polygons.corners_m[polygon]
        if scene.polygons.facade[polygon] < 0 or abs(scene.polygons.normal[polygon][2]) > 0.1:
            continue
        share = np.array([[0.45], [0.55]])  # two points about the middle of the upper edge
        (a, b), depth = eye.project(corners[3] + share * (corners[2] - corners[3]))
        column = round(float(a[0] + b[0]) / 2)
        if depth.min() < 1.0 or abs(b[0] - a[0]) < 0.5 or not 4 < column < CAMERA.width - 5:
            continue
        y = float(a[1] + (column - 0.25 - a[0]) * (b[1] - a[1]) / (b[0] - a[0]))
        row = round(y)
        if not 8 < row < CAMERA.height - 9:
            continue
        inked = numbers[:, SPLIT * column]
        first = int(np.flatnonzero(inked)[0])
        if inked[first] != number or (inked[first : SPLIT * (row + 5)] != number).any():
            continue  # something stands before it, or behind it against the sky
        assert abs((first + 0.5) / SPLIT - 0.5 - y) <= 0.75
        profile = np.abs(picture[row - 5 : row + 6, column] - picture[row - 5, column])
        if profile[-1] < 60.0:
            continue  # the wall is as bright as the sky
        assert abs(int((profile > profile[-1] / 2).argmax()) + row - 5 - 0.5 - y) <= 1.5
        count += 1
    return count


def nearest_m(polygons, eye: Eye, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Depth (N,) and index (N,) of the first polygon that faces each ray, tried one and all."""
    to_plane = np.einsum('ij,ij->i', polygons.normal, polygons.corners_m[:, 0] - eye.position_m)
    facing = np.flatnonzero(to_plane < -1e-3)
    normal, corners = polygons.normal[facing], polygons.corners_m[facing]
    depth = to_plane[facing] / (rays @ normal.T)  # (N, P)
    points = eye.position_m + depth[..., None] * rays[:, None]
    inside = depth > 0.15
    for k in range(corners.shape[1]):
        edge = np.roll(corners, -1, axis=1)[:, k] - corners[:, k]
        left = np.cross(normal, edge)
        inside &= np.einsum('npj,pj->np', points, left) >= (left * corners[:, k]).sum(1) - 1e-9
    depth = np.where(inside, depth, np.inf)
    return depth.min(axis=1), facing[depth.argmin(axis=1)]


def test_every_pixel_sees_what_is_nearest(town, other_scene):
    """The painter and the depth test agree with an exhaustive search, houses and cars alike."""
    rng = np.random.default_rng(0)
    checked, wrong, cars = 0, 0, 0
    for street in range(0, len(town.plan.streets), 6):
        eye = Eye.mounted(middle_view(town, street), 1.35, -0.05, CAMERA)
        seen = look(other_scene, eye)
        x, y = rng.integers(0, 320 * SPLIT, 60), rng.integers(0, 240 * SPLIT, 60)
        pixels = np.column_stack([(x + 0.5) / SPLIT - 0.5, (y + 0.5) / SPLIT - 0.5, np.ones(60)])
        depth, polygon = nearest_m(other_scene.polygons, eye, pixels @ eye.rays().T)
        depth = np.minimum(depth, ground_m(eye, pixels))
        planes = seen.planes[seen.numbers[y, x], 2]
        drawn = 1.0 / np.maximum((planes * pixels).sum(axis=1), 1e-9)
        sure = (depth < 60.0) | (np.isinf(depth))  # beyond, ornaments are left out
        close = np.isclose(drawn, depth, rtol=0.05) | (np.isinf(depth) & (drawn > 900.0))
        checked += int(sure.sum())
        wrong += int((sure & ~close).sum())
        cars += int((sure & close & (polygon >= len(town.polygons))).sum())
    assert checked > 300
    assert cars > 10
    assert wrong < 0.015 * checked  # on outlines the two may round differently


def ground_m(eye: Eye, pixels: np.ndarray) -> np.ndarray:
    down = (pixels @ eye.rays().T)[:, 2]
    return np.where(down < 0, -eye.position_m[2] / np.minimum(down, -1e-9), np.inf)


def test_look_alike_streets_look_alike_and_others_do_not(town, scene):
    (group,) = streets_alike(town.plan)
    alike = [render_scene(scene, view_between(town, *way), CAMERA) for way in group]
    plain = [
        render_scene(scene, middle_view(town, k), CAMERA)
        for k in range(0, len(town.plan.streets), 2)
        if not any(k in block.streets and block.template is not None for block in town.plan.blocks)
    ]
    same = likeness(*alike)
    different = [likeness(alike[0], picture) for picture in plain]
    assert same > 0.8
    assert max(different) < same - 0.2


def test_another_session_changes_pixels_but_not_the_place(town, scene, other_scene):
    streets = range(0, len(town.plan.streets), 7)
    noon = [render_scene(scene, middle_view(town, k), CAMERA) for k in streets]
    evening = [render_scene(other_scene, middle_view(town, k), CAMERA) for k in streets]
    changed = [np.abs(a.astype(int) - b).mean() for a, b in zip(noon, evening, strict=True)]
    assert min(changed) > 15.0
    table = np.array([[likeness(a, b) for b in noon] for a in evening])
    assert (table.argmax(axis=1) == np.arange(len(table))).mean() > 0.8


@pytest.mark.parametrize('name', LIGHTS)
def test_every_light_gives_a_usable_exposure(town, name):
    picture = render(town, Session(name, LIGHTS[name]), middle_view(town, 5))
    assert 30 < picture.mean() < 190
    assert picture.std() > 15
    assert (picture == 255).all(axis=2).mean() < 0.08


def test_a_house_in_the_face_and_a_look_at_the_sky_are_drawn(scene):
    corner = scene.town.buildings.footprints_m[0, 0]
    for view in (View(*corner, 0.3), View(-300.0, -300.0, np.pi), View(0.0, 0.0, 0.0, 0.0, -1.5)):
        assert render_scene(scene, view, Camera(60, 80, 50.0)).shape == (60, 80, 3)


def test_depth_is_what_a_ray_meets_first_and_never_a_mean(town, other_scene):
    """Against an exhaustive search: all but pixels on an edge, which see one side or the other."""
    bare = replace(other_scene, town=replace(town, trees=town.trees[:0]))
    rng, off, sky, checked = np.random.default_rng(1), 0, 0, 0
    for street in range(0, len(town.plan.streets), 8):
        view = middle_view(town, street)
        session = bare.session
        eye = Eye.mounted(view, session.camera_height_m, session.camera_pitch_rad, CAMERA)
        picture, depth = render_with_depth(bare, view, CAMERA)
        np.testing.assert_array_equal(picture, render_scene(bare, view, CAMERA))
        x, y = rng.integers(0, 320, 100), rng.integers(0, 240, 100)
        rays = np.column_stack([x, y, np.ones(100)]) @ eye.rays().T
        met, _ = nearest_m(bare.polygons, eye, rays)
        ground = np.where(rays[:, 2] < 0, -eye.position_m[2] / np.minimum(rays[:, 2], -1e-9), 1e9)
        expected, found = np.minimum(met, ground), depth[y, x]
        far = expected > 250.0
        sky += int((found[far] == 0.0).sum())
        off += int((np.abs(found[~far] - expected[~far]) > 0.01 * expected[~far]).sum())
        checked += int((~far).sum())
    assert checked > 300 and sky > 20
    assert off < 0.06 * checked


def test_leaves_are_as_far_as_their_tree(town, scene):
    """A tree alone on the way ahead."""
    view = middle_view(town, 3)
    session = scene.session
    eye = Eye.mounted(view, session.camera_height_m, session.camera_pitch_rad, CAMERA)
    foot = eye.position_m + 6.0 * eye.axes[2] * [1.0, 1.0, 0.0]
    tree = np.array([[foot[0], foot[1], 5.0, 0.0]])
    alone = replace(scene, town=replace(town, trees=tree))
    bare = replace(scene, town=replace(town, trees=tree[:0]))
    depth, without = (render_with_depth(x, view, CAMERA)[1] for x in (alone, bare))
    _, far = eye.project(np.array([foot[0], foot[1], 0.0]))
    changed = depth != without
    assert changed.mean() > 0.05
    np.testing.assert_allclose(depth[changed], far, rtol=1e-5)
