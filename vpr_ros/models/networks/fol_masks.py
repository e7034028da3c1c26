"""Which patches count: masks over the N patches of an image (FoL, sections 4.3 and 4.6)."""

from __future__ import annotations

import torch
import torch.nn.functional as F

OUTLIERS = 3  # largest entries of a mask that are cut off
OUTLIER_RANK = 0.05  # down to the entry at this share of the ranking
NEAREST_CELLS = 16  # dense cells that one patch covers at most: four by four


def winsorise(mask: torch.Tensor) -> torch.Tensor:
    """Replace the three largest entries of each row by the entry at rank int(0.05 N).

    Entries between the third and that rank stay, although they may be larger: as released.

    Args:
        mask: (B, N), N of at least three.
    """
    order = mask.argsort(dim=1, descending=True)
    rank = int(OUTLIER_RANK * mask.shape[1])
    limit = mask.gather(1, order[:, rank : rank + 1])
    return mask.scatter(1, order[:, :OUTLIERS], limit.expand(-1, OUTLIERS))


def soft_mask(mask: torch.Tensor) -> torch.Tensor:
    """Winsorised softmax over the patches: (B, N) to (B, N), each row sums to 1."""
    return winsorise(mask).softmax(dim=1)


def saliency(assignment: torch.Tensor) -> torch.Tensor:
    """Mean share of each patch in the clusters, (B, N, m) to (B, N): what the dustbin left."""
    return assignment.mean(dim=2)


def largest(mask: torch.Tensor, count: int) -> torch.Tensor:
    """Places of the largest entries in raster order: (B, N) to (B, min(count, N)), integer."""
    return mask.topk(min(count, mask.shape[1]), dim=1).indices.sort(dim=1).values


def enlarge(places: torch.Tensor, grid: tuple[int, int], dense: tuple[int, int]) -> torch.Tensor:
    """Binary mask of the dense grid from patches, by nearest neighbour as released.

    It gives each patch three or four cells a side, to the right of and below its centre.

    Args:
        places: patches in the mask, (B, k), integer.
        grid: h, w.
        dense: height and width of the dense grid.

    Returns:
        Mask (B, height*width), bool.
    """
    mask = torch.zeros(places.shape[0], grid[0] * grid[1], device=places.device)
    square = mask.scatter(1, places, 1.0).unflatten(1, (1, *grid))
    return F.interpolate(square, dense, mode='nearest').flatten(1).bool()


def compact(chosen: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """List the chosen cells of each image in raster order, to a fixed length.

    Cells beyond that length are left out. The shapes depend on no value, so that the call can be
    recorded in a CUDA graph.

    Args:
        chosen: (B, M), bool.
        count: wanted length of the list; may be more than M.

    Returns:
        Indices into M, (B, count), and whether there is such a cell, (B, count); indices without
        one are 0.
    """
    cells = chosen.shape[1]
    rank = chosen * cells - torch.arange(cells, device=chosen.device)  # no two are equal
    order = rank.topk(min(count, cells), dim=1).indices
    valid = chosen.gather(1, order)
    missing = count - order.shape[1]
    return F.pad(order * valid, (0, missing)), F.pad(valid, (0, missing))


def local_rows(positions: int, dense: tuple[int, int]) -> int:
    """Rows that local features are padded to.

    The released table is 3600 above 80 dense rows, 3500 above 70, 1000 above 40, for 225 patches
    of up to 16 cells each. Its last figure is too small for them, and the released code fails at
    224 pixels; there we take what 225 patches may need, or all cells if they are fewer. At 71 to
    80 rows a mask can in rare cases have more cells than 3500: those are left out.

    Args:
        positions: patches in the binary mask.
        dense: height and width of the dense grid.
    """
    needed = NEAREST_CELLS * positions
    height, width = dense
    if height > 80:
        return needed
    return min(needed, 3500 if height > 70 else height * width)
