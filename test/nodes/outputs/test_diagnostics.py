"""/diagnostics says in words what is well and what to do about what is not."""

from contextlib import ExitStack
from dataclasses import replace

import pytest
import torch
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from waiting import eventually

from vpr_ros.models.engines.runtime import Placement
from vpr_ros.nodes.inputs.image_input import ImageInput
from vpr_ros.nodes.inputs.pose_watch import PoseReport
from vpr_ros.nodes.outputs.diagnostics import diagnostics
from vpr_ros.nodes.outputs.statistics import STAGES, Figures, Recent, Spread
from vpr_ros.nodes.outputs.status import InputReport, MapReport, Situation
from vpr_ros.records import Verdict

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
NOW = Time(sec=7)
TOPIC = '/front/image'
TIMEOUT_S = 0.5
CPU = Placement(torch.device('cpu'), 'bf16', 'the processor has amx_bf16')
STAGE_MS = {stage: Spread(45.2, 60.0, 81.0) for stage in STAGES}
FIGURES = Figures(
    {Verdict.ACCEPTED: 210, Verdict.LOW_SIMILARITY: 600, Verdict.AMBIGUOUS: 42},
    dropped=3, skipped=4, closures=9, acks={0: 1, 1: 2, 2: 3},
    recent=Recent(100, rate_hz=14.83, stages=STAGE_MS),
)  # fmt: skip
WELL = Situation(
    'localize',
    inputs=(InputReport(TOPIC, 900, 0, 29.97, 0.031),),
    figures=FIGURES,
    map=MapReport('house.vprmap', 'some-uuid', 3, 120),
    model_id='sage_test:0123',
    placement=CPU,
)


def told(situation, name='robot/place_recognition'):
    """Entries by the second half of their names."""
    array = diagnostics(name, situation, NOW)
    assert array.header.stamp == NOW
    assert all(x.hardware_id == name and x.name.startswith(f'{name}: ') for x in array.status)
    assert all(x.message and '\n' not in x.message for x in array.status)
    return {x.name.removeprefix(f'{name}: '): x for x in array.status}


def values(entry):
    found = {x.key: x.value for x in entry.values}
    assert len(found) == len(entry.values)
    return found


def recently(**changes):
    return replace(WELL, figures=replace(FIGURES, recent=replace(FIGURES.recent, **changes)))


def test_when_all_is_well():
    entries = told(WELL)
    assert list(entries) == [f'input {TOPIC}', 'recognition', 'map', 'model']
    assert {entry.level for entry in entries.values()} == {OK}
    assert entries[f'input {TOPIC}'].message == 'images at 30.0 Hz, the newest 0.03 s old'
    assert entries['recognition'].message == (
        'recognising at 14.8 Hz, 45 ms from image to answer; 210 accepted of 852, mostly refused: '
        'low similarity'
    )
    assert entries['map'].message == 'mode localize, 120 places in house.vprmap'
    assert entries['model'].message == (
        'sage_test:0123 on cpu, bf16, torch (the processor has amx_bf16)'
    )


def test_every_figure_has_a_name_and_a_unit():
    entries = told(WELL)
    found = values(entries['recognition'])
    assert found['images answered'] == '852' and found['accepted'] == '210'
    assert found['low similarity'] == '600' and found['bad image'] == '0'
    assert (
        found['images dropped for a newer one'] == '3'
        and found['images skipped, not due or paused'] == '4'
    )
    assert found['loop closures'] == '9'
    assert [found[f'loop closures {x}'] for x in (
        'accepted by back-ends', 'rejected by back-ends', 'pending in back-ends',
    )] == ['2', '3', '1']  # fmt: skip
    for stage in STAGES:
        assert found[f'lately: {stage} p50, ms'] == '45.2'
        assert found[f'lately: {stage} p95, ms'] == '60.0'
    assert values(entries[f'input {TOPIC}'])['age of the newest image, s'] == '0.031'
    found = values(entries['map'])
    assert found['uuid'] == 'some-uuid' and found['revision'] == '3' and found['places'] == '120'
    found = values(entries['model'])
    assert found['precision'] == 'bf16' and found['device'] == 'cpu'
    assert float(found['memory of the process, MB']) > 10
    assert 'memory of the GPU, MB' not in found


@pytest.mark.parametrize(
    ('situation', 'entry', 'level', 'words'),
    [
        (recently(errors=2, last_error='no memory'), 'recognition', ERROR, 'no memory'),
        (recently(lost=5), 'recognition', WARN, '5 images lost on the way lately'),
        (recently(unusable=51, last_unusable='it is black'), 'recognition', WARN, 'it is black'),
        (recently(unusable=50, last_unusable='it is black'), 'recognition', OK, 'recognising'),
        (recently(dropped=100), 'recognition', WARN, '50% of the images are dropped, 14.8 Hz'),
        (recently(dropped=100), 'recognition', WARN, 'set query_rate'),
        (replace(WELL, clock_stands=True), 'recognition', WARN, 'nothing has come on /clock'),
        (recently(dropped=2), 'recognition', OK, 'recognising at 14.8 Hz'),
        (replace(WELL, figures=Figures()), 'recognition', OK, 'no image answered lately'),
        (replace(WELL, active=False), 'recognition', OK, 'inactive'),
        (replace(WELL, paused=True), 'recognition', OK, 'paused'),
        (replace(WELL, loading='a map'), 'recognition', OK, 'reading a map'),
        (replace(WELL, map=replace(WELL.map, places=0)), 'map', WARN, 'is empty'),
        (replace(WELL, mode='map', map=replace(WELL.map, places=0)), 'map', OK, '0 places'),
        (replace(WELL, map=replace(WELL.map, unsaved='no room')), 'map', ERROR, 'saved: no room'),
        (replace(WELL, poses=PoseReport('/o', 3, 1)), 'poses /o', OK, '3 of 4 images had a pose'),
        (replace(WELL, poses=PoseReport('/o', 0, 1)), 'poses /o', OK, 'waiting for the first'),
        (replace(WELL, poses=PoseReport('/o', 3, 9, 'no pose')), 'poses /o', ERROR, 'no pose'),
        (replace(WELL, map=None), 'map', WARN, '~/load_map'),
        (replace(WELL, placement=None), 'model', OK, 'no model is loaded'),
        (
            replace(WELL, placement=replace(CPU, fell_back=True, reason='the GPU failed: gone')),
            'model',
            WARN,
            'left the GPU for the CPU: the GPU failed: gone: start the node again',
        ),
        (replace(WELL, inputs=(InputReport(TOPIC),)), f'input {TOPIC}', OK, 'waiting'),
        (
            replace(WELL, inputs=(InputReport(TOPIC, 9, 2, trouble='images are lost'),)),
            f'input {TOPIC}',
            WARN,
            'images are lost',
        ),
    ],
)
def test_trouble_has_a_level_and_words(situation, entry, level, words):
    found = told(situation)[entry]
    assert found.level == level and words in found.message


class Listening:
    """One camera's topic as the node has it: a reliable subscription, by an override."""

    def __init__(self, context, stack):
        override = Parameter(f'qos_overrides.{TOPIC}.subscription.reliability', value='reliable')
        self.node = Node('listens', context=context, parameter_overrides=[override])
        stack.callback(self.node.destroy_node)
        self.input = ImageInput(self.node, 'front', 'raw', lambda received: None, stack)

    def situation(self):
        trouble = self.input.trouble(TIMEOUT_S)
        return replace(WELL, inputs=(InputReport.of(TOPIC, self.input.flow, trouble),))


@pytest.fixture
def hear(context, spin):
    """What another node reads on /diagnostics while a camera offers images in some quality."""
    stack = ExitStack()

    def arrived(reliability, images=0):
        listening, camera = Listening(context, stack), Node('camera', context=context)
        stack.callback(camera.destroy_node)
        qos = QoSProfile(depth=5, reliability=reliability)
        publisher = camera.create_publisher(Image, TOPIC, qos)
        heard = []
        camera.create_subscription(DiagnosticArray, '/diagnostics', heard.append, 10)
        out = listening.node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        spin(listening.node, camera)
        eventually(lambda: out.get_subscription_count() and listening.node.count_publishers(TOPIC))
        if images:
            eventually(publisher.get_subscription_count)
            publisher.publish(Image())
            eventually(lambda: listening.input.flow.received)
        else:
            eventually(lambda: listening.input.trouble(TIMEOUT_S))
        out.publish(diagnostics('place_recognition', listening.situation(), NOW))
        eventually(lambda: heard)
        return heard[0].status[0]

    with stack:
        yield arrived


def test_incompatible_quality_of_service_over_dds(hear):
    entry = hear(ReliabilityPolicy.BEST_EFFORT)
    assert entry.level == ERROR and entry.name == f'place_recognition: input {TOPIC}'
    assert 'requested: reliable, volatile, keep last 5;' in entry.message
    assert 'offered by /camera: best effort, volatile' in entry.message
    assert f'set qos_overrides.{TOPIC}.subscription.reliability to best_effort' in entry.message


def test_a_silent_publisher_over_dds(hear):
    entry = hear(ReliabilityPolicy.RELIABLE)
    assert entry.level == ERROR
    assert f'no image on {TOPIC}' in entry.message
    assert entry.message.endswith('though compatible: is /camera paused?')
    assert 'requested: reliable' in entry.message
    assert 'offered by /camera: reliable' in entry.message


def test_an_image_ends_the_trouble_over_dds(hear):
    entry = hear(ReliabilityPolicy.RELIABLE, images=1)
    assert entry.level == OK and entry.message.startswith('images at')
