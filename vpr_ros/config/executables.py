"""Settings of the ROS executables that do one thing and end."""

from __future__ import annotations

from dataclasses import dataclass

from vpr_ros.config.node import NodeConfig
from vpr_ros.config.options import option, section
from vpr_ros.config.recognition import KeyframeConfig, ModelConfig, PoseConfig


@dataclass(frozen=True)
class MapBuilderConfig:
    """The ROS executable `map_builder`: a recorded drive becomes a map."""

    bag: str = option('', 'the drive: rosbag2 folder, .mcap, .db3 or ROS 1 .bag')
    map: str = option('', 'the .vprmap file to write')
    overwrite: bool = option(False, 'replace an existing map, once the new one is complete')
    image_topic: str = option('', 'of the recording; needed where it has several')
    pose_topic: str = option(
        '', 'odometry, pose or /tf topic, needed where there are several; none: without poses'
    )
    base_frame: str = option(
        NodeConfig.base_frame, 'whose poses they are, where the topic does not say'
    )
    pose_frame: str = option(
        '', 'that poses are given in, where the topic has several; of /tf: map, or else odom'
    )
    dim: int = option(0, 'compress descriptors to this length; 0: leave them whole', 0)
    model: ModelConfig = section(ModelConfig)
    keyframes: KeyframeConfig = section(KeyframeConfig)
    pose: PoseConfig = section(PoseConfig)


@dataclass(frozen=True)
class ReplayEvaluationConfig(NodeConfig):
    """The ROS executable `replay_evaluation`: settings of the node, and of what it is put to."""

    bag: str = option('', 'the drive: rosbag2 folder, .mcap, .db3 or ROS 1 .bag')
    report: str = option(
        '', 'folder to write figures and pages to; answers and log go beside it, in NAME_answers'
    )
    image_topic: str = option('', 'of the recording; needed where it has several')
    pose_topic: str = option('', 'of the recording, to be played to the node; empty: no poses')
    truth_topic: str = option(
        '', 'of the recording: poses to judge the answers by; needed where there are several'
    )
    rate: float = option(
        0.0, 'times as fast as recorded; 0: lockstep, as fast as every image is answered', 0.0, 1e3
    )
    rule: str = option('slam', 'what a true match is, as of `vpr evaluate --rule`')
    viewing_axis: str = option(
        'x',
        'axis of the base along which the camera looks',
        choices=('x', 'y', 'z', '-x', '-y', '-z'),
    )
