"""From what the cameras saw to descriptors, where anything can be seen."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from vpr_ros.errors import ImageError
from vpr_ros.models import PlaceModel
from vpr_ros.recognition.described import Described
from vpr_ros.recognition.image_check import ImageCheck
from vpr_ros.records import Features, Pose, Timings, View

if TYPE_CHECKING:
    import torch


class Describer:
    """Looks at the images of each camera one after the other, and has them described."""

    def __init__(self, model: PlaceModel) -> None:
        self.model = model
        self._images: dict[str, ImageCheck] = defaultdict(ImageCheck)

    def describe(
        self, views: Sequence[View], pose: Pose | None
    ) -> tuple[list[Described], Timings, str]:
        """Views that show something, described; and the first reason why one does not.

        Args:
            views: one of each camera; what is no RGB uint8 image (H, W, 3) is a fault.
            pose: base at that time, where known: a camera that shows the same while the robot
                moves stands still.
        """
        described, faults, preprocess_ms, inference_ms = [], [], 0.0, 0.0
        for view in views:
            try:
                tensor, spent_ms = self._prepared(view)
            except ImageError as error:
                faults.append(str(error))
                continue
            preprocess_ms += spent_ms
            found = self._images[view.camera].look(view.image, pose)
            if found.fault:
                faults.append(found.fault)
                continue
            one, described_ms = self._described(view, tensor)
            described.append(replace(one, repeated=found.repeated))
            inference_ms += described_ms
        return described, Timings(preprocess_ms, inference_ms), (faults or ['no image'])[0]

    def _prepared(self, view: View) -> tuple[torch.Tensor, float]:
        """The model's input, and milliseconds; an ImageError for what is no RGB uint8 image."""
        start = time.perf_counter()
        tensor = self.model.prepare([view.image])
        return tensor, 1e3 * (time.perf_counter() - start)

    def _described(self, view: View, tensor: torch.Tensor) -> tuple[Described, float]:
        start = time.perf_counter()

        def describe() -> Features:
            # The tensor is gone with the device it was on.
            there = tensor.device.type == self.model.device.type
            return self.model.describe_tensor(
                tensor if there else self.model.prepare([view.image])
            )

        features = self.model.surviving(describe)
        descriptor = features.descriptor[0].cpu().numpy()
        spent_ms = 1e3 * (time.perf_counter() - start)
        return Described(descriptor, features.local, view.image, view.depth, view.camera), spent_ms
