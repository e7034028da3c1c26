"""A live run without launch: the node in a process of its own, a recording played to it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile

from vpr_msgs.msg import LoopClosure, PlaceMatch
from vpr_ros.bags.reader import open_bag
from vpr_ros.errors import ConfigError
from vpr_ros.nodes.outputs.messages import stamp_ns
from vpr_ros.nodes.playback.answers import Answers
from vpr_ros.nodes.playback.node_arguments import (
    Topics,
    node_arguments,
    published_names,
    topics_of,
)
from vpr_ros.nodes.playback.node_process import node_process
from vpr_ros.nodes.playback.player import Player
from vpr_ros.nodes.playback.recorded import closure_record, match_record, write_lines
from vpr_ros.nodes.playback.replay import Lockstep, OwnTiming, Progress, ReplaySummary, play
from vpr_ros.nodes.session import spinning_node
from vpr_ros.nodes.transport import free_domain_id, process_environment
from vpr_ros.records import Verdict

CLOSURES = '/place_recognition/loop_closure'
DEPTH = 1000
START_TIMEOUT_S = 120.0  # torch, weights and a map, on a busy machine
LAST_ANSWER_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class LiveResult:
    """Figures of a live run; the answers themselves are in the two files."""

    images: int  # published, with the node listening
    losses: int  # messages of the recording that could not be read
    answered: int
    accepted: int
    closures: int
    dropped: int  # replaced by a newer image inside the node
    verdicts: dict[str, int]
    latency_ms: dict[str, float]  # from publishing to the answer: p50, p90, p99, max
    inference_ms: float  # mean
    duration_s: float
    exit_code: int  # of the node, after SIGINT
    matches_file: Path
    closures_file: Path


class Recorder:
    """Keeps every answer and closure, and how long each answer took."""

    def __init__(self, node: Node) -> None:
        self.matches: list[dict[str, Any]] = []
        self.closures: list[dict[str, Any]] = []
        self.answers = Answers(node, keep=self._take_match)
        self._published_s: dict[int, float] = {}
        node.create_subscription(
            LoopClosure, CLOSURES, self._take_closure, QoSProfile(depth=DEPTH)
        )

    def published(self, image_stamp_ns: int) -> None:
        self._published_s[image_stamp_ns] = time.perf_counter()
        self.answers.expect(image_stamp_ns)

    def _take_match(self, match: PlaceMatch) -> None:
        left_s = self._published_s[stamp_ns(match.header.stamp)]
        latency_ms = 1e3 * (time.perf_counter() - left_s)
        self.matches.append({**match_record(match), 'latency_ms': latency_ms})

    def _take_closure(self, closure: LoopClosure) -> None:
        self.closures.append(closure_record(closure))


def run_live(
    bag_path: Path | str,
    params: Mapping[str, Any],
    out: Path | str,
    topics: Topics | None = None,
    rate: float = 1.0,
    lockstep: bool = False,
    progress: Progress = lambda done, total: None,
) -> LiveResult:
    """Start the node in a ROS domain of its own, play a recording to it, tell what it answered.

    Args:
        bag_path: the recording.
        params: settings of the node by their dotted names; others keep their defaults.
        out: folder for the answers, the settings and the log of the node.
        topics: to play; None: what `topics_of` finds.
        rate: times as fast as recorded.
        lockstep: play as fast as every image is answered.
        progress: called with messages published and messages in all.

    Raises:
        BagError: the recording or a topic of it cannot be read.
        ConfigError: a setting is unknown or does not fit.
        RosError: the node ended, or did not become active.
    """
    out = _folder(out)
    environment = process_environment(free_domain_id())
    with open_bag(bag_path) as bag, spinning_node('vpr_live', environment) as node:
        topics = topics or topics_of(bag)
        arguments = node_arguments(bag, topics, params, out / 'node.yaml', reliable=lockstep)
        recorder = Recorder(node)
        player = Player(node, bag, topics.played(), published_names(bag, topics))
        pace = Lockstep(recorder.answers) if lockstep else OwnTiming(rate)
        with node_process(arguments, environment, out / 'node.log') as process:
            player.wait_for_subscriber(START_TIMEOUT_S, process.check)
            summary = play(bag, player, pace, progress, published=recorder.published)
            # Whatever was dropped before it, the newest image is always answered.
            recorder.answers.wait(LAST_ANSWER_TIMEOUT_S)
            process.check()
    return _result(recorder, summary, process.stop(), out)


def _folder(path: Path | str) -> Path:
    if Path(path).is_file():
        raise ConfigError(f'{path} is a file: expected a folder for answers, log and settings')
    Path(path).mkdir(parents=True, exist_ok=True)
    return Path(path)


def _result(recorder: Recorder, summary: ReplaySummary, exit_code: int, out: Path) -> LiveResult:
    matches, closures = out / 'place_matches.jsonl', out / 'loop_closures.jsonl'
    write_lines(matches, recorder.matches)
    write_lines(closures, recorder.closures)
    verdicts = Counter(match['status'] for match in recorder.matches)
    return LiveResult(
        images=summary.images,
        losses=summary.losses,
        answered=len(recorder.matches),
        accepted=verdicts[Verdict.ACCEPTED.name],
        closures=len(recorder.closures),
        dropped=sum(match['images_dropped'] for match in recorder.matches),
        verdicts=dict(verdicts),
        latency_ms=_percentiles([match['latency_ms'] for match in recorder.matches]),
        inference_ms=float(np.mean([x['inference_ms'] for x in recorder.matches] or [0.0])),
        duration_s=summary.duration_s,
        exit_code=exit_code,
        matches_file=matches,
        closures_file=closures,
    )


def _percentiles(values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    names = {'p50': 50, 'p90': 90, 'p99': 99, 'max': 100}
    return {name: float(np.percentile(values, share)) for name, share in names.items()}
