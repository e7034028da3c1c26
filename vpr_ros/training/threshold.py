"""The similarity above which a match deserves trust, measured on places known to differ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from vpr_ros.image import normalise
from vpr_ros.models import PlaceModel
from vpr_ros.training.data import PlaceSet

BATCH = 32


@dataclass(frozen=True)
class SourceSimilarities:
    """Best similarities of each image of a source, to its own place and to all others."""

    name: str
    genuine: np.ndarray  # (N,) to another view of the same place; -1 where there is none
    impostor: np.ndarray  # (N,) to the most similar view of any other place of the source


@dataclass(frozen=True)
class Threshold:
    """A threshold and what it does to the images it was measured on, source by source."""

    value: float
    accepted_genuine: dict[str, float]
    accepted_impostors: dict[str, float]


def similarity_threshold(model: PlaceModel, data: PlaceSet, quantile: float = 0.95) -> Threshold:
    """Find the threshold below which the best wrong match of most images lies.

    One image in twenty is deceived all the same: the front door asks for several queries that
    agree on a place before it believes any.

    Args:
        model: its network is used as it is, in evaluation mode.
        data: images in no place are left out.
        quantile: share of images whose best wrong match must lie below.
    """
    sources = measure_similarities(model, data)
    value = float(np.quantile(np.concatenate([s.impostor for s in sources]), quantile))
    return Threshold(
        value,
        {s.name: float((s.genuine >= value).mean()) for s in sources},
        {s.name: float((s.impostor >= value).mean()) for s in sources},
    )


def measure_similarities(model: PlaceModel, data: PlaceSet) -> list[SourceSimilarities]:
    """Compare every image with all others of its source."""
    found = []
    for number, name in enumerate(data.names):
        rows = np.flatnonzero((data.sources == number) & (data.places >= 0))
        x, places = _describe(model, data.images[rows]), data.places[rows]
        similarity = x @ x.T
        np.fill_diagonal(similarity, -1.0)
        same = places[:, None] == places[None]
        found.append(
            SourceSimilarities(
                name,
                np.where(same, similarity, -1.0).max(axis=1),
                np.where(same, -1.0, similarity).max(axis=1),
            )
        )
    return found


def _describe(model: PlaceModel, images: np.ndarray) -> np.ndarray:
    """Descriptors (N, D) of images (N, H, W, 3), uint8."""
    rows = []
    with torch.inference_mode():
        for start in range(0, len(images), BATCH):
            batch = torch.from_numpy(images[start : start + BATCH]).to(model.device)
            tensor = normalise(batch.permute(0, 3, 1, 2).float() / 255.0, model.input)
            rows.append(model.network(tensor).float().cpu().numpy())
    return np.concatenate(rows)
