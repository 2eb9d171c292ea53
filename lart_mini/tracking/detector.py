"""What a detector and HMR would say of a filmed scene, since mini_ava has no pixels.

`detect` gives boxes, poses and places with the errors that `Faults` states, misses (by chance in bursts, by
occlusion, by truncation), colours as they look in the light of the moment, and false positives, in no
particular order."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.spatial.transform import Rotation

from lart_mini.boxes import _inside
from lart_mini.scenes.camera import Camera, Filmed
from lart_mini.scenes.takes import Array
from lart_mini.tracking.detections import Detections
from lart_mini.tracking.tracks import Track

PARTS = 8  # of the body, each of one colour
FEWEST = 0.1  # visible share from which on a key frame's ground-truth box is handed out


# ------------------------------------------------------------------------------------------------- simulated


@dataclass(frozen=True)
class Faults:
    """What stands between people and what is detected of them. Noise is given by its standard deviation.

    Noise of bodies drifts over time. That of pose and orientation displaces joints by about 80 mm (pelvis
    aligned) and 48 mm (Procrustes aligned) in the mean, near what HMR 2.0, the paper's reconstruction,
    reports for in-the-wild video (3DPW).
    """

    miss_start: float = 0.01  # chance a frame that a burst of missed detections begins
    miss_stop: float = 0.25  # chance a frame that it ends: four frames on average
    visible_needed: float = 0.35  # below this visible share a person is missed nine times in ten
    box_jitter: float = 0.02  # of the box's size
    pose_noise: float = 0.10  # radians about each axis of a joint
    orientation_noise: float = 0.08  # the same of the global orientation
    depth_noise: float = 0.04  # of the depth
    lateral_noise: float = 0.01  # of the depth
    betas_noise: float = 0.3  # per person; a third of it again over time
    false_track: float = 0.15  # chance a video of a thing that stands still and is taken for a person
    false_positive: float = 0.02  # chance a frame of a detection where nobody is
    alike: float = 0.5  # chance that an actor is dressed as the one before
    light: float = 0.15  # of ln light: the scene's, and that of each person's place
    colour_noise: float = 0.08  # of one colour, of 1

    @classmethod
    def none(cls) -> Faults:
        """People as they are, where they are, in their own colours."""
        return cls(**dict.fromkeys((f.name for f in fields(cls)), 0.0) | {"miss_stop": 1.0})


def detect(
    rng: np.random.Generator,
    filmed: list[Filmed],
    camera: Camera,
    faults: Faults,
    given: NDArray[np.int64],
) -> Detections:
    """What a detector and HMR would say of a filmed scene; all chance comes from `rng`.

    At the frames `given`, ground-truth boxes replace detections, as the paper does at AVA's key frames
    (supplement B.1): exact boxes, nobody missed of whom a tenth is visible, no false positives.
    """
    seen = [_seen(rng, person, index, camera, faults, given) for index, person in enumerate(filmed)]
    looks = _looks(rng, filmed, faults)
    for one, person in zip(seen, filmed, strict=True):
        one.detected[given[person.visible[given] <= FEWEST]] = False
    false = [_blips(rng, _any(rng, seen), camera, faults)]
    if rng.random() < faults.false_track:
        false.append(_poster(rng, _any(rng, seen), camera))
    for one in false:
        one.detected[given] = False
        one.detected[one.translation[:, 2] <= 0] = False  # a copy of somebody who was behind the camera
        noise = rng.normal(0, faults.colour_noise, (len(one.box), PARTS * 3))
        looks.append((rng.uniform(0.1, 0.9, PARTS * 3) + noise).astype(np.float32))
    rows = Detections.joined([_rows(one, look, given) for one, look in zip(seen + false, looks, strict=True)])
    return rows[np.lexsort((rng.random(len(rows)), rows.frame))]


def drift(rng: np.random.Generator, scale: float, *shape: int, memory: float = 0.8) -> Array:
    """Noise (T, …) of standard deviation `scale` with a memory: n_t = memory · n_(t−1) + fresh noise."""
    before = rng.normal(0, scale, (1, *shape[1:]))
    fresh = rng.normal(0, scale * np.sqrt(1 - memory**2), shape)
    return lfilter([1], [1, -memory], fresh, axis=0, zi=memory * before)[0].astype(np.float32)


def _seen(
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


def _any(rng: np.random.Generator, tracks: list[Track]) -> Track:
    return tracks[int(rng.integers(len(tracks)))]


def _rows(one: Track, looks: Array, given: NDArray[np.int64]) -> Detections:
    frame = np.flatnonzero(one.detected)
    is_given = np.isin(frame, given)
    return Detections(
        frame=frame,
        box=one.box[frame],
        confidence=np.where(is_given, np.float32(1), one.confidence[frame]),
        pose=one.pose[frame],
        betas=one.betas[frame],
        translation=one.translation[frame],
        appearance=looks[frame],
        given=is_given,
        actor=one.actor[frame],
    )


def _looks(rng: np.random.Generator, filmed: list[Filmed], faults: Faults) -> list[Array]:
    """Colours (T,24) of each actor as seen: 8 parts, of which hidden ones show whoever stands before them."""
    frames = len(filmed[0].pose)
    colours = rng.uniform(0.1, 0.9, (len(filmed) + 1, PARTS, 3))
    for i in range(1, len(filmed)):
        if rng.random() < faults.alike:
            colours[i] = colours[i - 1] + rng.normal(0, 0.05, (PARTS, 3))
    colours[-1] = 0.5  # the background
    looks = []
    scene_light = drift(rng, faults.light, frames, memory=0.99)
    for i, person in enumerate(filmed):
        hidden = rng.random((frames, PARTS)) > person.visible[:, None]
        shown = np.where(hidden[..., None], colours[_hider(filmed, i)], colours[i])  # (T,8,3)
        light = np.exp(scene_light + drift(rng, faults.light, frames, memory=0.98))
        seen = shown * light[:, None, None] + rng.normal(0, faults.colour_noise, shown.shape)
        looks.append(np.clip(seen, 0, 1).reshape(frames, PARTS * 3).astype(np.float32))
    return looks


def _hider(filmed: list[Filmed], i: int) -> NDArray[np.int64]:
    """Number (T,) of the nearer actor whose box covers most of actor i's, −1 for none."""
    person = filmed[i]
    covered = np.zeros((len(filmed), len(person.box)))
    for k, other in enumerate(filmed):
        low = np.maximum(person.box[:, :2], other.box[:, :2])
        shared = np.clip(np.minimum(person.box[:, 2:], other.box[:, 2:]) - low, 0, None)
        nearer = (other.visible > 0) & (other.translation[:, 2] < person.translation[:, 2])
        covered[k] = shared.prod(axis=1) * nearer
    return np.where(covered.max(axis=0) > 0, covered.argmax(axis=0), -1)


def _blips(rng: np.random.Generator, model: Track, camera: Camera, faults: Faults) -> Track:
    """Something taken for a person in single frames: a pose of `model` from any frame, moved aside."""
    frames = len(model.pose)
    source = rng.integers(0, frames, frames)
    shift = (rng.uniform(-0.4, 0.4, frames) * camera.size[1]).astype(np.float32)
    box = model.box[source]
    corners = np.concatenate([box[:, :2], box[:, :2] + box[:, 2:]], axis=1)
    corners[:, ::2] += shift[:, None]
    translation = model.translation[source]
    translation[:, 0] += shift / np.float32(camera.focal) * translation[:, 2]
    return Track(
        pose=model.pose[source],
        betas=model.betas[source],
        translation=translation,
        box=_inside(corners, camera.size).astype(np.float32),
        detected=rng.random(frames) < faults.false_positive,
        confidence=rng.uniform(0.4, 0.8, frames).astype(np.float32),
        actor=np.full(frames, -1),
    )


def _poster(rng: np.random.Generator, model: Track, camera: Camera) -> Track:
    """A poster or a coat stand: a pose of `model` frozen at a fixed place, seen now and then."""
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
