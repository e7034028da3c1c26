"""The live node judged on a recording that is played to it over DDS."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from vpr_ros.bags.reader import open_bag
from vpr_ros.config import NodeConfig, walk
from vpr_ros.config.executables import ReplayEvaluationConfig
from vpr_ros.errors import ConfigError
from vpr_ros.evaluation.drives import DriveReport, evaluate_live
from vpr_ros.evaluation.protocols import TruthRule, preset
from vpr_ros.evaluation.report import refuse_foreign, write_report
from vpr_ros.evaluation.words import facts, headline
from vpr_ros.nodes.batch_node import BatchNode
from vpr_ros.nodes.playback.live import LiveResult, run_live
from vpr_ros.nodes.playback.node_arguments import Topics, topics_of
from vpr_ros.recognition.drive import Drive, DriveOptions


class ReplayEvaluation(BatchNode):
    """Starts the node in a ROS domain of its own, plays a drive to it, and writes a report.

    Both sides are ours, so both are given room for images (`transport.process_environment`).
    """

    def __init__(self, stop: threading.Event, **kwargs) -> None:
        super().__init__('replay_evaluation', ReplayEvaluationConfig, stop, **kwargs)

    def work(self, config: ReplayEvaluationConfig) -> str:
        report, rule = ordered(config)
        topics = found_topics(config)
        result = run_live(
            config.bag, settings_of_node(config), report.with_name(f'{report.name}_answers'),
            topics, config.rate or 1.0, not config.rate, self.stage('playing the recording'),
        )  # fmt: skip
        self._tell_live(result)
        self.stage('judging the answers')
        drive = judged(config, result, topics, rule)
        self._tell_figures(drive)
        page = write_report(drive.evaluation, report, drive.queries, drive.references)
        return f'{headline(drive.evaluation)}; wrote {page}'

    def _tell_live(self, result: LiveResult) -> None:
        latency = ', '.join(f'{name} {value:.0f} ms' for name, value in result.latency_ms.items())
        self.get_logger().info(
            f'{result.images} images, {result.answered} answered, {result.dropped} dropped for a '
            f'newer one, {result.accepted} accepted, {result.closures} loop closures; publish to '
            f'answer: {latency}; the node ended with {result.exit_code}'
        )

    def _tell_figures(self, drive: DriveReport) -> None:
        for fact in facts(drive.evaluation):
            self.get_logger().info(f'{fact.name}: {fact.value} {fact.note}'.rstrip())
        if drive.unposed:
            self.warn([f'{drive.unposed} images have no pose and were not judged'])
        self.warn(drive.losses)


def ordered(config: ReplayEvaluationConfig) -> tuple[Path, TruthRule]:
    """Where the report goes, and what a true match is.

    Raises:
        ConfigError: something is not named, or the mode cannot be judged.
        DatasetError: there is no such rule, or the folder holds something else.
    """
    for name in ('bag', 'report'):
        if not getattr(config, name):
            raise ConfigError(f'parameter {name} is empty: expected a path')
    if config.mode == 'both':
        raise ConfigError(
            'answers of mode both come from the map and the drive itself, which cannot be judged '
            'at once: use mode localize or map'
        )
    report = Path(config.report).expanduser()
    refuse_foreign(report)
    return report, preset(config.rule)


def found_topics(config: ReplayEvaluationConfig) -> Topics:
    """What of the recording is played; that it can be judged is made sure before.

    Raises:
        BagError: the recording or a topic of it cannot be read.
        ConfigError: it has no poses.
    """
    with open_bag(config.bag) as bag:
        drive = Drive(bag, DriveOptions(config.image_topic, config.truth_topic))
        if drive.trajectory is None:
            raise ConfigError(f'{config.bag} has no poses to judge the answers by')
        return topics_of(bag, drive.topic, config.pose_topic)


def settings_of_node(config: ReplayEvaluationConfig) -> dict[str, Any]:
    """What was given of the node's own settings, by their dotted names."""
    found = {}
    for name, field_, _ in walk(NodeConfig):
        value: Any = config
        for part in name.split('.'):
            value = getattr(value, part)
        if value != field_.default:
            found[name] = value
    return found


def judged(
    config: ReplayEvaluationConfig, result: LiveResult, topics: Topics, rule: TruthRule
) -> DriveReport:
    """The answers compared with the truth: places of the map, or earlier images of the drive."""
    place_map = config.map if config.mode == 'localize' else None
    options = DriveOptions(topics.image, config.truth_topic)
    return evaluate_live(
        config.bag, result.matches_file, rule, options, place_map, config.viewing_axis
    )
