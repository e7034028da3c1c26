"""One CUDA graph for each small input shape: a call becomes a single launch.

At batch 1 a vision transformer is some hundred kernels of a few microseconds, and Python needs
longer to launch them than the GPU to run them.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch

from vpr_ros.models.networks.network import PlaceNetwork
from vpr_ros.records import Features, LocalFeatures

LARGEST_BATCH = 8  # beyond it the GPU is busy enough, and a graph would hold the memory
MOST_GRAPHS = 4  # shapes kept; each holds its own intermediate results
WARM_UP = 3


@dataclass(frozen=True)
class Graph:
    """A recorded call with the tensors it reads and writes."""

    graph: torch.cuda.CUDAGraph
    images: torch.Tensor
    features: Features


class GraphedCall:
    """`network.features`, recorded at the first call of each small shape and replayed after."""

    def __init__(self, network: PlaceNetwork) -> None:
        self.network = network
        self._graphs: OrderedDict[tuple[int, ...], Graph] = OrderedDict()

    def __call__(self, images: torch.Tensor) -> Features:
        """Features of images (B, 3, H, W), normalised, float32, on the network's GPU."""
        if len(images) > LARGEST_BATCH:
            return self._features(images)
        shape = tuple(images.shape)
        if shape not in self._graphs:
            if len(self._graphs) == MOST_GRAPHS:
                self._graphs.popitem(last=False)
            self._graphs[shape] = self._record(images)
        self._graphs.move_to_end(shape)
        graph = self._graphs[shape]
        graph.images.copy_(images, non_blocking=True)
        graph.graph.replay()
        return _copied(graph.features)

    def _features(self, images: torch.Tensor) -> Features:
        return self.network.features(images.to(self.network.backbone.cls_token.dtype))

    def _record(self, images: torch.Tensor) -> Graph:
        held, side = images.clone(), torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # libraries choose kernels and take memory before recording
            for _ in range(WARM_UP):
                self._features(held)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            features = self._features(held)
        return Graph(graph, held, features)


def _copied(features: Features) -> Features:
    """The caller's own tensors: the next replay overwrites the graph's."""
    local = features.local
    if local is not None:
        local = LocalFeatures(*(x.clone() for x in vars(local).values()))
    return Features(features.descriptor.clone(), local)
