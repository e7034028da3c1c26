"""Who teaches: models of ours, and a plain backbone whose features were whitened."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F

from vpr_ros.image import normalise
from vpr_ros.models import build_model
from vpr_ros.records import ImageInput
from vpr_ros.training.distill import Teacher, load_teacher
from vpr_ros.training.views import ViewSet

WHITENED = 'whitened'
WHITENING_VIEWS = 600  # of each source
BATCH = 16
PLAIN = ImageInput((240, 240), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))

Describe = Callable[[Sequence[np.ndarray]], np.ndarray]  # pictures to unit rows (N, D)


def open_teachers(order: str, sources: Sequence[ViewSet]) -> list[Describe]:
    """Load them: `NAME=WEIGHTS` of models, `whitened=VIT_TI` for the backbone, `NAME` alone."""
    return [_open(part, sources) for part in shlex.split(order)]


def _open(part: str, sources: Sequence[ViewSet]) -> Describe:
    name, _, weights = part.partition('=')
    if name == WHITENED:
        return whitened(load_teacher(weights, student_dim=1, whitened=True), sources)
    model = build_model(name, 'cpu', weights)
    return lambda pictures: model.describe(list(pictures)).descriptor.numpy()


def whitened(teacher: Teacher, sources: Sequence[ViewSet]) -> Describe:
    """GeM of three blocks, each whitened on the sources as they are."""
    rng = np.random.default_rng(8)
    with torch.autocast('cpu', torch.bfloat16):
        teacher.whiten(batch for views in sources for batch in _some_of(views, rng))

    def describe(pictures: Sequence[np.ndarray]) -> np.ndarray:
        chunks = [pictures[i : i + BATCH] for i in range(0, len(pictures), BATCH)]
        with torch.autocast('cpu', torch.bfloat16):
            rows = [teacher.teach(_tensor(chunk)).descriptor.float() for chunk in chunks]
        return F.normalize(torch.cat(rows), dim=1).numpy()

    return describe


def _some_of(views: ViewSet, rng: np.random.Generator) -> Iterator[torch.Tensor]:
    rows = rng.permutation(len(views))[:WHITENING_VIEWS]
    for some in np.array_split(rows, range(BATCH, len(rows), BATCH)):
        yield _tensor([views.pictures.read(int(row)) for row in some])


def _tensor(pictures: Sequence[np.ndarray]) -> torch.Tensor:
    """(B, 3, 240, 240), float32 in [0, 1]."""
    each = (torch.from_numpy(picture).permute(2, 0, 1)[None] / 255.0 for picture in pictures)
    return torch.cat([normalise(picture, PLAIN) for picture in each])
