"""Answers as plain values, one JSON object a line."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from vpr_msgs.msg import LoopClosure, PlaceMatch
from vpr_ros.nodes.outputs.messages import stamp_ns
from vpr_ros.records import Verdict


def match_record(match: PlaceMatch) -> dict[str, Any]:
    """What an answer says, in plain values; stamps are nanoseconds, times milliseconds."""
    return {
        'query_id': match.query_id,
        'stamp_ns': stamp_ns(match.header.stamp),
        'status': Verdict(match.status).name,
        'reason': match.status_text,
        'consistent_frames': match.consistent_frames,
        'probability': _number(match.probability),
        'ambiguity': _number(match.ambiguity),
        'position_m': _position(match.pose) if match.pose_valid else None,
        'recorded_place_id': match.recorded_place_id if match.recorded else None,
        'images_dropped': match.images_dropped,
        'queue_ms': match.queue_ms,
        'preprocess_ms': match.preprocess_ms,
        'inference_ms': match.inference_ms,
        'search_ms': match.search_ms,
        'rerank_ms': match.rerank_ms,
        'verify_ms': match.verify_ms,
        'decide_ms': match.decide_ms,
        'candidates': [
            {
                'place_id': x.place_id,
                'session_id': x.session_id,
                'stamp_ns': stamp_ns(x.stamp),
                'similarity': x.similarity,
                'score': _number(x.score),
                'inliers': x.inliers,
                'position_m': _position(x.place_pose) if x.place_pose_valid else None,
            }
            for x in match.candidates
        ],
    }


def closure_record(closure: LoopClosure) -> dict[str, Any]:
    """What a loop closure says, in plain values."""
    return {
        'closure_id': closure.closure_id,
        'kind': closure.kind,
        'from_id': closure.from_id,
        'from_stamp_ns': stamp_ns(closure.from_stamp),
        'to_id': closure.to_id,
        'to_stamp_ns': stamp_ns(closure.to_stamp),
        'to_session': closure.to_session,
        'pose_kind': closure.pose_kind,
        'method': closure.method,
        'similarity': closure.similarity,
        'inliers': closure.inliers,
        'probability': _number(closure.probability),
        'consistent_frames': closure.consistent_frames,
        'position_m': _position(closure.relative_pose),
        'quaternion': _quaternion(closure.relative_pose),
        'covariance': closure.relative_pose.covariance.tolist(),
    }


def write_lines(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object a line, whole or not at all."""
    part = path.with_name(path.name + '.part')
    with part.open('w', encoding='utf-8') as file:
        file.writelines(json.dumps(record) + '\n' for record in records)
    os.replace(part, path)


def _number(value: float) -> float | None:
    """JSON knows no nan."""
    return value if math.isfinite(value) else None


def _position(pose) -> list[float]:
    position = pose.pose.position
    return [position.x, position.y, position.z]


def _quaternion(pose) -> list[float]:
    turn = pose.pose.orientation
    return [turn.x, turn.y, turn.z, turn.w]
