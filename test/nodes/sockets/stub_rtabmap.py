"""RTAB-Map as strict as the real one: what would end its process ends the test."""

import math

import numpy as np
from geometry_msgs.msg import Pose
from rtabmap_msgs.msg import Info, Link, MapGraph, Node
from rtabmap_msgs.srv import AddLink, GetMap

from vpr_ros.nodes.outputs.messages import to_time

CACHE = 10  # RGBD/MaxOdomCacheSize


class Dead(AssertionError):
    """The robot's SLAM ended, which the caller could have known to prevent."""


class Graph:
    """Rtabmap::addLink and what it calls, of RTAB-Map 0.22 and 0.23, as far as a caller can tell.

    `residual` stands for the check of RGBD/OptimizeMaxError: ids that it refuses.
    """

    def __init__(self, localizing=False):
        self.localizing = localizing
        self.stamps, self.weights = {}, {}
        self.memory, self.optimized, self.cache = set(), set(), []
        self.links, self.cache_links = {}, {}
        self.refused_ids = set()
        self.log = []

    def add_node(self, stamp_ns, weight=0):
        number = max(self.stamps, default=0) + 1
        self.stamps[number], self.weights[number] = stamp_ns, weight
        if self.localizing:
            self.cache = [*self.cache, number][-CACHE:]
        else:
            self.memory.add(number)
            self.optimized.add(number)
            if number - 1 in self.optimized:
                self.links[number - 1, number] = Link(from_id=number - 1, to_id=number)
        return number

    def forget(self, number):
        """Into long-term memory."""
        self.memory.discard(number)
        self.optimized.discard(number)

    def transfer(self, *numbers):
        """In working memory, but of a session that is not linked."""
        self.optimized -= {*numbers}

    def add_link(self, link):
        """The message first becomes a Link, which asserts; then the rules, which only log."""
        diagonal = np.diag(np.array(link.information).reshape(6, 6))
        if not (np.isfinite(diagonal).all() and (diagonal > 0).all()):
            raise Dead(f'setInfMatrix: {diagonal}')
        if not 0 < link.type < 12:
            raise Dead(f'Memory::addLink: type {link.type}')
        q = link.transform.rotation
        if not math.hypot(q.x, q.y, q.z, q.w):
            return self._error('the transform is null')
        if not abs(math.hypot(q.x, q.y, q.z, q.w) - 1) < 1e-4:
            raise Dead('a rotation that is none')
        return self._localized(link) if self.localizing else self._mapped(link)

    def _mapped(self, link):
        ends = link.from_id, link.to_id
        for number in ends:
            if number not in self.memory:
                return self._error(f'{number} is not in working memory')
        if not self.optimized & {*ends}:
            return self._error('neither is in the local graph')
        if ends in self.links or ends[::-1] in self.links:
            return True  # already linked: nothing is done
        if any(self.weights[number] < 0 for number in ends):
            raise Dead('Memory::addLink: negative weight')
        if self.refused_ids & {*ends}:
            return self._error('the graph error is too large')
        self.links[ends] = link
        self.optimized |= {*ends}
        return True

    def _localized(self, link):
        newest, oldest = max(link.from_id, link.to_id), min(link.from_id, link.to_id)
        if oldest not in self.memory or oldest not in self.optimized:
            return self._error(f'{oldest} is not in the optimized graph')
        if newest not in self.cache:
            return self._error(f'{newest} is not in the odometry cache')
        if link.from_id != newest:
            raise Dead('std::map::at: the older node is not among the poses')
        if newest in self.refused_ids:
            return self._error('rejecting localization')
        self.cache_links[newest, oldest] = link
        return True

    def _error(self, sentence):
        self.log.append(sentence)
        return False


def graph_message(numbers, links):
    return MapGraph(poses_id=sorted(numbers), poses=[Pose() for _ in numbers], links=list(links))


class StubRtabmap:
    """The graph behind RTAB-Map's topics and services, on a node of the test."""

    def __init__(self, node, graph, above='/rtabmap', answering=True):
        self.graph, self.requests, self.questions, self.died = graph, [], 0, None
        self._info = node.create_publisher(Info, f'{above}/info', 1)
        self._graph = node.create_publisher(MapGraph, f'{above}/mapGraph', 1)
        self._cache = node.create_publisher(MapGraph, f'{above}/mapOdomCache', 1)
        if not answering:
            return
        node.create_service(AddLink, f'{above}/add_link', self._add_link)
        node.create_service(GetMap, f'{above}/get_map_data', self._get_map)

    def image(self, stamp_ns):
        """One image has come, and RTAB-Map tells of it."""
        number = self.graph.add_node(stamp_ns)
        self.tell(number)
        return number

    def tell(self, number):
        graph = self.graph
        info = Info(ref_id=number)
        info.header.stamp = to_time(graph.stamps[number])
        info.wm_state = sorted(graph.memory)
        info.odom_cache = graph_message(graph.cache, graph.cache_links.values())
        self._info.publish(info)
        self._cache.publish(info.odom_cache)
        self.publish_graph()

    def publish_graph(self):
        graph = self.graph
        self._graph.publish(graph_message(graph.optimized, graph.links.values()))

    def _add_link(self, request, response):
        self.requests.append(request.link)
        try:
            self.graph.add_link(request.link)
        except Dead as error:
            self.died = error
        return response

    def _get_map(self, request, response):
        assert request.graph_only, 'a robot has no room for all images at once'
        assert not request.optimized, 'the whole graph is optimised while SLAM waits'
        self.questions += 1
        response.data.nodes = [
            Node(id=number, stamp=stamp / 1e9, weight=self.graph.weights[number])
            for number, stamp in self.graph.stamps.items()
        ]
        return response
