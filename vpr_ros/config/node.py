"""Settings of the live node."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vpr_ros.config.options import option, section
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
    autosave_s: float = option(5.0, 'what a power cut may take from a growing map', 0.1, 3600.0)
    map_frame: str = option('map', 'frame of the poses of a new map; a loaded one has its own')
    base_frame: str = option('base_link', 'frame of the robot, whose poses are given')
    odom_frame: str = option(
        'odom', 'pose_input tf: frame in which the robot moves; in mode both the frame of the map'
    )
    cameras: tuple[str, ...] = option(
        ('',),
        'names of the cameras, as in the map; the topics of a camera front are front/image, '
        'front/camera_info and front/depth, of one without a name image, camera_info and depth',
    )
    camera_gap_s: float = option(
        0.03, 'several cameras: images this close in time are one query', 0.0, 10.0
    )
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
    depth_transport: str = option(
        'raw',
        'which topic of depth is taken: depth, or depth/compressedDepth in PNG',
        choices=('raw', 'compressedDepth'),
    )
    depth_gap_s: float = option(
        0.05, 'largest time between an image and its depth image', 0.0, 10.0
    )
    pose_input: str = option(
        'none',
        'where poses come from: none; the topic odom as nav_msgs/Odometry, '
        'geometry_msgs/PoseStamped or geometry_msgs/PoseWithCovarianceStamped; or tf, from '
        'odom_frame to base_frame',
        choices=('none', 'odometry', 'pose', 'pose_with_covariance', 'tf'),
    )
    query_rate: float = option(
        0.0, 'images looked at in a second, by their stamps; 0: all', 0.0, 1000.0, live=True
    )
    query_min_distance_m: float = option(
        0.0, 'an image is looked at after this way, where poses are known; 0: always', 0.0, 1e4,
        live=True,
    )  # fmt: skip
    query_min_angle_rad: float = option(
        0.0, 'or after this turn, where poses are known; 0: a turn does not count', 0.0, math.pi,
        live=True,
    )  # fmt: skip
    max_image_age_s: float = option(
        0.0, 'older images are refused, by the clock of the node; 0: any age', 0.0, 3600.0,
        live=True,
    )  # fmt: skip
    position_sigma_m: float = option(
        5.0, 'standard deviation stated for a position that was copied from the map', 1e-3, 1e4,
        live=True,
    )  # fmt: skip
    rotation_sigma_rad: float = option(
        0.5, 'standard deviation stated for a rotation that was copied from the map', 1e-3,
        math.pi, live=True,
    )  # fmt: skip
    input_timeout_s: float = option(
        5.0, 'time without an image that is an error', 0.1, 3600.0, live=True
    )
    localized_s: float = option(
        10.0, 'status: so long after an accepted match the place counts as known', 0.1, 3600.0,
        live=True,
    )  # fmt: skip
    localize_timeout_s: float = option(
        10.0, 'longest attempt of ~/trigger_localization, and of ~/localize by default', 0.1,
        3600.0, live=True,
    )  # fmt: skip
    publish_descriptor: bool = option(
        False, 'publish the descriptor of every image on ~/descriptor', live=True
    )
    autostart: bool = option(False, 'configure and activate without being asked')
    model: ModelConfig = section(ModelConfig)
    pose: PoseConfig = section(PoseConfig)
