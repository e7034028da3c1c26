"""What the live node tells about itself once a second, in words: /diagnostics."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from vpr_ros.nodes.inputs.pose_watch import PoseReport
from vpr_ros.nodes.outputs.statistics import STAGES, Figures, Recent
from vpr_ros.nodes.outputs.status import (
    NO_CLOCK,
    InputReport,
    Situation,
    dropping,
    empty_map,
    memory_mb,
    mostly_unusable,
    state_of,
    unsaved,
    unusable,
)
from vpr_ros.records import Verdict

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
WORTH_A_WARNING = 0.05  # share of dropped images; a single one now and then is only a late timer

Told = tuple[bytes, str]  # level and sentence


def diagnostics(name: str, situation: Situation, now: Time) -> DiagnosticArray:
    """An entry for each camera, poses if asked for, the recognition, the map and the model.

    Args:
        name: of the node, fully qualified, without the first slash.
        situation: what to tell.
        now: time of the node's clock.
    """
    poses = [situation.poses] if situation.poses else []
    entries = [
        *((f'input {x.topic}', _of_input(x), _input_values(x)) for x in situation.inputs),
        *((f'poses {x.source}', _of_poses(x), _pose_values(x)) for x in poses),
        ('recognition', _of_recognition(situation), _recognition_values(situation.figures)),
        ('map', _of_map(situation), _map_values(situation)),
        ('model', _of_model(situation), _model_values(situation)),
    ]
    array = DiagnosticArray(status=[_entry(name, *entry) for entry in entries])
    array.header.stamp = now
    return array


def _entry(name: str, what: str, told: Told, values: Mapping[str, str]) -> DiagnosticStatus:
    level, message = told
    return DiagnosticStatus(
        level=level,
        name=f'{name}: {what}',
        message=message,
        hardware_id=name,
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )


def _of_input(report: InputReport) -> Told:
    if report.trouble:
        return (ERROR if report.silent else WARN), report.trouble
    if not report.received:
        return OK, 'waiting for the first image'
    return OK, f'images at {report.rate_hz:.1f} Hz, the newest {report.age_s:.2f} s old'


def _input_values(report: InputReport) -> dict[str, str]:
    return {
        'topic': report.topic,
        'images received': str(report.received),
        'images lost on the way': str(report.lost),
        'images too late for the other cameras': str(report.late),
        'rate, Hz': f'{report.rate_hz:.2f}',
        'age of the newest image, s': _number(report.age_s, 3),
        **({'camera': report.camera} if report.camera else {}),
    }


def _of_poses(report: PoseReport) -> Told:
    if report.trouble:
        return ERROR, report.trouble
    if not report.known:
        return OK, 'waiting for the first image that has a pose'
    return OK, f'{report.known} of {report.known + report.unknown} images had a pose'


def _pose_values(report: PoseReport) -> dict[str, str]:
    return {'images with a pose': str(report.known), 'images without': str(report.unknown)}


def _of_recognition(situation: Situation) -> Told:
    recent = situation.figures.recent
    if situation.loading or not situation.active or situation.paused:
        return OK, state_of(situation)[1]
    if recent.errors:
        return ERROR, (
            f'{recent.errors} of the last {recent.answers} images failed, see the log: '
            f'{recent.last_error}'
        )
    if worse := _shortcoming(situation):
        return WARN, worse
    return OK, f'{_done(recent)}; {_accepted(situation.figures)}'


def _shortcoming(situation: Situation) -> str:
    """What is worth a warning, the worst first; empty: nothing."""
    recent = situation.figures.recent
    if situation.clock_stands:
        return NO_CLOCK
    if mostly_unusable(recent):
        return unusable(recent)
    if recent.lost:
        return f'{recent.lost} images lost on the way lately, see the input; {_done(recent)}'
    if recent.dropped_share > WORTH_A_WARNING:
        return f'{dropping(recent)}; {_done(recent)}'
    return ''


def _done(recent: Recent) -> str:
    if not recent.answers:
        return 'no image answered lately'
    total = recent.stages['total']
    return f'recognising at {recent.rate_hz:.1f} Hz, {total.p50_ms:.0f} ms from image to answer'


def _accepted(figures: Figures) -> str:
    told = f'{figures.accepted} accepted of {figures.answered}'
    refused = {v: n for v, n in figures.verdicts.items() if v is not Verdict.ACCEPTED and n}
    if not refused:
        return told
    return f'{told}, mostly refused: {_words(max(refused, key=lambda v: (refused[v], -v)))}'


def _words(verdict: Verdict) -> str:
    return verdict.name.lower().replace('_', ' ')


def _recognition_values(figures: Figures) -> dict[str, str]:
    recent = figures.recent
    return {
        'images answered': str(figures.answered),
        **{_words(verdict): str(figures.verdicts.get(verdict, 0)) for verdict in Verdict},
        'images dropped for a newer one': str(figures.dropped),
        'images skipped, not due or paused': str(figures.skipped),
        'loop closures': str(figures.closures),
        'loop closures accepted by back-ends': str(figures.accepted_acks),
        'loop closures rejected by back-ends': str(figures.rejected_acks),
        'loop closures pending in back-ends': str(figures.pending_acks),
        'lately: images answered': str(recent.answers),
        'lately: rate of answers, Hz': f'{recent.rate_hz:.2f}',
        'lately: images dropped, %': f'{100 * recent.dropped_share:.1f}',
        'lately: images lost on the way': str(recent.lost),
        'lately: images failed': str(recent.errors),
        **dict(_latencies(recent)),
    }


def _latencies(recent: Recent) -> Iterable[tuple[str, str]]:
    for stage in STAGES:
        if spread := recent.stages.get(stage):
            yield f'lately: {stage} p50, ms', f'{spread.p50_ms:.1f}'
            yield f'lately: {stage} p95, ms', f'{spread.p95_ms:.1f}'
            yield f'lately: {stage} max, ms', f'{spread.max_ms:.1f}'


def _of_map(situation: Situation) -> Told:
    place_map = situation.map
    if place_map is None:
        return WARN, 'there is no map: call ~/load_map or set the parameter map'
    if empty := empty_map(situation):
        return WARN, empty
    if place_map.unsaved:
        return ERROR, unsaved(place_map)
    return OK, f'mode {situation.mode}, {place_map.places} places in {place_map.path}'


def _map_values(situation: Situation) -> dict[str, str]:
    values = {'mode': situation.mode, 'model': situation.model_id}
    if (place_map := situation.map) is None:
        return values
    return {
        'path': place_map.path,
        'uuid': place_map.uuid,
        'revision': str(place_map.revision),
        'places': str(place_map.places),
        **values,
    }


def _of_model(situation: Situation) -> Told:
    placement = situation.placement
    if placement is None:
        return OK, 'no model is loaded'
    if placement.fell_back:
        return WARN, (
            f'the model left the GPU for the CPU: {placement.reason}: start the node again when '
            'the GPU works (see nvidia-smi)'
        )
    return OK, f'{situation.model_id} on {placement}'


def _model_values(situation: Situation) -> dict[str, str]:
    values = {'model': situation.model_id, 'memory of the process, MB': _number(memory_mb(), 0)}
    if (placement := situation.placement) is None:
        return values
    values |= {
        'device': placement.name(),
        'precision': placement.precision,
        'engine': placement.engine,
        'fell back to the CPU': str(placement.fell_back).lower(),
    }
    if not math.isnan(gpu := placement.gpu_memory_mb()):
        values['memory of the GPU, MB'] = _number(gpu, 0)
    return values


def _number(value: float, digits: int) -> str:
    return f'{value:.{digits}f}' if math.isfinite(value) else 'not known'
