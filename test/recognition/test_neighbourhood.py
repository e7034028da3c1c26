"""Neighbourhoods by pose and by time, and columns that grow."""

import numpy as np

from vpr_ros.recognition.neighbourhood import NS, PlaceArrays
from vpr_ros.records import Place, Pose


def place(x=None, stamp_s=0.0, session=1, travelled_m=None):
    pose = None if x is None else Pose((x, 0.0, 0.0))
    return Place(0, session, round(stamp_s * NS), pose, '', travelled_m)


def rows(places, row, **limits):
    return np.flatnonzero(PlaceArrays(places).neighbourhood(row, **limits)).tolist()


def test_by_distance_across_sessions():
    places = [place(0), place(4, 100), place(5.0, 900, session=2), place(5.1, 1)]
    assert rows(places, 0, distance_m=5.0) == [0, 1, 2]


def test_by_time_within_the_session_where_a_pose_is_missing():
    places = [place(0, 10), place(None, 12), place(None, 15.1), place(None, 10, session=2)]
    assert rows(places, 0) == [0, 1]
    assert rows(places, 1) == [0, 1, 2]
    assert rows(places, 3) == [3]
    assert rows(places, 1, apart_s=2.5) == [0, 1]


def test_columns_grow_row_by_row():
    places = [place(i if i % 3 else None, i, i % 2, i / 2) for i in range(100)]
    grown, whole = PlaceArrays(), PlaceArrays(places)
    for count in range(1, 101):
        assert not grown.follow(places[:count])
    assert len(grown) == 100
    for name in ('positions_m', 'stamps_ns', 'session_id', 'travelled_m', 'posed'):
        np.testing.assert_array_equal(getattr(grown, name), getattr(whole, name))
    assert grown.posed.sum() == 66
    assert (grown.neighbourhood(7) == whole.neighbourhood(7)).all()


def test_follow_notices_another_map():
    arrays = PlaceArrays([place(i) for i in range(5)])
    assert arrays.follow([place(9), place(8)])
    assert arrays.positions_m[:, 0].tolist() == [9, 8]
