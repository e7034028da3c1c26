"""A growing map is read on from where it was; another one from its beginning."""

import numpy as np
from showing import add_place, small_map

from vpr_ros.nodes.outputs.positions import Positions
from vpr_ros.records import Place, Pose


class Counted(list):
    """A list that counts what is sliced out of it."""

    read = 0

    def __getitem__(self, key):
        found = super().__getitem__(key)
        self.read += len(found) if isinstance(key, slice) else 0
        return found


def test_only_what_was_added_is_read():
    place_map, positions = small_map(), Positions()
    place_map.places = Counted(place_map.places)
    positions.look(place_map)
    version = positions.version
    positions.look(place_map)
    assert positions.version == version and place_map.places.read == 6
    add_place(place_map, 6, 2)
    positions.look(place_map)
    assert positions.version != version and place_map.places.read == 7
    assert positions.rows.tolist() == list(range(7))
    assert positions.sessions.tolist() == [1, 1, 1, 2, 2, 2, 2]
    np.testing.assert_allclose(positions.xyz[-1], [60.0, 2.0, 0.5])


def test_places_without_a_finite_pose_are_left_out():
    place_map, positions = small_map(posed=(True, False, True, False, False, True)), Positions()
    bad = Place(0, 2, 9, Pose((np.nan, 0.0, 0.0)))
    place_map.places.append(bad)
    positions.look(place_map)
    assert positions.rows.tolist() == [0, 2, 5]


def test_another_map_and_removed_places_are_read_anew():
    first, second, positions = small_map(), small_map((False, True), (1, 1)), Positions()
    positions.look(first)
    positions.look(second)
    assert positions.rows.tolist() == [1]
    positions.look(first)
    del first.places[1]
    positions.look(first)
    assert positions.xyz[:, 0].tolist() == [0.0, 20.0, 30.0, 40.0, 50.0]
    del first.places[1]
    add_place(first, 6)
    positions.look(first)  # as many as before, others
    assert positions.xyz[:, 0].tolist() == [0.0, 30.0, 40.0, 50.0, 60.0]


def test_the_box_around_the_places():
    positions = Positions()
    assert positions.centre.tolist() == [0, 0, 0] and positions.extent_m == 0.0
    positions.look(small_map())
    np.testing.assert_allclose(positions.centre, [25.0, 1.5, 0.5])
    assert positions.extent_m == np.hypot(50.0, 1.0)
