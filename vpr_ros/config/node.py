"""Settings of the live node."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from vpr_ros.config.options import option
from vpr_ros.config.recognition import ModelConfig, PoseConfig, RecognizerConfig


@dataclass(frozen=True)
class NodeConfig(RecognizerConfig):
    """The live node: where images, poses and places come from and go to."""

    mode: str = option(
        'localize',
        'localize: answer from the map; map: record a new one; both: answer and extend the map',
        choices=('localize', 'map', 'both'),
    )
    map: str = option('', 'map file; empty in mode map: the new map is kept in memory only')
    map_commit_s: float = option(5.0, 'what a power cut may take from a growing map', 0.1, 3600.0)
    map_frame: str = option('map', 'frame of the poses of a new map; a loaded one has its own')
    base_frame: str = option('base_link', 'frame of the robot, whose poses are given')
    camera: str = option('', 'name of the camera in answers and in the map')
    camera_frame: str = option('camera', 'frame_id of answers to images that carry none')
    image_transport: str = option(
        'raw', 'which of the two topics of a camera is taken', choices=('raw', 'compressed')
    )
    camera_info: bool = option(
        True, 'take the model of the camera from the topic camera_info, for the geometry'
    )
    depth: bool = option(
        False, 'take depth images from the topic depth, aligned with the image, to measure poses'
    )
    depth_gap_s: float = option(
        0.05, 'largest time between an image and its depth image', 0.0, 10.0
    )
    pose_input: str = option(
        'none',
        'type of the topic odom: none, nav_msgs/Odometry, geometry_msgs/PoseStamped or '
        'geometry_msgs/PoseWithCovarianceStamped',
        choices=('none', 'odometry', 'pose', 'pose_with_covariance'),
    )
    position_sigma_m: float = option(
        5.0, 'standard deviation stated for a position that was copied from the map', 1e-3, 1e4
    )
    rotation_sigma_rad: float = option(
        0.5, 'standard deviation stated for a rotation that was copied from the map', 1e-3, math.pi
    )
    input_timeout_s: float = option(5.0, 'time without an image that is warned of', 0.1, 3600.0)
    autostart: bool = option(False, 'configure and activate without being asked')
    model: ModelConfig = field(default_factory=ModelConfig)
    pose: PoseConfig = field(default_factory=PoseConfig)
