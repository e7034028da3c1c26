"""Write docs/reference.md: what the live node hears, says and is told, as the code has it.

    python tools/write_reference.py

Parameters come from the dataclasses, fields from the interface files, entries and sentences of the
diagnostics from the functions that say them, arguments from the launch files. Topics and services
are listed here, and test/nodes/test_reference.py compares the list with real nodes.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import re
import runpy
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vpr_ros.config import NodeConfig, Option, live_names, walk
from vpr_ros.config.executables import MapBuilderConfig
from vpr_ros.config.sockets import (
    InitialPoseConfig,
    LoopClosingConfig,
    RtabmapConfig,
    SlamToolboxConfig,
)

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / 'docs/reference.md'
TYPES = {str: 'string', int: 'integer', float: 'double', bool: 'bool'}
UNLIMITED = 1e6  # from here on a limit is only there to keep nonsense out


@dataclass(frozen=True)
class Channel:
    """A topic, service or action of the node; names are relative to it."""

    name: str
    type: str
    qos: str  # of topics: reliability, depth, and whether late subscribers get the last message
    text: str


SENSOR = 'best effort, 5'
HEARD = (
    Channel('image', 'sensor_msgs/msg/Image', SENSOR, '`image_transport` raw'),
    Channel(
        'image/compressed', 'sensor_msgs/msg/CompressedImage', SENSOR,
        '`image_transport` compressed; remap `image`, the suffix follows',
    ),
    Channel('camera_info', 'sensor_msgs/msg/CameraInfo', SENSOR, '`camera_info` true'),
    Channel(
        'depth', 'sensor_msgs/msg/Image', SENSOR,
        '`depth` true; aligned with the image, 16UC1 in mm or 32FC1 in m',
    ),
    Channel(
        'depth/compressedDepth', 'sensor_msgs/msg/CompressedImage', SENSOR,
        '`depth` true and `depth_transport` compressedDepth; remap `depth`, the suffix follows',
    ),
    Channel('odom', 'nav_msgs/msg/Odometry', SENSOR, '`pose_input` odometry'),
    Channel('odom', 'geometry_msgs/msg/PoseStamped', SENSOR, '`pose_input` pose'),
    Channel(
        'odom', 'geometry_msgs/msg/PoseWithCovarianceStamped', SENSOR,
        '`pose_input` pose_with_covariance',
    ),
    Channel('/tf', 'tf2_msgs/msg/TFMessage', 'best effort, 100', '`pose_input` tf'),
    Channel(
        '/tf_static', 'tf2_msgs/msg/TFMessage', 'reliable, 100, kept',
        '`pose_input` tf or `camera_info` true: where the cameras are mounted',
    ),
    Channel(
        '~/loop_closure_ack', 'vpr_msgs/msg/LoopClosureAck', 'reliable, 100',
        'also while inactive; back-ends say what became of a closure, and it is counted',
    ),
    Channel('bond', 'bond/msg/Status', 'reliable, 100', 'of nav2; where `bond` is installed'),
)  # fmt: skip
SAID = (
    Channel(
        '~/place_match', 'vpr_msgs/msg/PlaceMatch', 'reliable, 10',
        'for every image that is looked at, accepted or not',
    ),
    Channel(
        '~/loop_closure', 'vpr_msgs/msg/LoopClosure', 'reliable, 100',
        'for every accepted one, in every mode',
    ),
    Channel(
        '~/pose', 'geometry_msgs/msg/PoseWithCovarianceStamped', 'reliable, 10',
        'for every accepted one whose place has a pose; in the frame of the map',
    ),
    Channel(
        '~/descriptor', 'vpr_msgs/msg/GlobalDescriptor', 'reliable, 10',
        'for every camera of every query, with `publish_descriptor`',
    ),
    Channel('~/map_info', 'vpr_msgs/msg/MapInfo', 'reliable, 1, kept', 'when the map changes'),
    Channel(
        '~/status', 'vpr_msgs/msg/VprStatus', 'reliable, 1, kept',
        'every second from configuration on, and at changes of the life cycle',
    ),
    Channel(
        '/diagnostics', 'diagnostic_msgs/msg/DiagnosticArray', 'reliable, 10',
        'every second from configuration on',
    ),
    Channel(
        '~/markers', 'visualization_msgs/msg/MarkerArray', 'reliable, 1',
        'paths of the map and the newest answer, up to 5 Hz; only while somebody listens',
    ),
    Channel(
        '~/map_cloud', 'sensor_msgs/msg/PointCloud2', 'reliable, 1',
        'all places with a pose, coloured by similarity, up to 5 Hz; likewise',
    ),
    Channel(
        '~/debug_image', 'sensor_msgs/msg/Image', 'best effort, 1',
        'query beside the best place, inliers joined, up to 10 Hz; likewise',
    ),
    Channel('bond', 'bond/msg/Status', 'reliable, 5', 'of nav2; where `bond` is installed'),
)  # fmt: skip
SERVED = (
    Channel('~/load_map', 'vpr_msgs/srv/LoadMap', '', 'search another map from now on'),
    Channel('~/save_map', 'vpr_msgs/srv/SaveMap', '', 'write the map to a file, whole'),
    Channel('~/merge_map', 'vpr_msgs/srv/MergeMap', '', 'add the places of another map'),
    Channel(
        '~/move_places', 'vpr_msgs/srv/MovePlaces', '', 'better poses of the live session'
    ),
    Channel('~/query_image', 'vpr_msgs/srv/QueryImage', '', 'where is this one image?'),
    Channel('~/pause', 'std_srvs/srv/SetBool', '', 'look at no image, or go on'),
    Channel('~/resume', 'std_srvs/srv/Trigger', '', 'go on'),
    Channel(
        '~/reset', 'std_srvs/srv/Trigger', '', 'forget where the robot was, and all counts'
    ),
    Channel(
        '~/trigger_localization', 'std_srvs/srv/Trigger', '',
        'forget where the robot was, wait for an accepted match up to `localize_timeout_s`, and '
        'answer with it, or with what was seen instead',
    ),
    Channel(
        'reinitialize_global_localization', 'std_srvs/srv/Empty', '',
        'the same for nav2, answered at once; the outcome is in the log and on `~/pose`',
    ),
)  # fmt: skip
ACTION = Channel(
    '~/localize', 'vpr_msgs/action/GlobalLocalize', '',
    'as `~/trigger_localization`, with conditions, feedback and cancel',
)  # fmt: skip

MESSAGES = (
    'PlaceMatch', 'PlaceCandidate', 'LoopClosure', 'LoopClosureAck', 'VprStatus', 'MapInfo',
    'GlobalDescriptor',
)  # fmt: skip
GROUPS = {
    'Mode, map, frames': ('mode', 'map', 'autosave_s', 'map_frame', 'base_frame', 'odom_frame'),
    'Cameras': (
        'cameras', 'camera_gap_s', 'camera_frame', 'image_transport', 'camera_info', 'depth',
        'depth_transport', 'depth_gap_s',
    ),
    'Poses': ('pose_input', 'pose.'),
    'Which images are looked at': (
        'query_rate', 'query_min_distance_m', 'query_min_angle_rad', 'max_image_age_s',
    ),
    'What is told': (
        'position_sigma_m', 'rotation_sigma_rad', 'input_timeout_s', 'localized_s',
        'localize_timeout_s', 'publish_descriptor', 'autostart',
    ),
    'Model': ('model.',),
    'Search and re-ranking': ('search.', 'reranking.'),
    'Geometric verification': ('verification.',),
    'Time': ('temporal.',),
    'Decision': ('decision.',),
    'Keyframes: which images become places (modes map and both)': ('keyframes.',),
}  # fmt: skip
LAUNCH_FILES = (
    'place_recognition', 'mapping', 'map_from_bag', 'replay_evaluation', 'train', 'loop_closing',
    'with_nav2', 'with_rtabmap', 'with_slam_toolbox',
)  # fmt: skip
EXECUTABLES = {
    'map_builder': (MapBuilderConfig, 'robot.md'),
    'loop_closing': (LoopClosingConfig, 'loop_closing.md'),
    'initial_pose': (InitialPoseConfig, 'nav2.md'),
    'slam_toolbox_start': (SlamToolboxConfig, 'slam_toolbox.md'),
    'rtabmap_links': (RtabmapConfig, 'rtabmap.md'),
}


def main() -> int:
    PAGE.write_text(page(), encoding='utf-8')
    return 0


def page() -> str:
    """The whole reference, Markdown."""
    parts = (
        introduction(), topics(), services(), parameters(), messages(), service_fields(),
        diagnostics_entries(), executables(), launch_files(),
    )  # fmt: skip
    return '\n'.join(line for part in parts for line in part)


def introduction() -> Iterator[str]:
    yield '# Reference of the live node\n'
    yield 'Written by `python tools/write_reference.py` from the code; a test compares both.'
    yield 'What it all means: `concepts.md`. Node and executable are called `place_recognition`.\n'
    yield '[Topics](#topics) · [Services and action](#services-and-action) ·'
    yield '[Parameters](#parameters) · [Messages](#messages) ·'
    yield '[Fields of services and action](#fields-of-services-and-action) ·'
    yield '[Diagnostics](#diagnostics) · [Launch files](#launch-files)\n'


def topics() -> Iterator[str]:
    yield '## Topics\n'
    yield '`~` is the name of the node. *Kept*: late subscribers get the last message.\n'
    yield '### It listens to\n'
    yield 'While it is active. A camera `front` of the parameter `cameras` has `front/image`,'
    yield '`front/camera_info` and `front/depth`. The quality of service of images follows'
    yield '`qos_overrides./TOPIC.subscription.reliability` and its sisters.\n'
    yield from table(('topic', 'type', 'QoS', 'when'), map(as_row, HEARD))
    yield '### It publishes\n'
    yield 'The first four only while active.\n'
    yield from table(('topic', 'type', 'QoS', 'when'), map(as_row, SAID))


def services() -> Iterator[str]:
    yield '## Services and action\n'
    yield 'They are there from configuration on; a node that is not active says so in the answer.'
    yield 'None keeps images waiting for longer than its own work takes.\n'
    rows = [(f'`{x.name}`', f'`{x.type}`', x.text) for x in (*SERVED, ACTION)]
    yield from table(('name', 'type', 'does'), rows)
    yield 'Besides: `~/change_state`, `~/get_state` and the others of every lifecycle node, and'
    yield '`~/get_parameters`, `~/set_parameters` and the others of every node.\n'


def parameters() -> Iterator[str]:
    yield '## Parameters\n'
    yield 'Those marked *live* may change while the node is active; the others are read when it'
    yield 'is configured. The same names are the options of `vpr` and the keys in YAML.\n'
    live = set(live_names(NodeConfig))
    left = {name: (field_, type_) for name, field_, type_ in walk(NodeConfig)}
    for title, wanted in GROUPS.items():
        names = [x for x in left if x in wanted or f'{x.partition(".")[0]}.' in wanted]
        rows = [parameter_row(name, *left.pop(name), name in live) for name in names]
        yield f'### {title}\n'
        yield from table(('parameter', 'type', 'default', 'range', 'changes', 'what'), rows)
    if left:
        raise ValueError(f'these parameters are in no group of {__file__}: {", ".join(left)}')


def executables() -> Iterator[str]:
    yield '## Other executables\n'
    yield 'Their topics and what they do with a neighbour: the page named beside each.\n'
    for name, (cls, page_) in EXECUTABLES.items():
        what = (cls.__doc__ or '').splitlines()[0].partition(': ')[2]
        rows = [parameter_row(*setting, False) for setting in walk(cls)]
        yield f'### `{name}`\n'
        yield f'{what.capitalize()} See [{page_}]({page_}).\n'
        kept = [(row[0], row[1], row[2], row[3], row[5]) for row in rows]
        yield from table(('parameter', 'type', 'default', 'range', 'what'), kept)


def parameter_row(
    name: str, field_: dataclasses.Field, type_: type, live: bool
) -> tuple[str, ...]:
    option: Option = field_.metadata['option']
    return (
        f'`{name}`', TYPES.get(type_, 'string[]'), f'`{in_yaml(field_.default)}`',
        limits(option, type_), 'live' if live else '', option.help,
    )  # fmt: skip


def in_yaml(value: Any) -> str:
    if isinstance(value, tuple):
        return f'[{", ".join(map(in_yaml, value))}]'
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if value != '' else "''"


def limits(option: Option, type_: type) -> str:
    """Choices or range in words; what is only there to keep nonsense out is left out."""
    if option.choices:
        return ', '.join(option.choices)
    low, high = option.low, option.high
    if high is not None and high >= UNLIMITED:
        high = None
    if low is None and high is None:
        return ''
    if high is None:
        return f'at least {number(low)}'
    return f'{number(low)} to {number(high)}'


def number(value: float | None) -> str:
    return 'pi' if value == math.pi else f'{value:g}'


def messages() -> Iterator[str]:
    yield '## Messages\n'
    yield 'Of `vpr_msgs`. Lengths in metres, angles in radians; NaN: not known.\n'
    for name in MESSAGES:
        yield from interface(name, ROOT / f'vpr_msgs/msg/{name}.msg', ('',))


def service_fields() -> Iterator[str]:
    yield '## Fields of services and action\n'
    for channel in SERVED:
        if channel.type.startswith('vpr_msgs'):
            name = channel.type.rpartition('/')[2]
            path = ROOT / f'vpr_msgs/srv/{name}.srv'
            yield from interface(name, path, ('Request', 'Answer'))
    name = ACTION.type.rpartition('/')[2]
    path = ROOT / f'vpr_msgs/action/{name}.action'
    yield from interface(name, path, ('Goal', 'Result', 'Feedback'))


@dataclass
class Part:
    """A message, or a part of a service or an action, as its file has it."""

    rows: list[tuple[str, str, str]] = field(default_factory=list)  # type, name, meaning
    values: dict[str, list[tuple[str, str, str]]] = field(default_factory=dict)  # of a field


LINE = re.compile(r'([\w/\[\]]+)\s+(\w+)\s*(?:=\s*(\S+))?\s*(?:#\s*(.*))?')


def read_interface(text: str) -> tuple[str, list[Part]]:
    """What an interface file says of itself first, and its parts."""
    opening, _, rest = text.partition('\n\n') if text.startswith('#') else ('', '', text)
    about = [x for x in opening.splitlines() if x.startswith('#')]
    first = [x for x in opening.splitlines() if not x.startswith('#')]
    parts, constants = [Part()], []
    for line in (*first, *rest.splitlines()):
        if line == '---':
            parts.append(Part())
        elif found := LINE.fullmatch(line):
            type_, name, value, told = found.groups(default='')
            told = told.replace('one of the above', 'one of those below')
            if value:
                constants.append((value, name, told))
                continue
            parts[-1].rows.append((type_, name, told))
            if constants:
                parts[-1].values[name], constants = constants, []
        elif line and not line.startswith('#'):
            raise ValueError(f'this line of an interface file is not understood: {line}')
    return ' '.join(x.lstrip('# ') for x in about), parts


def interface(name: str, path: Path, titles: Sequence[str]) -> Iterator[str]:
    about, parts = read_interface(path.read_text(encoding='utf-8'))
    yield f'### {name}\n'
    yield f'{about}\n'
    for title, part in zip(titles, parts, strict=True):
        if title:
            yield f'**{title}**\n'
        rows = [(f'`{name}`', type_, meaning) for type_, name, meaning in part.rows]
        yield from table(('field', 'type', 'what'), rows)
        for owner, constants in part.values.items():
            yield f'Values of `{owner}`:\n'
            rows = [(value, f'`{name}`', meaning) for value, name, meaning in constants]
            yield from table(('', 'name', 'when'), rows)


def diagnostics_entries() -> Iterator[str]:
    from vpr_ros.nodes.outputs.status import state_of

    yield '## Diagnostics\n'
    yield 'An entry for each camera, and three more. Sentences and their levels, for example:\n'
    said: dict[tuple[str, str, str], None] = {}  # each once, in order
    keys: dict[str, dict[str, None]] = {}
    for situation in situations():
        for entry in entries_of(situation):
            name = entry.name.partition(': ')[2].partition(' ')[0]
            level = ('OK', 'WARN', 'ERROR')[entry.level[0]]
            said[name, level, entry.message] = None
            keys.setdefault(name, {}).update(dict.fromkeys(x.key for x in entry.values))
    for name, values in keys.items():
        title = 'input TOPIC' if name == 'input' else name
        yield f'### {title}\n'
        rows = [(level, text) for which, level, text in said if which == name]
        yield from table(('level', 'it says'), sorted(rows, key=lambda x: 'OWE'.index(x[0][0])))
        yield f'Values: {", ".join(folded(values))}.\n'
    yield '### The same in `~/status`\n'
    names = state_names()
    told = {names[state]: text for state, text in map(state_of, situations())}
    yield 'What keeps the node from more is told first, in this order:\n'
    order = ('LOADING', 'INACTIVE', 'PAUSED', 'STALE_INPUT', 'ERROR', 'DEGRADED', 'LOCALIZED')
    rows = [(f'`{x}`', told[x]) for x in (*order, 'MAPPING', 'SEARCHING')]
    yield from table(('state', 'for example'), rows)


def state_names() -> dict[int, str]:
    _, [part] = read_interface((ROOT / 'vpr_msgs/msg/VprStatus.msg').read_text(encoding='utf-8'))
    return {int(value): name for value, name, _ in part.values['state']}


def folded(keys: Iterable[str]) -> list[str]:
    """Names of values; those of the times of the stages in one."""
    found: dict[str, list[str]] = {}
    plain = []
    for key in keys:
        if match := re.fullmatch(r'lately: (\w+) (p50|p95|max), ms', key):
            found.setdefault(match[1], []).append(match[2])
        else:
            plain.append(f'`{key}`')
    if found:
        kinds = next(iter(found.values()))
        plain.append(f'`lately: STAGE KIND, ms` of {", ".join(found)}; {", ".join(kinds)}')
    return plain


def entries_of(situation: Any) -> list[Any]:
    from builtin_interfaces.msg import Time

    from vpr_ros.nodes.outputs.diagnostics import diagnostics

    return list(diagnostics('place_recognition', situation, Time()).status)


def situations() -> list[Any]:
    """Made-up moments in the life of a node, in which it says everything that it can say."""
    import torch

    from vpr_ros.models.engines.runtime import Placement
    from vpr_ros.nodes.outputs.statistics import STAGES, Figures, Recent, Spread
    from vpr_ros.nodes.outputs.status import InputReport, MapReport, Situation
    from vpr_ros.records import Verdict

    topic = '/camera/image_raw'
    hears = InputReport(topic, 900, 0, 29.97, 0.031)
    spread = dict.fromkeys(STAGES, Spread(45.0, 60.0, 81.0))
    recent = Recent(100, rate_hz=14.8, stages=spread)
    verdicts = {Verdict.ACCEPTED: 210, Verdict.LOW_SIMILARITY: 600}
    figures = Figures(verdicts, recent=recent)
    places = MapReport('office.vprmap', 'uuid', 3, 620)
    cpu = Placement(torch.device('cpu'), 'bf16', 'the processor has avx512_bf16')
    well = Situation(
        'localize', True, '', False, True, (hears,), figures, places, 'sage_nano:0', cpu
    )
    silent = f'no image on {topic}, which nobody publishes; is the camera driver running, with'
    silent += ' the same ROS_DOMAIN_ID?'
    losing = f'images of {topic} are lost on the way, 40 since the last report: ...'

    def lately(**changes: Any) -> Any:
        return replace(well, figures=replace(figures, recent=replace(recent, **changes)))

    def heard(**changes: Any) -> Any:
        return replace(well, inputs=(replace(hears, **changes),))

    lost = Placement(torch.device('cpu'), 'fp32', 'the GPU was lost', fell_back=True)
    return [
        well,
        replace(well, localized=False),
        replace(well, localized=False, mode='map'),
        Situation('localize', active=False, loading='the model'),
        replace(well, active=False),
        replace(well, paused=True),
        heard(received=0),
        heard(trouble=losing),
        heard(trouble=silent, silent=True),
        lately(errors=100, last_error='no space left on device'),
        lately(errors=3, last_error='no space left on device'),
        lately(lost=40),
        lately(dropped=400),
        lately(answers=0, stages={}),
        replace(well, map=replace(places, places=0)),
        replace(well, placement=lost),
    ]


def launch_files() -> Iterator[str]:
    yield '## Launch files\n'
    yield '`ros2 launch vpr_ros NAME.launch.py argument:=value`\n'
    for name in LAUNCH_FILES:
        module = runpy.run_path(str(ROOT / f'launch/{name}.launch.py'))
        yield f'### {name}.launch.py\n'
        yield f'{inspect.cleandoc(module["__doc__"])}\n'
        rows = [
            (
                f'`{key}`',
                'must be given' if x.default is None else f'`{in_yaml(x.default)}`',
                choice_of(x),
                x.description,
            )
            for key, x in module['ARGUMENTS'].items()
        ]
        yield from table(('argument', 'default', 'choices', 'what'), rows)


def choice_of(argument: Any) -> str:
    switch = 'True' in argument.choices
    return 'true, false' if switch else ', '.join(argument.choices)


def as_row(channel: Channel) -> tuple[str, ...]:
    return f'`{channel.name}`', f'`{channel.type}`', channel.qos, channel.text


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Lines of a Markdown table, and an empty one after it."""
    yield f'| {" | ".join(head)} |'
    yield f'|{" --- |" * len(head)}'
    for row in rows:
        cells = (cell.replace('|', '\\|') for cell in row)
        yield f'| {" | ".join(cells)} |'
    yield ''


if __name__ == '__main__':
    sys.exit(main())
