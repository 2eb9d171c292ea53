"""Literal versions of what appearance computes: a convolution with TensorFlow's padding, samples in a box."""

from __future__ import annotations

import numpy as np


def same_convolution(x: np.ndarray, weight: np.ndarray, stride: int, groups: int = 1) -> np.ndarray:
    """(C,H,W) and weight (C',C/groups,k,k) → (C',⌈H/stride⌉,⌈W/stride⌉), number by number."""
    k, outputs = weight.shape[-1], len(weight)
    size = [-(-n // stride) for n in x.shape[1:]]
    before = [max((o - 1) * stride + k - n, 0) // 2 for o, n in zip(size, x.shape[1:], strict=True)]
    inside = len(x) // groups
    found = np.zeros((outputs, *size))
    for c, i, j in np.ndindex(*found.shape):
        first = c // (outputs // groups) * inside
        for a, b in np.ndindex(k, k):
            y, z = i * stride + a - before[0], j * stride + b - before[1]
            if 0 <= y < x.shape[1] and 0 <= z < x.shape[2]:
                found[c, i, j] += x[first : first + inside, y, z] @ weight[c, :, a, b]
    return found


def roi_samples(map_: np.ndarray, box: np.ndarray, stride: int, grid: int) -> np.ndarray:
    """(C,h,w) at the middles of grid × grid cells of a box x1, y1, x2, y2 in pixels → (C,grid,grid)."""
    _, high, wide = map_.shape
    found = np.zeros((len(map_), grid, grid))
    for i, j in np.ndindex(grid, grid):
        # Cell (r, c) of the map has its middle at pixel ((c + ½)·stride, (r + ½)·stride).
        x = (box[0] + (j + 0.5) / grid * (box[2] - box[0])) / stride - 0.5
        y = (box[1] + (i + 0.5) / grid * (box[3] - box[1])) / stride - 0.5
        for row, by in ((int(np.floor(y)), 1 - y % 1), (int(np.floor(y)) + 1, y % 1)):
            for column, bx in ((int(np.floor(x)), 1 - x % 1), (int(np.floor(x)) + 1, x % 1)):
                at = min(max(row, 0), high - 1), min(max(column, 0), wide - 1)
                found[:, i, j] += by * bx * map_[:, at[0], at[1]]
    return found
