"""What a tracker would have got wrong, simulated: from filmed actors to tracklets with gaps and noise.

The paper's tracklets come from PHALP run on video (supplement C.1). mini_ava has no video, so its tracklets
are the captured motion with the faults such a tracker shows: missed detections (by chance in bursts, by
occlusion, by truncation), jittered boxes, noise in pose, shape and depth that drifts over time, identities
switched where two people overlap, and false tracks. Every amount is a field of `Faults`; `Faults.none()`
switches all of them off.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.spatial.transform import Rotation

from lart_mini.scenes import Array, Camera, Filmed


@dataclass(frozen=True)
class Faults:
    """How wrong the simulated tracker is. Noise is given by its standard deviation; it drifts over time.

    The noise of pose and orientation displaces joints by about 80 mm (pelvis aligned) and 48 mm (Procrustes
    aligned) in the mean, near what HMR 2.0, the paper's reconstruction, reports for in-the-wild video (3DPW).
    """

    miss_start: float = 0.01  # chance a frame that a burst of missed detections begins
    miss_stop: float = 0.25  # chance a frame that it ends: four frames on average
    visible_needed: float = 0.35  # below this visible share a person is missed nine times in ten
    box_jitter: float = 0.02  # of the box's size
    pose_noise: float = 0.10  # radians about each axis of a joint
    orientation_noise: float = 0.08  # the same of the global orientation
    depth_noise: float = 0.04  # of the depth
    lateral_noise: float = 0.01  # of the depth
    betas_noise: float = 0.3  # per track; a third of it again over time
    switch: float = 0.3  # chance that two tracks swap when their boxes come to overlap by half
    false_track: float = 0.15  # chance a video of a track of something that is not a person

    @classmethod
    def none(cls) -> Faults:
        """A perfect tracker."""
        return cls(0.0, 1.0, 0.0, *(0.0 for _ in range(8)))


@dataclass(frozen=True)
class Track:
    """One track over a video of T frames; `actor` (T,) says whom each frame shows, −1 for nobody real."""

    pose: Array  # (T,24,3,3), joint 0 in the camera frame
    betas: Array  # (T,10)
    translation: Array  # (T,3) m, camera frame
    box: Array  # (T,4) x, y, w, h pixels, inside the frame
    detected: NDArray[np.bool_]  # (T,)
    confidence: Array  # (T,) in [0, 1]
    actor: NDArray[np.int64]  # (T,)


def track(
    rng: np.random.Generator, filmed: list[Filmed], camera: Camera, faults: Faults, given: NDArray[np.int64]
) -> list[Track]:
    """Tracks, as long as the video, that a tracker with these faults would deliver for the filmed actors.

    `given` are frames whose ground-truth boxes are handed to the tracker instead of its own detections, as
    the paper does at AVA's key frames for training (section 4); for validation it is empty.
    """
    tracks = [_follow(rng, person, index, camera, faults, given) for index, person in enumerate(filmed)]
    tracks = _switched(rng, tracks, faults)
    if tracks and rng.random() < faults.false_track:
        tracks.append(_false(rng, tracks[int(rng.integers(len(tracks)))], camera))
    return tracks


def drift(rng: np.random.Generator, scale: float, *shape: int, memory: float = 0.8) -> Array:
    """Noise (T, …) of standard deviation `scale` with a memory: n_t = memory · n_(t−1) + fresh noise."""
    before = rng.normal(0, scale, (1, *shape[1:]))
    fresh = rng.normal(0, scale * np.sqrt(1 - memory**2), shape)
    return lfilter([1], [1, -memory], fresh, axis=0, zi=memory * before)[0].astype(np.float32)


def _follow(
    rng: np.random.Generator,
    person: Filmed,
    index: int,
    camera: Camera,
    faults: Faults,
    given: NDArray[np.int64],
) -> Track:
    frames = len(person.pose)
    detected = ~_missed(rng, person.visible, faults)
    shown = np.intersect1d(given, np.flatnonzero(person.visible > 0.1))
    detected[shown] = True

    angles = drift(rng, faults.pose_noise, frames, 24, 3)
    angles[:, 0] *= faults.orientation_noise / max(faults.pose_noise, 1e-9)
    noise = Rotation.from_rotvec(angles.reshape(-1, 3)).as_matrix().reshape(frames, 24, 3, 3)
    pose = (person.pose @ noise).astype(np.float32)

    place = person.translation
    depth = place[:, 2:]
    scale = 1 + drift(rng, faults.depth_noise, frames, 1, memory=0.95)
    translation = place * scale + drift(rng, faults.lateral_noise, frames, 3) * depth * [1, 1, 0]

    betas = person.betas + rng.normal(0, faults.betas_noise, 10)
    betas = betas + drift(rng, faults.betas_noise / 3, frames, 10)
    extent = np.tile(person.box[:, 2:] - person.box[:, :2], 2)
    jitter = drift(rng, faults.box_jitter, frames, 4) * extent
    jitter[shown] = 0
    box = _inside(person.box + jitter, camera.size)
    confidence = np.clip(0.6 + 0.4 * person.visible + rng.normal(0, 0.03, frames), 0.05, 1) * detected
    return Track(
        pose=pose,
        betas=betas.astype(np.float32),
        translation=translation.astype(np.float32),
        box=box.astype(np.float32),
        detected=detected,
        confidence=confidence.astype(np.float32),
        actor=np.full(frames, index),
    )


def _missed(rng: np.random.Generator, visible: Array, faults: Faults) -> NDArray[np.bool_]:
    draws, missed, lost = rng.random((len(visible), 2)), np.zeros(len(visible), dtype=bool), False
    for t, (change, hide) in enumerate(draws):
        lost = change >= faults.miss_stop if lost else change < faults.miss_start
        missed[t] = lost or visible[t] <= 0.05 or (visible[t] < faults.visible_needed and hide < 0.9)
    return missed


def _inside(corners: Array, size: tuple[int, int]) -> Array:
    """Corners (T,4) to x, y, w, h inside the frame, at least one pixel wide and high."""
    height, width = size
    low = np.clip(corners[:, :2], 0, [width - 1, height - 1])
    high = np.clip(corners[:, 2:], low + 1, [width, height])
    return np.concatenate([low, high - low], axis=1)


def overlap(a: Array, b: Array) -> Array:
    """Intersection over union (T,) of boxes a (T,4) and b (T,4), each x, y, w, h."""
    low = np.maximum(a[:, :2], b[:, :2])
    high = np.minimum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=1)
    return shared / (a[:, 2:].prod(axis=1) + b[:, 2:].prod(axis=1) - shared)


def _switched(rng: np.random.Generator, tracks: list[Track], faults: Faults) -> list[Track]:
    """Swap all that comes after, where two tracks begin to overlap by half."""
    for i in range(len(tracks)):
        for j in range(i):
            a, b = tracks[i], tracks[j]
            meets = (overlap(a.box, b.box) > 0.5) & a.detected & b.detected
            begins = np.flatnonzero(np.diff(meets.astype(np.int8)) == 1)
            for t in begins:
                if rng.random() < faults.switch:
                    tracks[i], tracks[j] = _swap(tracks[i], tracks[j], int(t) + 1)
    return tracks


def _swap(a: Track, b: Track, t: int) -> tuple[Track, Track]:
    def cut(first: Track, second: Track) -> Track:
        pairs = zip(vars(first).values(), vars(second).values(), strict=True)
        return Track(*(np.concatenate([x[:t], y[t:]]) for x, y in pairs))

    return cut(a, b), cut(b, a)


def _false(rng: np.random.Generator, model: Track, camera: Camera) -> Track:
    """A poster or a coat stand: a frozen pose at a fixed place, seen now and then."""
    frames = len(model.pose)
    first = int(rng.integers(0, max(1, frames - 60)))
    still = np.full(frames, int(rng.integers(frames)))
    width = camera.size[1]
    shift = np.array([rng.uniform(-0.4, 0.4) * width, 0, rng.uniform(-0.4, 0.4) * width, 0])
    box = model.box[still]
    corners = np.concatenate([box[:, :2], box[:, :2] + box[:, 2:]], axis=1) + shift
    translation = model.translation[still]
    translation[:, 0] += np.float32(shift[0] / camera.focal) * translation[:, 2]
    detected = np.zeros(frames, dtype=bool)
    detected[first : first + int(rng.integers(30, 90))] = True
    detected &= rng.random(frames) < 0.8
    confidence = (rng.uniform(0.4, 0.8) * detected * np.ones(frames)).astype(np.float32)
    box = _inside(corners, camera.size).astype(np.float32)
    return Track(
        model.pose[still], model.betas[still], translation, box, detected, confidence, np.full(frames, -1)
    )
