"""What has to be listed by hand: topics, services, and the order of everything."""

from __future__ import annotations

from dataclasses import dataclass

from vpr_ros.config.executables import MapBuilderConfig
from vpr_ros.config.sockets import (
    InitialPoseConfig,
    LoopClosingConfig,
    RtabmapConfig,
    SlamToolboxConfig,
)


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
