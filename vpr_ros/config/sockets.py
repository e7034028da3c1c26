"""Settings of the sockets: what neighbours are told, each in its own words."""

from __future__ import annotations

from dataclasses import dataclass

from vpr_ros.config.graph import GraphConfig
from vpr_ros.config.options import option, section


@dataclass(frozen=True)
class BelievedMatchConfig:
    """Which matches a socket believes that tells a localiser where the robot is."""

    global_frame: str = option(
        'map', "the localiser's map frame; a match in a frame of another name is refused"
    )
    matches: int = option(
        3, 'consistent matches to believe; consistent_frames of a match counts, too', 1, 1000
    )
    match_distance_m: float = option(5.0, 'consistent: not further from the one before', 0.0, 1e6)
    match_gap_s: float = option(10.0, 'consistent: not longer after the one before', 0.0, 1e6)
    max_sigma_m: float = option(10.0, 'a match less sure than this is refused', 1e-3, 3e4)
    max_age_s: float = option(
        5.0, 'an older image is refused: odometry since then may be gone; 0: any age', 0.0, 1e6
    )


@dataclass(frozen=True)
class InitialPoseConfig(BelievedMatchConfig):
    """The ROS executable `initial_pose`: tells a lost localiser where the robot is.

    The minimum covariance is what RViz sends with its button "2D Pose Estimate".
    """

    localizer: str = option(
        'amcl', 'whose own pose is watched: amcl (topic amcl_pose) or slam_toolbox (topic pose)',
        choices=('amcl', 'slam_toolbox'),
    )  # fmt: skip
    lost_when: str = option(
        'startup',
        'startup: until the localiser agrees for the first time; disagreement: whenever it does '
        'not; asked: only when ~/send is called, which always may be',
        choices=('startup', 'disagreement', 'asked'),
    )
    disagreeing_matches: int = option(
        5, 'matches in a row that contradict a localiser that is not silent', 1, 1000
    )
    disagree_distance_m: float = option(3.0, 'a match this far from it contradicts', 1e-3, 1e6)
    disagree_angle_rad: float = option(1.0, 'or turned this far', 1e-3, 3.15)
    deviations: float = option(
        2.0, 'and not within so many standard deviations of the match', 0.0, 100.0
    )
    lost_sigma_m: float = option(
        5.0, 'a localiser less sure than this, and than the match, is lost; 0: never', 0.0, 1e6
    )
    silent_s: float = option(
        5.0, 'so long without its pose a localiser counts as silent', 0.0, 1e6
    )
    two_d: bool = option(True, 'send x, y and yaw only')
    min_sigma_m: float = option(0.5, 'least standard deviation that is sent', 1e-3, 1e3)
    min_sigma_rad: float = option(0.26, 'likewise of the yaw', 1e-3, 3.15)
    min_period_s: float = option(
        10.0, 'between two poses sent; doubled by each that was not confirmed, up to 8 times',
        0.1, 1e6,
    )  # fmt: skip
    confirm_s: float = option(10.0, 'time for the localiser to follow', 0.1, 1e6)
    ask_timeout_s: float = option(30.0, 'longest time that ~/send takes', 0.1, 1e6)
    map_bounds: bool = option(False, 'listen to map, and refuse a pose outside that grid')


@dataclass(frozen=True)
class SlamToolboxConfig(BelievedMatchConfig):
    """The ROS executable `slam_toolbox_start`: loads slam_toolbox's map at the recognised pose."""

    map_file: str = option(
        '', "slam_toolbox's map, where slam_toolbox runs, without .posegraph and .data"
    )
    answer_s: float = option(60.0, 'time for slam_toolbox to load its map', 0.1, 1e6)
    confirm_s: float = option(20.0, 'time for its first pose after that', 0.1, 1e6)
    confirm_distance_m: float = option(
        5.0, 'from the pose asked for; further away, it was not found there', 1e-3, 1e6
    )
    attempts: int = option(
        5, 'before it is given up, until slam_toolbox is started again', 1, 1000
    )
    retry_s: float = option(5.0, 'between two attempts', 0.1, 1e6)


@dataclass(frozen=True)
class LoopClosingConfig:
    """The ROS executable `loop_closing`: odometry and closures become a corrected path."""

    map_frame: str = option('map', 'frame of the corrected path')
    publish_tf: bool = option(
        False, 'publish map_frame -> the frame of odometry on /tf; nobody else may do so then'
    )
    tf_rate: float = option(20.0, 'publish_tf: transforms in a second', 0.1, 1000.0)
    transform_tolerance_s: float = option(
        0.1, 'publish_tf: how far beyond the newest odometry the transform is valid', 0.0, 10.0
    )
    input_timeout_s: float = option(5.0, 'time without odometry that is an error', 0.1, 3600.0)
    wait_s: float = option(
        1.0, 'so long a closure waits for odometry of its image before it is refused', 0.0, 60.0
    )
    max_speed_mps: float = option(
        60.0, 'faster than this odometry has jumped: a new drive begins', 0.1, 1e6
    )
    max_keyframes: int = option(
        1000, 'keyframes in the graph; older ones are merged when there are as many', 64, 1_000_000
    )
    path_period_s: float = option(
        1.0, 'least time between two messages of the corrected path', 0.05, 3600.0
    )
    output: str = option(
        '', '~/save: folder for trajectory.tum and graph.g2o; empty: they are not written'
    )
    move_places: bool = option(
        True, '~/save: let the live node move the places that it has recorded'
    )
    answer_s: float = option(30.0, '~/save: so long the live node may take', 0.1, 3600.0)
    graph: GraphConfig = section(GraphConfig)


@dataclass(frozen=True)
class RtabmapConfig:
    """The ROS executable `rtabmap_links`: loop closures become links of RTAB-Map's graph."""

    rtabmap: str = option('/rtabmap', 'namespace of RTAB-Map: its topics and services')
    least_kind: str = option(
        'metric',
        'what has to be known of a relative pose; anything less is refused. from_map needs a '
        'neighbour that may jump: the pose is assumed and its covariance wide',
        choices=('from_map', 'rotation_only', 'up_to_scale', 'metric'),
    )
    max_age_s: float = option(
        10.0, 'a closure whose image is older than this is dropped: RTAB-Map, localising, forgets '
        'its last nodes after ten of its updates', 0.1, 3600.0,
    )  # fmt: skip
    node_gap_s: float = option(
        1.5, 'most between image and node where odometry tells the motion between them', 0.0, 60.0
    )
    bare_gap_s: float = option(
        0.5, 'most between image and node where no odometry does: the covariance grows by '
        'speed_m and turn_rad', 0.0, 10.0,
    )  # fmt: skip
    speed_m: float = option(1.0, 'metres the robot may go in a second', 0.0, 100.0)
    turn_rad: float = option(0.5, 'angle it may turn in a second', 0.0, 100.0)
    call_timeout_s: float = option(
        5.0, 'how long add_link may take before it is given up', 0.1, 600.0
    )
    refused_after_graphs: int = option(
        3, 'graphs with the newer node and without the link after which it counts as refused',
        1, 100,
    )  # fmt: skip
    ack_timeout_s: float = option(
        15.0, 'how long a graph is waited for after add_link answered', 0.1, 600.0
    )
    ask_map: bool = option(
        True, 'ask get_map_data for the stamps of nodes that were there before this one started'
    )
