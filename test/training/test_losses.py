"""Losses against numbers worked by hand."""

import math

import torch

from vpr_ros.training.losses import (
    multi_similarity,
    relational_distillation,
    similarity_distillation,
    token_distillation,
)


def unit(*angles_deg):
    rad = torch.tensor(angles_deg, dtype=torch.float32).deg2rad()
    return torch.stack((rad.cos(), rad.sin()), dim=1)


def brute_force(x, labels, alpha=1.0, beta=50.0, base=0.0, margin=0.1):
    similarity = (x @ x.T).tolist()
    total = 0.0
    for i in range(len(labels)):
        positives = [j for j in range(len(labels)) if labels[j] == labels[i] and j != i]
        negatives = [j for j in range(len(labels)) if labels[j] != labels[i]]
        row = similarity[i]
        hardest_negative = max((row[j] for j in negatives), default=-math.inf)
        hardest_positive = min((row[j] for j in positives), default=math.inf)
        pull = sum(
            math.exp(-alpha * (row[j] - base))
            for j in positives
            if row[j] - margin < hardest_negative
        )
        push = sum(
            math.exp(beta * (row[j] - base))
            for j in negatives
            if row[j] + margin > hardest_positive
        )
        total += math.log(1 + pull) / alpha + math.log(1 + push) / beta
    return total / len(labels)


def test_multi_similarity_by_hand():
    """Two places of two views at 0, 60 and 30, 90 degrees: every pair is mined."""
    x, labels = unit(0, 60, 30, 90), torch.tensor([0, 0, 1, 1])
    cos = {angle: math.cos(math.radians(angle)) for angle in (30, 60, 90)}
    pull = math.log(1 + math.exp(-cos[60]))

    def push(*angles):
        return math.log(1 + sum(math.exp(50 * cos[a]) for a in angles)) / 50

    # 0: negatives at 30 and 90 degrees, of which 90 is easier than the positive at 60.
    # 60: negatives both at 30. And mirrored for the second place.
    expected = (2 * (pull + push(30)) + 2 * (pull + push(30, 30))) / 4
    assert math.isclose(multi_similarity(x, labels).item(), expected, rel_tol=1e-5)


def test_multi_similarity_against_brute_force():
    generator = torch.Generator().manual_seed(0)
    x = torch.nn.functional.normalize(torch.randn(24, 5, generator=generator), dim=1)
    labels = torch.arange(24) // 4
    found = multi_similarity(x, labels).item()
    assert math.isclose(found, brute_force(x, labels.tolist()), rel_tol=1e-4)
    scaled = multi_similarity(7.0 * x, labels).item()
    assert math.isclose(scaled, found, rel_tol=1e-5)


def test_anchors_with_nothing_to_mine_count_as_zero():
    x, labels = unit(0, 1, 120, 121), torch.tensor([0, 0, 1, 1])
    assert multi_similarity(x, labels).item() == 0.0
    alone = multi_similarity(unit(0, 1), torch.tensor([0, 1]))
    assert torch.isfinite(alone)


def test_gradient_brings_views_together():
    x = unit(0, 60, 30, 90).requires_grad_(True)
    multi_similarity(x, torch.tensor([0, 0, 1, 1])).backward()
    moved = torch.nn.functional.normalize(x.detach() - 0.1 * x.grad, dim=1)
    assert moved[0] @ moved[1] > math.cos(math.radians(60))


def test_token_distillation_is_one_minus_cosine():
    student, teacher = torch.tensor([[[1.0, 0.0], [0.0, 2.0]]]), torch.tensor([[[3.0, 0], [1, 1]]])
    expected = (0.0 + 1.0 - math.sqrt(0.5)) / 2
    assert math.isclose(token_distillation(student, teacher).item(), expected, rel_tol=1e-5)


def test_relations_vanish_for_equal_and_rotated_descriptors():
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    rotation, _ = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(1)))
    assert relational_distillation(x, 5 * x).item() < 1e-5
    assert relational_distillation(x @ rotation, x).item() < 1e-4
    assert relational_distillation(x.roll(1, dims=0), x).item() > 0.1


def test_similarities_count_squares_of_what_they_are_off_in_tenths():
    x, y = unit(0, 60, 90), unit(0, 60, 180)
    # Cosines 0.5, 0, sqrt(3)/2 against 0.5, -1, -0.5.
    off = [0.0, 1.0, math.sqrt(0.75) + 0.5]
    expected = 100 * sum(d * d for d in off) / 3
    assert math.isclose(similarity_distillation(x, y).item(), expected, rel_tol=1e-5)
    rotation, _ = torch.linalg.qr(torch.randn(2, 2, generator=torch.Generator().manual_seed(1)))
    assert similarity_distillation(3 * x @ rotation, x).item() < 1e-8


def test_relations_are_float32_under_autocast():
    base, step = torch.randn(2, 64, generator=torch.Generator().manual_seed(2))
    student, teacher = (base + w * torch.arange(4.0)[:, None] * step for w in (0.01, 0.02))
    for loss in (relational_distillation, similarity_distillation):
        with torch.autocast('cpu', torch.bfloat16):
            inside = loss(student, teacher)
        assert torch.equal(inside, loss(student, teacher))


def test_similarities_are_float32_under_autocast():
    """In bf16 the two descriptors would be the same, and nothing would be learned."""
    base = torch.randn(1, 64)
    descriptors = torch.cat([base, base + 0.01 * torch.randn(3, 64)])
    labels = torch.tensor([0, 0, 1, 1])
    outside = multi_similarity(descriptors, labels)
    with torch.autocast('cpu', torch.bfloat16):
        inside = multi_similarity(descriptors, labels)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, outside)
