"""Boxes of people: every convention in one place, and the one overlap. The last axis has four numbers:

| convention | numbers | who holds boxes so |
|---|---|---|
| corners | x1, y1, x2, y2, pixels: left upper corner, right lower corner | filmed people |
| xywh | x1, y1, width, height, pixels | detections, tracklets |
| centre_ln | x and y of the centre, pixels; ln width, ln height | the tracker's filters |
| fractions | corners divided by the frame's width and height | AVA's CSV files |

AVA's evaluators hold corners as y1, x1, y2, x2, and so does `evaluation.frame_map`, which repeats their sums.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Boxes = NDArray[Any]  # (…,4) of floats


def xywh_from_corners(corners: Boxes) -> Boxes:
    """Corners (…,4) to x, y, width, height."""
    return np.concatenate([corners[..., :2], corners[..., 2:] - corners[..., :2]], axis=-1)


def corners_from_xywh(box: Boxes) -> Boxes:
    """x, y, width, height (…,4) to corners."""
    return np.concatenate([box[..., :2], box[..., :2] + box[..., 2:]], axis=-1)


def centre_ln_from_xywh(box: Boxes) -> Boxes:
    """x, y, width, height (…,4), the latter two above 0, to the centre's x and y, ln width, ln height."""
    extent = box[..., 2:]
    return np.concatenate([box[..., :2] + extent / 2, np.log(extent)], axis=-1)


def xywh_from_centre_ln(box: Boxes) -> Boxes:
    """The centre's x and y, ln width, ln height (…,4) to x, y, width, height."""
    extent = np.exp(box[..., 2:])
    return np.concatenate([box[..., :2] - extent / 2, extent], axis=-1)


def fractions_from_corners(corners: Boxes, size: ArrayLike) -> Boxes:
    """Corners (…,4) in pixels to fractions of a frame of height and width `size` (2,)."""
    height, width = np.asarray(size)
    return corners / np.array([width, height, width, height], np.float64)


def inside_frame(corners: Boxes, size: ArrayLike) -> Boxes:
    """Corners (…,4) cut to frames of height and width `size` (2,) or (…,2), at least a pixel wide and high.

    A box that lies wholly outside becomes a pixel of the frame's edge.
    """
    most = np.asarray(size, corners.dtype)[..., ::-1]
    low = np.clip(corners[..., :2], 0, most - 1)
    high = np.clip(corners[..., 2:], low + 1, most)
    return np.concatenate([low, high], axis=-1)


def shared_area(a: Boxes, b: Boxes) -> Boxes:
    """Area (…) that boxes a and b (…,4) have in common, each x, y, width, height; other axes broadcast."""
    low = np.maximum(a[..., :2], b[..., :2])
    high = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    return np.clip(high - low, 0, None).prod(axis=-1)


def overlap(a: Boxes, b: Boxes) -> Boxes:
    """Intersection over union (…) of boxes a and b (…,4), each x, y, width, height; other axes broadcast.

    0 where neither has an area.
    """
    shared = shared_area(a, b)
    union = a[..., 2:].prod(axis=-1) + b[..., 2:].prod(axis=-1) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
