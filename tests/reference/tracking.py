"""The tracker's costs and motion, literally: one pair, one number at a time. Slow."""

from __future__ import annotations

import math

import numpy as np

from lart_mini.tracking.tracker import Measured, TrackerConfig, Tracks


def kalman(
    value: float, speed: float, covariance: np.ndarray, change: float, damping: float
) -> tuple[np.ndarray, np.ndarray]:
    """State and covariance one frame on, by matrices: x = F x, P = F P Fᵀ + Q."""
    step = np.array([[1.0, 1.0], [0.0, damping]])
    push = np.array([0.5, 1.0]) * change
    return step @ [value, speed], step @ covariance @ step.T + np.outer(push, push)


def kalman_update(
    state: np.ndarray, covariance: np.ndarray, measured: float, noise: float
) -> tuple[np.ndarray, np.ndarray]:
    """State and covariance after a measurement of the value, by matrices: K = P Hᵀ / S."""
    looks = np.array([[1.0, 0.0]])
    gain = covariance @ looks.T / (looks @ covariance @ looks.T + noise**2)
    return state + (gain * (measured - state[0])).ravel(), (np.eye(2) - gain @ looks) @ covariance


def costs(tracks: Tracks, seen: Measured, config: TrackerConfig) -> dict[str, np.ndarray]:
    """The terms that are switched on, each (K,n)."""
    terms = {
        "place": (config.use_place, place),
        "pose": (config.use_pose, pose),
        "appearance": (config.use_appearance, appearance),
        "iou": (config.use_iou, iou),
    }
    found = {}
    for name, (used, term) in terms.items():
        if used:
            table = np.zeros((len(tracks), len(seen.place)))
            for k in range(len(tracks)):
                for n in range(len(seen.place)):
                    if name == "appearance" or not tracks.cut[k]:
                        table[k, n] = term(tracks, k, seen, n, config)
            found[name] = table
    return found


def place(tracks: Tracks, k: int, seen: Measured, n: int, config: TrackerConfig) -> float:
    """−ln of Student's t with three dimensions, less that of strangers."""
    squared, volume = 0.0, 1.0
    for axis, noise in enumerate((config.place_noise, config.place_noise, config.depth_noise)):
        spread = tracks.place[k, axis, 2] + noise**2
        squared += (seen.place[n, axis] - tracks.place[k, axis, 0]) ** 2 / spread
        volume *= spread
    nu = config.tails
    density = math.gamma((nu + 3) / 2) / math.gamma(nu / 2) / math.sqrt((nu * math.pi) ** 3 * volume)
    return -math.log(density * (1 + squared / nu) ** (-(nu + 3) / 2)) - config.place_stranger


def pose(tracks: Tracks, k: int, seen: Measured, n: int, config: TrackerConfig) -> float:
    """−ln of the ratio of two scaled χ² densities of the squared distance."""
    same = min(config.pose_same + config.pose_fades * (tracks.missed[k] - 1), config.pose_other)
    squared = sum((a - b) ** 2 for a, b in zip(seen.pose[n], tracks.pose[k], strict=True))
    return ratio(squared, same, config.pose_other, config.pose_freedom, config.failure)


def appearance(tracks: Tracks, k: int, seen: Measured, n: int, config: TrackerConfig) -> float:
    """The same of the colours."""
    squared = sum((a - b) ** 2 for a, b in zip(seen.appearance[n], tracks.appearance[k], strict=True))
    same, other = config.appearance_same, config.appearance_other
    return ratio(squared, same, other, config.appearance_freedom, config.failure)


def ratio(squared: float, same: float, other: float, freedom: float, failure: float) -> float:
    """−ln p(squared | mean same) + ln p(squared | mean other), each a χ² stretched to its mean.

    With the chance `failure` the same person's distance is as another's.
    """

    def log_density(mean: float) -> float:
        scale, half = mean / freedom, freedom / 2
        x = max(squared, 1e-12) / scale
        return (half - 1) * math.log(x) - x / 2 - math.lgamma(half) - half * math.log(2) - math.log(scale)

    same_over_other = math.exp(min(700.0, log_density(same) - log_density(other)))
    return -math.log((1 - failure) * same_over_other + failure)


def iou(tracks: Tracks, k: int, seen: Measured, n: int, config: TrackerConfig) -> float:
    """What the overlap lacks of what is needed."""

    def corners(box: np.ndarray) -> tuple[float, float, float, float]:
        x, y, width, height = box[0], box[1], math.exp(box[2]), math.exp(box[3])
        return x - width / 2, y - height / 2, x + width / 2, y + height / 2

    a, b = corners(tracks.box[k, :, 0]), corners(seen.box[n])
    shared = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return config.iou_weight * (config.iou_needed - shared / (sum(areas) - shared))
