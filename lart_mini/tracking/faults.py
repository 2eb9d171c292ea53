"""How much stands between people and what is detected of them, and the kinds of chance it comes by."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from lart_mini.scenes.takes import Array


@dataclass(frozen=True)
class Faults:
    """What stands between people and what is detected of them. Noise is given by its standard deviation.

    That of pose and orientation is of angles that a picture does not show: limbs to and from the camera, and
    about their own length. Joints are off by about 69 mm (pelvis aligned) and 43 mm (Procrustes aligned) in
    the mean, 66 and 41 mm in full view, near the 70 and 44 mm that HMR 2.0, the paper's reconstruction,
    has on in-the-wild video (3DPW). Most of it lies along the line of sight.
    """

    miss_start: float = 0.01  # chance a frame that a burst of missed detections begins
    miss_stop: float = 0.25  # chance a frame that it ends: four frames on average
    visible_needed: float = 0.35  # below this visible share a person is missed nine times in ten
    box_jitter: float = 0.02  # of the box's size
    pose_noise: float = 0.2  # radians about each axis of a limb
    orientation_noise: float = 0.12  # the same of all limbs together
    across: float = 0.05  # share of an angle's noise where it moves a limb across the picture
    depth_noise: float = 0.01  # of the depth, beside what a wrong size makes of it
    lateral_noise: float = 0.012  # metres across the line of sight
    betas_noise: float = 0.3  # of a shape, the same all through a video
    mean_pose_start: float = 0.1  # chance a frame, while half hidden, that the mean pose takes over
    mean_pose_stop: float = 0.1  # chance a frame that it ends
    half_hidden: float = 0.6  # a smaller visible share is half hidden
    false_track: float = 0.15  # chance a video of a thing that stands still and is taken for a person
    false_positive: float = 0.02  # chance a frame of a detection where nobody is
    light: float = 0.15  # of ln light: the scene's, and that of each person's place
    colour_noise: float = 0.08  # of one colour, of 1

    @classmethod
    def none(cls) -> Faults:
        """People as they are, where they are, in their own colours."""
        return cls(**dict.fromkeys((f.name for f in fields(cls)), 0.0) | {"miss_stop": 1.0})


def drift(rng: np.random.Generator, scale: float, *shape: int, memory: float = 0.8) -> Array:
    """Noise (T, …) of standard deviation `scale` with a memory: n_t = memory · n_(t−1) + fresh noise."""
    last = rng.normal(0, scale, shape[1:])
    noise = rng.normal(0, scale * np.sqrt(1 - memory**2), shape)
    for t in range(len(noise)):
        noise[t] += memory * last
        last = noise[t]
    return noise.astype(np.float32)


def bursts(rng: np.random.Generator, start: Array, stop: float) -> NDArray[np.bool_]:
    """Frames (T,) in bursts that begin with the chances `start` (T,) and end with `stop` a frame."""
    inside, within = np.zeros(len(start), dtype=bool), False
    for t, draw in enumerate(rng.random(len(start))):
        within = draw >= stop if within else draw < start[t]
        inside[t] = within
    return inside
