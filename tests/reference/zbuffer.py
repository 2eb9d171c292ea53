"""A literal z-buffer in numpy: each triangle's pixels one box at a time, no clipping, no library."""

from __future__ import annotations

import numpy as np


def fill(
    points: np.ndarray,
    faces: np.ndarray,
    colours: np.ndarray,
    image: np.ndarray,
    depth: np.ndarray,
    focal: float,
    near: float = 0.1,
) -> None:
    """Draw triangles over `image` (H,W,3) where nearer than `depth` (H,W), both in place.

    points: (V,3) m in a camera's frame, x right, y down, z forward · colours: (V,3). Triangles that reach
    nearer than `near` are left out. Depth and colours are right in perspective.
    """
    height, width = depth.shape
    z = points[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        pixels = points[:, :2] / z[:, None] * focal + [width / 2, height / 2]
    for face in faces[(z[faces] > near).all(axis=1)]:
        corners = pixels[face]
        low = np.maximum(np.floor(corners.min(axis=0) - 0.5), 0).astype(int)
        high = np.minimum(np.ceil(corners.max(axis=0) + 0.5), [width, height]).astype(int)
        if (low >= high).any():
            continue
        (ax, ay), (bx, by), (cx, cy) = corners
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area == 0:
            continue
        x, y = np.arange(low[0], high[0]) + 0.5, np.arange(low[1], high[1])[:, None] + 0.5
        second = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) / area
        third = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / area
        shares = np.stack([1 - second - third, second, third], axis=-1)
        inside = (shares >= 0).all(axis=-1)
        weights = shares / z[face]
        far = 1 / np.where(inside, weights.sum(axis=-1), 1)
        rows, columns = slice(low[1], high[1]), slice(low[0], high[0])
        nearer = inside & (far < depth[rows, columns])
        shaded = (weights * far[..., None]) @ colours[face]
        image[rows, columns][nearer] = shaded[nearer]
        depth[rows, columns][nearer] = far[nearer]
