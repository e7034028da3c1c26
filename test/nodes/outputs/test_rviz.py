"""The configuration of RViz names topics that are there, of the type its displays take."""

from pathlib import Path

import pytest
import yaml

CONFIG = Path(__file__).resolve().parents[3] / 'rviz/place_recognition.rviz'
NODE = '/place_recognition'
TAKES = {
    'PointCloud2': 'sensor_msgs/msg/PointCloud2',
    'MarkerArray': 'visualization_msgs/msg/MarkerArray',
    'Image': 'sensor_msgs/msg/Image',
    'PoseWithCovariance': 'geometry_msgs/msg/PoseWithCovarianceStamped',
    'Odometry': 'nav_msgs/msg/Odometry',
}


@pytest.fixture(scope='module')
def manager():
    return yaml.safe_load(CONFIG.read_text(encoding='utf-8'))['Visualization Manager']


def displays(manager):
    """Every display by its class."""
    return {display['Class'].rpartition('/')[2]: display for display in manager['Displays']}


def test_it_shows_the_map_from_the_maps_frame(manager):
    assert manager['Global Options']['Fixed Frame'] == 'map'
    found = displays(manager)
    assert found.keys() == {*TAKES, 'Grid', 'TF'} and len(found) == len(manager['Displays'])
    assert not found['Odometry']['Enabled'] and found['PointCloud2']['Enabled']
    assert found['PointCloud2']['Channel Name'] == 'similarity'
    classes = [x['Class'] for x in (*manager['Displays'], *manager['Tools'])]
    assert all(name.startswith('rviz_default_plugins/') for name in classes)


def test_every_topic_is_one_of_the_node_and_can_be_received(manager, make_node):
    node = make_node(pose_input='odometry', mode='map')
    assert node.start()
    shown = [d for d in manager['Displays'] if 'Topic' in d]
    assert len(shown) == len(TAKES)
    for display in shown:
        topic, kind = display['Topic']['Value'], TAKES[display['Class'].rpartition('/')[2]]
        theirs = node.get_subscriptions_info_by_topic(topic)
        if display['Enabled']:
            [theirs] = node.get_publishers_info_by_topic(topic)
            if theirs.qos_profile.reliability.name == 'BEST_EFFORT':
                assert display['Topic']['Reliability Policy'] == 'Best Effort'
            assert topic.startswith(f'{NODE}/')
        else:
            [theirs] = theirs  # shown beside, heard by the node as well
        assert theirs.topic_type == kind
        assert display['Topic']['Durability Policy'] == 'Volatile'
