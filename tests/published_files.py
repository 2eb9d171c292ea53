"""Files as LART's authors published them, with random content: their types, units and quirks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import joblib
import numpy as np

WIDTH = 7  # of the appearance vectors


def published(rng: np.random.Generator, first: int, length: int, gaps: float = 0.3) -> dict[str, Any]:
    """A file's dict: float64, depths divided by 200 twice over, frames without a detection zero in places.

    Frame numbers run from `first`; about a share `gaps` of the frames has no detection, or no appearance.
    """
    detected = rng.random(length) >= gaps
    detected[rng.integers(length)] = True
    index = np.where(rng.random(length) < gaps, -1, np.arange(length) // 4 * 4)
    keys = np.unique(index[index >= 0])
    # Pseudo labels come with the appearance; ground truth does not.
    has_gt = np.where(index >= 0, rng.integers(0, 3, length), 2 * rng.integers(0, 2, length))
    place = rng.normal(size=(length, 3)) * [1, 1, 0.1]
    vector = np.concatenate([rng.normal(size=(length, 226)), place], axis=1)
    box = np.where(detected[:, None], rng.uniform(1, 99, (length, 4)), 0)
    return {
        "fid": np.arange(first, first + length, dtype=np.float64)[:, None, None],
        "pose_shape": vector[:, None],
        "3d_joints": rng.normal(size=(length, 1, 45, 3)).astype(np.float32),
        "camera": place[:, None].copy(),
        "camera_bbox": rng.normal(size=(length, 1, 3)),
        "action_label_gt": (rng.random((length, 1, 80)) < 0.05).astype(np.float64),
        "action_label_psudo": {key: rng.random((1, 80)).astype(np.float32) for key in keys},
        "has_gt": has_gt[:, None, None].astype(np.float64),
        "has_detection": detected[:, None, None].astype(np.float64),
        "apperance_index": index[:, None, None].astype(np.float64),
        "apperance_dict": {float(key): rng.normal(size=(1, WIDTH)).astype(np.float32) for key in keys},
        "frame_name": [f"video_{first + t:06d}.jpg" for t in range(length)],
        "frame_size": [np.array([240, 320]) * seen for seen in detected],
        "frame_bbox": list(box),
        "frame_conf": [np.array([rng.random()]) if seen else 0 for seen in detected],
    }


def write(content: dict[str, Any], folder: Path, track: int = 0, keyframe: int = 150) -> Path:
    """Dump a file's dict under a released name and return its path."""
    path = folder / f"ava-train_a_b-cdefghi_{keyframe:06d}_{track}_{len(content['frame_name'])}.pkl"
    joblib.dump(content, path)
    return path
