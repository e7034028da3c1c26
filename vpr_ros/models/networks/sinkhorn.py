"""Optimal transport of patches to clusters and a dustbin (Sinkhorn iterations, log domain)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F


def assign_with_dustbin(
    scores: torch.Tensor, dustbin: torch.Tensor, iterations: int = 3
) -> torch.Tensor:
    """Share every patch among clusters and a dustbin (FoL, section 4.2 of the method).

    Each of the N patches has mass 1 to give, each of the m clusters takes 1 and the dustbin takes
    the other N - m. After few iterations the patches' masses are exact, because they are balanced
    last, and the clusters' approximate. Computed in float32.

    Args:
        scores: affinity of each patch to each cluster, (B, N, m).
        dustbin: affinity of each patch to the dustbin, (B, N).
        iterations: how often both sides are balanced, at least once.

    Returns:
        Shares of each patch in the clusters, without the dustbin, (B, N, m), float32.

    Raises:
        ValueError: there are not more patches than clusters.
    """
    patches, clusters = scores.shape[1:]
    if patches <= clusters:
        raise ValueError(
            f'expected more than {clusters} patches, one for each cluster, found {patches}: '
            'use a larger input size'
        )
    affinity = torch.cat((scores.float(), dustbin.float()[:, :, None]), dim=2)
    wanted = F.pad(affinity.new_zeros(clusters), (0, 1), value=math.log(patches - clusters))
    given = affinity.new_zeros(())  # log scaling of each patch
    for _ in range(iterations):
        taken = wanted - (affinity + given).logsumexp(dim=1, keepdim=True)  # of each cluster
        given = -(affinity + taken).logsumexp(dim=2, keepdim=True)
    return (affinity + taken + given)[:, :, :clusters].exp()
