"""State and sentence for every situation; what is told of a map is what the map is."""

import math
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlparse

import numpy as np
import pytest
import torch
from builtin_interfaces.msg import Time

from vpr_msgs.msg import VprStatus
from vpr_ros.maps.compress import Compression, compress
from vpr_ros.maps.place_map import IN_MEMORY, PlaceMap
from vpr_ros.models.engines.runtime import Placement
from vpr_ros.nodes.inputs.flow import Flow, Trouble
from vpr_ros.nodes.inputs.pose_watch import PoseReport
from vpr_ros.nodes.outputs.statistics import Figures, Recent, Spread
from vpr_ros.nodes.outputs.status import (
    InputReport,
    MapReport,
    Situation,
    known_of,
    map_info,
    memory_mb,
    state_of,
    status,
)
from vpr_ros.records import Camera, Place, Pose, Verdict

NOW = Time(sec=7, nanosec=8)
CPU = Placement(torch.device('cpu'), 'fp32')
SILENT = InputReport('/image', trouble='no image on /image', silent=True)
FAILING = Figures(recent=Recent(answers=2, errors=2, last_error='no memory'))
DROPPING = Figures(recent=Recent(answers=4, dropped=6, rate_hz=4.2))
LOSING = Figures(recent=Recent(answers=4, lost=3))
DARK = Figures(recent=Recent(answers=4, unusable=3, last_unusable='the image is black'))
LATE = InputReport('/b', trouble='images of /b come after those', is_late=True)
POSELESS = PoseReport('/odom', 0, 9, 'no pose on /odom')
FALLEN = replace(CPU, fell_back=True, reason='the GPU failed: CUDA error: gone')
EMPTY = MapReport('a.vprmap', 'u', 1, 0)
FULL = replace(EMPTY, places=12)
BEST = Situation('localize', localized=True, map=FULL, placement=CPU, inputs=(InputReport('/i'),))


@pytest.mark.parametrize(
    ('changes', 'state', 'words'),
    [
        ({}, VprStatus.LOCALIZED, 'the place is known'),
        ({'mode': 'map'}, VprStatus.LOCALIZED, 'the place is known'),
        ({'localized': False}, VprStatus.SEARCHING, 'the place is not known'),
        ({'localized': False, 'mode': 'both'}, VprStatus.SEARCHING, '12 places in the map'),
        ({'localized': False, 'mode': 'map'}, VprStatus.MAPPING, 'recording places'),
        ({'figures': DROPPING}, VprStatus.LOCALIZED, 'the place is known'),
        ({'figures': LOSING}, VprStatus.DEGRADED, '3 images were lost'),
        ({'placement': FALLEN}, VprStatus.DEGRADED, 'CUDA error: gone'),
        ({'map': EMPTY}, VprStatus.DEGRADED, 'a.vprmap is empty'),
        ({'clock_stands': True}, VprStatus.DEGRADED, 'nothing has come on /clock'),
        (
            {'figures': DARK},
            VprStatus.DEGRADED,
            '3 of the last 4 images cannot be used: the image',
        ),
        ({'inputs': (InputReport('/a'), LATE)}, VprStatus.DEGRADED, 'of /b come after'),
        ({'poses': POSELESS}, VprStatus.DEGRADED, 'no pose on /odom'),
        ({'poses': replace(POSELESS, trouble='')}, VprStatus.LOCALIZED, 'the place is known'),
        ({'map': replace(FULL, unsaved='disk full')}, VprStatus.DEGRADED, 'not saved: disk full'),
        ({'map': EMPTY, 'mode': 'both'}, VprStatus.LOCALIZED, 'the place is known'),
        ({'figures': FAILING}, VprStatus.ERROR, 'every image fails: no memory'),
        ({'inputs': (InputReport('/a'), SILENT)}, VprStatus.STALE_INPUT, 'no image on /image'),
        ({'paused': True}, VprStatus.PAUSED, '~/resume'),
        ({'active': False}, VprStatus.INACTIVE, 'activate'),
        ({'loading': 'a map'}, VprStatus.LOADING, 'reading a map'),
    ],
)
def test_state_and_sentence(changes, state, words):
    found, text = state_of(replace(BEST, **changes))
    assert found == state and words in text
    assert '\n' not in text


def test_what_prevents_more_goes_first():
    situation = replace(BEST, placement=FALLEN)
    order = [state_of(situation)[0]]
    for changes in (
        {'figures': FAILING}, {'inputs': (SILENT,)}, {'paused': True}, {'active': False},
        {'loading': 'a map'},
    ):  # fmt: skip
        situation = replace(situation, **changes)
        order.append(state_of(situation)[0])
    assert order == [
        VprStatus.DEGRADED, VprStatus.ERROR, VprStatus.STALE_INPUT, VprStatus.PAUSED,
        VprStatus.INACTIVE, VprStatus.LOADING,
    ]  # fmt: skip


def test_some_errors_and_half_of_the_images_are_no_trouble_yet():
    recent = Recent(answers=4, errors=3, dropped=4, unusable=2)
    assert state_of(replace(BEST, figures=Figures(recent=recent)))[0] == VprStatus.LOCALIZED


def test_several_shortcomings_are_all_told():
    situation = replace(BEST, placement=FALLEN, map=EMPTY, figures=LOSING)
    text = state_of(situation)[1]
    assert 'CUDA error' in text and 'is empty' in text and 'lost' in text


def test_what_is_known_of_a_camera_is_told():
    camera = Camera((3, 4), 1.0, 1.0, 2.0, 1.5)
    assert known_of(None).startswith('not known: no CameraInfo')
    assert known_of(camera) == 'known, its mounting not (no tf)'
    assert known_of(replace(camera, base=Pose((1.0, 0.0, 0.0)))) == 'known, and its mounting'


def test_the_message_has_every_figure():
    figures = Figures(
        {Verdict.LOW_SIMILARITY: 5, Verdict.ACCEPTED: 2}, dropped=3, closures=2, acks={1: 1, 2: 4},
        last_accepted_ns=3_000_000_001, recent=Recent(7, stages={'total': Spread(45, 60, 80)}),
    )  # fmt: skip
    inputs = (InputReport('/a', 10, 1), InputReport('/b', 20, 2))
    message = status(replace(BEST, figures=figures, inputs=inputs), NOW)
    assert message.header.stamp == NOW and message.state == VprStatus.LOCALIZED
    assert list(message.statuses) == [0, 1] and list(message.counts) == [2, 5]
    assert (message.images_received, message.images_lost, message.images_dropped) == (30, 3, 3)
    assert (message.queries, message.accepted, message.closures) == (7, 2, 2)
    assert (message.closures_accepted, message.closures_rejected) == (1, 4)
    assert (message.last_accepted.sec, message.last_accepted.nanosec) == (3, 1)
    assert (message.map_uuid, message.places, message.mode) == ('u', 12, 'localize')
    assert message.latency_ms == 45.0 and math.isnan(message.gpu_memory_mb)
    assert message.device == 'cpu, fp32, torch'


def test_the_message_of_a_node_that_has_nothing_yet():
    message = status(Situation('localize', active=False), NOW)
    assert message.state == VprStatus.INACTIVE and math.isnan(message.latency_ms)
    assert message.map_uuid == message.device == ''


def test_memory_of_this_process():
    before = memory_mb()
    held = np.ones(300_000_000, np.uint8)  # much, beside what others give back meanwhile
    assert 240 < memory_mb() - before < 360 and held.any()


def test_an_input_is_reported_as_it_flows():
    flow = Flow()
    flow.arrived()
    report = InputReport.of('/image', flow, Trouble(True, 'silent'))
    assert (report.received, report.lost, report.trouble, report.silent) == (1, 0, 'silent', True)
    report = InputReport.of('/image', flow, Trouble(False, 'losses'))
    assert report.trouble == 'losses' and not report.silent
    assert InputReport.of('/image', Flow(), None).age_s == math.inf


def unit(rows, dim):
    vectors = np.random.default_rng(0).normal(size=(rows, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def filled(path, rows=3, dim=4):
    place_map = PlaceMap.create(path, 'sage_test', 'f' * 64, dim, 'odom')
    session = place_map.add_session('a')
    for row, descriptor in enumerate(unit(rows, dim)):
        pose = Pose((1.0, 0.0, 0.0)) if row else None
        place_map.add(Place(0, session, row, pose, 'front'), descriptor)
    place_map.beside.put_camera('front', Camera((4, 6), 1.0, 1.0, 2.0, 2.0))
    place_map.commit()
    return place_map


def test_what_is_told_of_a_map(tmp_path):
    path = tmp_path / 'my house.vprmap'
    with filled(path) as place_map:
        place_map.add_session('b')
        message = map_info(place_map, 'sage_test:ffff', NOW)
        report = MapReport.of(place_map)
    assert message.header.stamp == NOW and message.header.frame_id == 'odom'
    assert message.url == path.as_uri() and '%20' in message.url
    assert Path(unquote(urlparse(message.url).path)) == path
    assert (message.places, message.places_with_pose, message.sessions) == (3, 2, 2)
    assert list(message.cameras) == ['front'] and message.writable
    assert (message.index_type, message.metric, message.dim) == ('exact', 'cosine', 4)
    assert message.size_bytes > 0 and message.created.startswith('20')
    assert message.model_id == 'sage_test:ffff'
    assert (message.uuid, message.revision) == (report.uuid, report.revision)
    assert (report.path, report.places) == (str(path), 3)


def test_a_map_in_memory_has_no_address():
    with filled(IN_MEMORY) as place_map:
        message = map_info(place_map, 'm', NOW)
    assert message.url == '' and message.size_bytes == 0 and message.uuid


def test_no_map():
    message = map_info(None, 'm', NOW)
    assert message.uuid == message.url == '' and message.places == 0


def test_a_centred_map_is_searched_by_distance(tmp_path):
    filled(tmp_path / 'a.vprmap', rows=9, dim=8).close()
    compress(tmp_path / 'a.vprmap', tmp_path / 'b.vprmap', Compression(3, centred=True))
    with PlaceMap.open(tmp_path / 'b.vprmap', None) as place_map:
        message = map_info(place_map, 'm', NOW)
    assert (message.metric, message.dim, message.writable) == ('distance', 3, False)
