"""What the node is doing and which map it searches, as messages for people and machines."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from builtin_interfaces.msg import Time

from vpr_msgs.msg import MapInfo, VprStatus
from vpr_ros.maps.place_map import IN_MEMORY, PlaceMap
from vpr_ros.models.engines.runtime import Placement
from vpr_ros.nodes.inputs.flow import Flow, Trouble
from vpr_ros.nodes.inputs.pose_watch import PoseReport
from vpr_ros.nodes.outputs.messages import to_time
from vpr_ros.nodes.outputs.statistics import Figures, Recent
from vpr_ros.records import Camera

State = tuple[int, str]  # of VprStatus, and one sentence
NO_CLOCK = (
    'use_sim_time is set and nothing has come on /clock: play the recording with --clock, or '
    'leave use_sim_time false'
)


@dataclass(frozen=True)
class InputReport:
    """How one camera's topic is doing."""

    topic: str
    received: int = 0
    lost: int = 0  # on the way, as far as DDS tells
    rate_hz: float = 0.0
    age_s: float = math.inf  # of the newest image; inf: there was none
    trouble: str = ''  # one sentence; empty: none
    silent: bool = False  # the trouble is that no image comes
    late: int = 0  # after those of the other cameras
    is_late: bool = False  # the trouble is that they are
    camera: str = ''  # what is known of its model, in words; empty: it is not asked for

    @classmethod
    def of(cls, topic: str, flow: Flow, trouble: Trouble | None, camera: str = '') -> InputReport:
        return cls(
            topic,
            flow.received,
            flow.lost,
            flow.rate_hz(),
            flow.age_s(),
            trouble.text if trouble else '',
            bool(trouble and trouble.error),
            flow.late,
            bool(trouble and trouble.late),
            camera,
        )


def known_of(camera: Camera | None) -> str:
    """What CameraInfo and tf have told of a camera, in words."""
    if camera is None:
        return 'not known: no CameraInfo of a calibrated camera came'
    return 'known, and its mounting' if camera.base else 'known, its mounting not (no tf)'


@dataclass(frozen=True)
class MapReport:
    """What is told of a map: nothing here reads the file."""

    path: str
    uuid: str
    revision: int
    places: int
    unsaved: str = ''  # why its newest places are not durable; empty: they are, or will be

    @classmethod
    def of(cls, place_map: PlaceMap, unsaved: str = '') -> MapReport:
        info = place_map.info
        return cls(place_map.path, info.uuid, info.revision, len(place_map), unsaved)


@dataclass(frozen=True)
class Situation:
    """Everything that status and diagnostics are made of, at one moment."""

    mode: str  # localize, map or both
    active: bool = True
    loading: str = ''  # what is being read: 'a map', 'the model'; empty: nothing
    paused: bool = False
    localized: bool = False
    inputs: Sequence[InputReport] = ()
    figures: Figures = field(default_factory=Figures)
    map: MapReport | None = None
    model_id: str = ''
    placement: Placement | None = None
    poses: PoseReport | None = None  # None: not asked for
    clock_stands: bool = False  # simulated time was asked for and has not begun

    @property
    def lost(self) -> int:
        return sum(x.lost for x in self.inputs)

    @property
    def received(self) -> int:
        return sum(x.received for x in self.inputs)


def state_of(situation: Situation) -> State:
    """The state and one sentence on it.

    What prevents more goes first: LOADING, INACTIVE, PAUSED, STALE_INPUT, ERROR, DEGRADED; a node
    that does its work is LOCALIZED, else MAPPING in mode map, else SEARCHING. One silent camera of
    several makes the input stale: the robot is blind on that side.
    """
    return _at_rest(situation) or _in_trouble(situation) or _working(situation)


def _at_rest(situation: Situation) -> State | None:
    if situation.loading:
        return VprStatus.LOADING, f'reading {situation.loading}'
    if not situation.active:
        return VprStatus.INACTIVE, 'inactive, not listening: activate the node'
    if situation.paused:
        return VprStatus.PAUSED, 'paused, no image is looked at: call ~/resume'
    return None


def _in_trouble(situation: Situation) -> State | None:
    recent = situation.figures.recent
    if silent := [x.trouble for x in situation.inputs if x.silent]:
        return VprStatus.STALE_INPUT, '; '.join(silent)
    if recent.answers and recent.errors == recent.answers:
        return VprStatus.ERROR, f'every image fails: {recent.last_error}'
    if worse := shortcomings(situation):
        return VprStatus.DEGRADED, '; '.join(worse)
    return None


def shortcomings(situation: Situation) -> list[str]:
    """Why the node works worse than it should, in words; empty when it does not.

    Dropping images for newer ones is how it works, also where it drops most of them.
    """
    recent = situation.figures.recent
    found = []
    if situation.placement and situation.placement.fell_back:
        found.append(f'the model runs on the CPU: {situation.placement.reason}')
    if empty := empty_map(situation):
        found.append(empty)
    if situation.clock_stands:
        found.append(NO_CLOCK)
    if recent.lost:
        found.append(f'{recent.lost} images were lost on the way lately')
    if situation.map and situation.map.unsaved:
        found.append(unsaved(situation.map))
    if mostly_unusable(recent):
        found.append(unusable(recent))
    if situation.poses and situation.poses.trouble:
        found.append(situation.poses.trouble)
    return [*found, *(x.trouble for x in situation.inputs if x.is_late)]


def unsaved(place_map: MapReport) -> str:
    """Words on places that a power cut would take."""
    return f'the newest places are not saved: {place_map.unsaved}'


def mostly_unusable(recent: Recent) -> bool:
    """Whether most images show nothing: the camera is covered, or its clock is wrong."""
    return 2 * recent.unusable > recent.answers


def unusable(recent: Recent) -> str:
    """How many images show nothing, and why the newest of them does not."""
    return (
        f'{recent.unusable} of the last {recent.answers} images cannot be used: '
        f'{recent.last_unusable}'
    )


def empty_map(situation: Situation) -> str:
    """Words on a map that can answer nothing; empty when it can, or is still to grow."""
    place_map = situation.map
    if situation.mode != 'localize' or place_map is None or place_map.places:
        return ''
    return f'the map {place_map.path} is empty: record one in mode map, or load another'


def dropping(recent: Recent) -> str:
    """How many images nobody looks at, and what to do about it."""
    return (
        f'{recent.dropped_share:.0%} of the images are dropped, {recent.rate_hz:.1f} Hz are '
        'looked at: set query_rate below that, or take a faster model or processor'
    )


def _working(situation: Situation) -> State:
    figures, place_map = situation.figures, situation.map
    places = place_map.places if place_map else 0
    done = f'{figures.accepted} of {figures.answered} images accepted, {places} places in the map'
    if situation.localized:
        return VprStatus.LOCALIZED, f'the place is known: {done}'
    if situation.mode == 'map':
        return VprStatus.MAPPING, f'recording places, no loop was closed lately: {done}'
    return VprStatus.SEARCHING, f'the place is not known: {done}'


def status(situation: Situation, now: Time) -> VprStatus:
    """The message of a situation.

    Args:
        situation: it.
        now: time of the node's clock.
    """
    state, text = state_of(situation)
    figures, place_map, placement = situation.figures, situation.map, situation.placement
    verdicts = sorted(figures.verdicts.items())
    total = figures.recent.stages.get('total')
    message = VprStatus(
        state=state,
        text=text,
        mode=situation.mode,
        map_uuid=place_map.uuid if place_map else '',
        places=place_map.places if place_map else 0,
        images_received=situation.received,
        images_dropped=figures.dropped,
        images_lost=situation.lost,
        queries=figures.answered,
        accepted=figures.accepted,
        statuses=[int(verdict) for verdict, _ in verdicts],
        counts=[count for _, count in verdicts],
        last_accepted=to_time(figures.last_accepted_ns),
        closures=figures.closures,
        closures_accepted=figures.accepted_acks,
        closures_rejected=figures.rejected_acks,
        device=str(placement) if placement else '',
        latency_ms=total.p50_ms if total else math.nan,
        memory_mb=memory_mb(),
        gpu_memory_mb=placement.gpu_memory_mb() if placement else math.nan,
    )
    message.header.stamp = now
    return message


def map_info(place_map: PlaceMap | None, model_id: str, now: Time) -> MapInfo:
    """Which map is searched. It reads the file: call it in the thread that owns the map.

    Args:
        place_map: None: there is none.
        model_id: of the model that searches it.
        now: time of the node's clock.
    """
    message = MapInfo(model_id=model_id)
    message.header.stamp = now
    if place_map is None:
        return message
    info, path = place_map.info, file_of(place_map.path)
    message.header.frame_id = info.frame
    message.uuid, message.revision, message.dim = info.uuid, info.revision, info.dim
    message.url = path.as_uri() if path else ''
    message.index_type = 'exact'
    message.metric = 'cosine' if place_map.keeps_cosines else 'distance'
    message.places = len(place_map)
    message.places_with_pose = sum(place.pose is not None for place in place_map.places)
    message.sessions = len(place_map.sessions())
    message.cameras = sorted(place_map.beside.cameras)
    message.size_bytes = path.stat().st_size if path and path.exists() else 0
    message.created = info.created
    message.writable = place_map.writable
    return message


def file_of(path: str) -> Path | None:
    """The file of a map, absolute; None: it is kept in memory."""
    return None if path == IN_MEMORY else Path(path).absolute()


def memory_mb() -> float:
    """Resident memory of this process in 10^6 bytes; nan where the system does not tell."""
    try:
        pages = int(Path('/proc/self/statm').read_text(encoding='ascii').split()[1])
    except (OSError, ValueError, IndexError):
        return math.nan
    return pages * os.sysconf('SC_PAGE_SIZE') / 1e6
