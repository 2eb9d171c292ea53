"""What the trunk sees of one person: the maps inside a box, and crops at hands and head."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def roi_samples(maps: Tensor, boxes: Tensor, owner: Tensor, stride: int, grid: int) -> Tensor:
    """Maps sampled bilinearly at the middles of grid × grid equal cells of each box, (N,C,grid,grid).

    maps (B,C,h,w) of one stride; boxes (N,4) x1, y1, x2, y2 in pixels of the picture; owner (N,) the row of
    `maps` that each box lies in. What lies outside of a map has the value of its edge. Mean or maximum over
    cells of it makes RoIAlign or RoIPool.
    """
    high, wide = maps.shape[-2:]
    at = (torch.arange(grid, device=boxes.device) + 0.5) / grid
    x, y = (boxes[:, k, None] + at * (boxes[:, k + 2] - boxes[:, k])[:, None] for k in (0, 1))  # (N,grid)
    x, y = x / (wide * stride) * 2 - 1, y / (high * stride) * 2 - 1
    where = torch.stack([x[:, None].expand(-1, grid, -1), y[:, :, None].expand(-1, -1, grid)], dim=-1)
    found = maps.new_empty(len(boxes), maps.shape[1], grid, grid)
    for number in owner.unique().tolist():  # not maps[owner], a copy for each box
        own = owner == number
        cells = where[own].to(maps.dtype).reshape(1, -1, grid, 2)
        sampled = F.grid_sample(maps[number, None], cells, align_corners=False, padding_mode="border")
        found[own] = sampled[0].unflatten(1, (-1, grid)).movedim(1, 0)
    return found
