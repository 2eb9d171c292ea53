"""Where tracked numbers go next: Kalman filters at constant velocity, one to each number of a place or a box.

A state is five numbers, the last axis of an array; numbers of a place do not know of each other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Columns of a state: value, speed a frame, variance of the value, covariance, variance of the speed.
VALUE, SPEED, SPREAD, COVARIANCE, SPEED_SPREAD = range(5)


def start(measured: NDArray[np.float64], noise: NDArray[np.float64]) -> NDArray[np.float64]:
    """States (…,5) of what was measured (…) once with `noise` (…): at rest, as far as one can know."""
    still = np.zeros_like(measured)
    return np.stack([measured, still, noise**2, still, noise**2], axis=-1)


def predict(state: NDArray[np.float64], change: NDArray[np.float64], damping: float) -> NDArray[np.float64]:
    """States (…,5) one frame later; `change` (…) is the standard deviation of what happens to a speed.

    A Kalman filter's prediction at constant velocity, of which the share `damping` is kept.
    """
    value, speed, spread, covariance, speed_spread = np.moveaxis(state, -1, 0)
    unrest, later = change**2, np.empty_like(state)
    later[..., VALUE] = value + speed
    later[..., SPEED] = damping * speed
    later[..., SPREAD] = spread + 2 * covariance + speed_spread + unrest / 4
    later[..., COVARIANCE] = damping * (covariance + speed_spread) + unrest / 2
    later[..., SPEED_SPREAD] = damping**2 * speed_spread + unrest
    return later


def update(
    state: NDArray[np.float64], measured: NDArray[np.float64], noise: NDArray[np.float64]
) -> NDArray[np.float64]:
    """States (…,5) after `measured` (…) with standard deviation `noise` (…): a Kalman filter's update."""
    value, speed, spread, covariance, speed_spread = np.moveaxis(state, -1, 0)
    gain, speed_gain = spread / (spread + noise**2), covariance / (spread + noise**2)
    surprise, known = measured - value, np.empty_like(state)
    known[..., VALUE] = value + gain * surprise
    known[..., SPEED] = speed + speed_gain * surprise
    known[..., SPREAD] = (1 - gain) * spread
    known[..., COVARIANCE] = (1 - gain) * covariance
    known[..., SPEED_SPREAD] = speed_spread - speed_gain * covariance
    return known
