"""Boxes of people: every convention in one place, and the one overlap."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lart_mini.scenes.takes import Array


def overlap(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """Intersection over union of boxes a and b (…,4), each x, y, w, h; their other axes broadcast."""
    low = np.maximum(a[..., :2], b[..., :2])
    high = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    shared = np.clip(high - low, 0, None).prod(axis=-1)
    return shared / (a[..., 2:].prod(axis=-1) + b[..., 2:].prod(axis=-1) - shared)


def _inside(corners: Array, size: tuple[int, int]) -> Array:
    """Corners (T,4) to x, y, w, h inside the frame, at least one pixel wide and high."""
    height, width = size
    low = np.clip(corners[:, :2], 0, [width - 1, height - 1])
    high = np.clip(corners[:, 2:], low + 1, [width, height])
    return np.concatenate([low, high - low], axis=1)


def _cropped(box: NDArray[np.float32], sizes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Boxes (N,4) x, y, w, h, cut to their frames of height and width sizes (N,2)."""
    low = np.clip(box[:, :2], 0, sizes[:, ::-1] - 1)
    high = np.clip(box[:, :2] + box[:, 2:], low + 1, sizes[:, ::-1])
    return np.concatenate([low, high - low], axis=1)
