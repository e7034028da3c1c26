"""Who is a true match, by hand-made poses."""

import numpy as np
import pytest

from vpr_ros.errors import DatasetError
from vpr_ros.evaluation import protocols
from vpr_ros.evaluation.protocols import PRESETS, Track, TruthRule, labelled, preset, truth

S = 1_000_000_000


def track(x, seconds=None, yaw_deg=None, **more):
    x = np.asarray(x, float)
    yaw = np.radians(np.zeros(len(x)) if yaw_deg is None else yaw_deg) / 2
    zero = np.zeros(len(x))
    return Track(
        np.round(np.asarray(range(len(x)) if seconds is None else seconds) * S).astype(np.int64),
        np.column_stack((x, zero, zero)),
        np.column_stack((zero, zero, np.sin(yaw), np.cos(yaw))),
        **more,
    )


def test_distance_parts_right_ignored_and_wrong_inclusively():
    table = truth(TruthRule('r', 4.0, 10.0), track([0.0]), track([4.0, 4.1, 10.0, 10.1]))
    assert table.positive.tolist() == [[True, False, False, False]]
    assert table.ignored.tolist() == [[False, True, True, False]]
    assert table.admissible.all()


def test_another_direction_is_wrong_whether_near_or_between():
    rule = TruthRule('r', 4.0, 10.0, heading_deg=45.0)
    table = truth(rule, track([0, 0]), track([1, 1, 8], yaw_deg=[44, 46, 90]))
    assert table.positive.tolist() == [[True, False, False]] * 2
    assert not table.ignored.any()


def test_the_viewing_axis_is_the_one_that_is_compared():
    roll = np.array([[np.sin(np.pi / 4), 0, 0, np.cos(np.pi / 4)]])  # 90 degrees about x
    rule = TruthRule('r', 4.0, heading_deg=30.0)
    for axis, same in (('x', True), ('y', False), ('z', False), ('-x', True)):
        first = Track(positions_m=np.zeros((1, 3)), quaternions=np.array([[0, 0, 0, 1.0]]),
                      viewing_axis=axis)  # fmt: skip
        second = Track(positions_m=np.zeros((1, 3)), quaternions=roll, viewing_axis=axis)
        assert truth(rule, first, second).positive.item() is same


def test_within_a_drive_only_the_old_past_is_admissible():
    table = truth(TruthRule('r', 100.0, gap_s=2.0), track([0, 1, 2, 3]))
    assert table.admissible.tolist() == [
        [False, False, False, False],
        [False, False, False, False],
        [True, False, False, False],
        [True, True, False, False],
    ]
    assert (table.positive == table.admissible).all()
    assert table.has_positive.tolist() == [False, False, True, True]


def test_every_gap_must_be_kept():
    drive = track([0, 0, 0, 60, 60], seconds=[0, 10, 40, 50, 100])
    seconds, metres = (truth(TruthRule('r', 1e3, gap_s=30, gap_m=m), drive) for m in (0, 50))
    assert np.argwhere(seconds.admissible).tolist() == [
        [2, 0], [2, 1], [3, 0], [3, 1], [4, 0], [4, 1], [4, 2], [4, 3]
    ]  # fmt: skip
    assert np.argwhere(metres.admissible).tolist() == [
        [3, 0], [3, 1], [4, 0], [4, 1], [4, 2]
    ]  # fmt: skip
    frames = truth(TruthRule('r', 1e3, gap_frames=4), drive)
    assert np.argwhere(frames.admissible).tolist() == [[4, 0]]


def test_a_query_is_never_its_own_reference():
    assert not truth(TruthRule('r', 1.0), track([0, 0])).admissible.diagonal().any()


def test_path_length_comes_from_the_wheels_where_it_is_given():
    drive = track([0, 3, 3], path_m=np.array([0.0, 7.0, 9.0]))
    assert drive.travelled_m().tolist() == [0, 7, 9]
    assert track([0, 3, 3]).travelled_m().tolist() == [0, 3, 3]
    assert Track(positions_m=np.zeros((3, 3))).travelled_m() is None  # a set, not a drive


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(1)
    drive = track(rng.uniform(0, 50, 40), yaw_deg=rng.uniform(0, 360, 40))
    rule = TruthRule('r', 5.0, 9.0, heading_deg=60, gap_s=5)
    whole = truth(rule, drive)
    monkeypatch.setattr(protocols, 'BLOCK_CELLS', 100)
    parts = truth(rule, drive)
    for name in ('positive', 'ignored', 'admissible'):
        assert (getattr(whole, name) == getattr(parts, name)).all()
    brute = [
        [abs(a - b) <= 5.0 and i - j >= 5 for j, b in enumerate(drive.positions_m[:, 0])]
        for i, a in enumerate(drive.positions_m[:, 0])
    ]
    assert (truth(TruthRule('r', 5.0, gap_s=5), drive).positive == brute).all()


def test_too_many_pairs_are_refused_with_the_limit(monkeypatch):
    monkeypatch.setattr(protocols, 'MAX_CELLS', 8)
    with pytest.raises(DatasetError, match='3 queries x 3 references are more than 8 pairs'):
        truth(TruthRule('r', 1.0), track([0, 1, 2]))


@pytest.mark.parametrize('name', PRESETS)
def test_presets_are_found_by_name(name):
    assert preset(name).name == name


def test_an_unknown_preset_names_the_known_ones():
    with pytest.raises(DatasetError, match='kitti-overlap.*known are slam, indoor'):
        preset('kitti-overlap')


@pytest.mark.parametrize('limits', [(0.0, None), (-1.0, None), (5.0, 4.0), (float('nan'), None)])
def test_a_rule_without_sense_is_refused(limits):
    with pytest.raises(DatasetError, match='positive_m'):
        TruthRule('r', *limits)


def test_a_rule_asks_only_for_what_it_needs():
    bare = Track(positions_m=np.zeros((2, 3)))
    assert truth(TruthRule('r', 1.0), bare).positive.sum() == 1
    for rule, what in (
        (TruthRule('r', 1.0, heading_deg=45), 'orientation'),
        (TruthRule('r', 1.0, gap_s=1), 'stamp'),
        (TruthRule('r', 1.0, gap_m=1), 'path length'),
    ):
        with pytest.raises(DatasetError, match=what):
            truth(rule, bare)
    with pytest.raises(DatasetError, match='position'):
        truth(TruthRule('r', 1.0), Track(stamps_ns=np.arange(2)))


def test_a_track_with_holes_is_refused():
    with pytest.raises(DatasetError, match='1 of 2 rows have no finite positions_m.*row 1'):
        Track(positions_m=np.array([[0, 0, 0], [np.nan, 0, 0]]))
    with pytest.raises(DatasetError, match=r'differ in length: \[1, 2\]'):
        Track(np.arange(2), np.zeros((1, 3)))
    with pytest.raises(DatasetError, match="'forward': expected one of x, -x"):
        Track(viewing_axis='forward')
    with pytest.raises(DatasetError, match='row 0 has a quaternion of length zero'):
        Track(quaternions=np.zeros((1, 4))).directions()


def test_labels_by_hand_admit_everything():
    table = labelled(np.eye(2, dtype=bool))
    assert table.admissible.all()
    assert not table.ignored.any()
    assert table.rule is None
