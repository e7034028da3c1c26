"""One function per loss: tensors in, a scalar out."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def multi_similarity(
    descriptors: torch.Tensor,
    labels: torch.Tensor,
    alpha: float = 1.0,
    beta: float = 50.0,
    base: float = 0.0,
    margin: float = 0.1,
) -> torch.Tensor:
    """Multi-similarity loss with its miner (Wang et al. 2019).

    A positive is kept if it is less similar than the hardest negative plus the margin, a negative
    if it is more similar than the hardest positive minus the margin. The mean is over all anchors,
    those with nothing mined included.

    Args:
        descriptors: (B, D); they are normalised here.
        labels: place of each image, (B,), integer.
    """
    similarity, positive, negative = _mined(descriptors, labels, margin)
    pull = _log_sum(-alpha * (similarity - base), positive) / alpha
    push = _log_sum(beta * (similarity - base), negative) / beta
    return (pull + push).mean()


@torch.no_grad()
def active_pairs(
    descriptors: torch.Tensor, labels: torch.Tensor, margin: float = 0.1
) -> torch.Tensor:
    """How many ordered pairs the miner of `multi_similarity` keeps, (): what is left to learn."""
    _, positive, negative = _mined(descriptors.detach(), labels, margin)
    return positive.sum() + negative.sum()


def token_distillation(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """One minus the cosine between tokens, averaged.

    Args:
        student: (B, N, C), already in the teacher's width.
        teacher: (B, N, C).
    """
    return 1.0 - F.cosine_similarity(student.float(), teacher.float(), dim=-1).mean()


def relational_distillation(
    student: torch.Tensor, teacher: torch.Tensor, temperature: float = 0.1
) -> torch.Tensor:
    """Kullback-Leibler divergence between the rows of two similarity matrices.

    The teacher says which images of the batch resemble each other; the student's descriptors are
    to rank them alike, whatever their length.

    Args:
        student: descriptors (B, D).
        teacher: descriptors (B, E).
    """
    wanted = _neighbour_log_probabilities(teacher, temperature)
    found = _neighbour_log_probabilities(student, temperature)
    return F.kl_div(found, wanted, reduction='batchmean', log_target=True)


def similarity_distillation(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Mean squared difference of the cosines of all pairs, in hundredths: 1 is 0.1 off.

    The ranking of `relational_distillation` leaves open how alike two images are; a threshold does
    not.

    Args:
        student: descriptors (B, D).
        teacher: descriptors (B, E).
    """
    found, wanted = _cosines(student), _cosines(teacher)
    others = ~torch.eye(len(found), dtype=torch.bool, device=found.device)
    return 100.0 * (found - wanted)[others].square().mean()


def _mined(
    descriptors: torch.Tensor, labels: torch.Tensor, margin: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Similarities (B, B), and which pairs of the same and of different places are kept."""
    similarity = _cosines(descriptors)
    same = labels[:, None] == labels[None]
    positive = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    with torch.no_grad():
        hardest_negative = similarity.masked_fill(same, -torch.inf).amax(dim=1, keepdim=True)
        hardest_positive = similarity.masked_fill(~positive, torch.inf).amin(dim=1, keepdim=True)
        kept = positive & (similarity - margin < hardest_negative)
        negative = ~same & (similarity + margin > hardest_positive)
    return similarity, kept, negative


def _log_sum(logits: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """log(1 + sum over the mask of exp), row by row, without overflow."""
    logits = logits.masked_fill(~mask, -torch.inf)
    return torch.logsumexp(torch.cat((logits, logits.new_zeros(len(logits), 1)), dim=1), dim=1)


def _neighbour_log_probabilities(descriptors: torch.Tensor, temperature: float) -> torch.Tensor:
    similarity = _cosines(descriptors)
    own = torch.eye(len(similarity), dtype=torch.bool, device=similarity.device)
    # A large finite value in place of infinity: the own entry becomes 0 without 0 * inf = NaN.
    return (similarity / temperature).masked_fill(own, -1e4).log_softmax(dim=1)


def _cosines(descriptors: torch.Tensor) -> torch.Tensor:
    """(B, D) to (B, B), in float32 even under autocast: bf16 is too coarse near 1."""
    with torch.autocast(descriptors.device.type, enabled=False):
        unit = F.normalize(descriptors.float(), dim=1)
        return unit @ unit.T
