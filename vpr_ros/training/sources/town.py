"""Places of the synthetic town, rendered once and kept in the cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from vpr_ros.training.sources.pictures import StoredPictures
from vpr_ros.training.sources.store import Store, cache_folder, key_of
from vpr_ros.training.views import ViewSet

PLACES_PER_TOWN = 200
VERSION = 2  # of the renderer, as far as pictures change

Progress = Callable[[int, int], None]


def read_town(
    seed: int,
    places: int,
    views: int,
    workers: int | None = None,
    progress: Progress = lambda done, total: None,
) -> ViewSet:
    """Render places of synthetic towns, each view in another light.

    Args:
        seed: of the towns and of the views.
        places: how many; every PLACES_PER_TOWN of them a new town, an area of its own.
        views: of each.
        workers: processes that render; None takes one a core.
        progress: called with images done and in all.
    """
    store = Store(cache_folder(), key_of('town', VERSION, seed, places, views))
    table = store.read()
    if table is None:
        columns: dict[str, list] = {'pose': []}
        table = store.write(_pictures(seed, places, views, workers, progress, columns), columns)
    pose, place = table['pose'], np.repeat(np.arange(places), views)
    towns = -(-places // PLACES_PER_TOWN)
    names = tuple(f'town {seed}' if towns == 1 else f'town {seed}.{n}' for n in range(towns))
    return ViewSet(
        StoredPictures(store.images, [f'town {seed}, view {n}' for n in range(len(pose))]),
        pose[:, :2], pose[:, 2], place, place // PLACES_PER_TOWN,
        np.tile(np.arange(views), places), names,
    )  # fmt: skip


def _pictures(
    seed: int,
    places: int,
    views: int,
    workers: int | None,
    progress: Progress,
    columns: dict[str, list],
) -> Iterator[np.ndarray]:
    from vpr_ros.synthetic.lights import LIGHTS, Session
    from vpr_ros.synthetic.places import plan_shots, render_places, sample_places
    from vpr_ros.synthetic.scene import Scene
    from vpr_ros.synthetic.town import Town

    for number, first in enumerate(range(0, places, PLACES_PER_TOWN)):
        count = min(PLACES_PER_TOWN, places - first)
        rng = np.random.default_rng([seed, number])
        town = Town.build(int(rng.integers(1 << 31)))
        scenes = [Scene.build(town, Session.random(rng, light)) for light in LIGHTS]
        shots = plan_shots(sample_places(town, count, views, rng), scenes, rng)
        for place, pictures in zip(
            shots, render_places(scenes, shots, workers=workers), strict=True
        ):
            for shot, picture in zip(place, pictures, strict=True):
                columns['pose'].append((shot.view.x_m, shot.view.y_m, shot.view.yaw_rad))
                yield picture
            progress(len(columns['pose']), places * views)
