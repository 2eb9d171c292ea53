"""What a detector and HMR would say of a composed scene, since mini_ava has no pixels.

`detect` gives boxes, poses and places with the errors that `Faults` states, misses (by chance in bursts, by
occlusion, by truncation), colours as they look in the light of the moment, and false positives, in no
particular order. Each kind of chance has a stream of its own: other noise changes nothing but itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from lart_mini.boxes import Boxes, corners_from_xywh, inside_frame, shared_area, xywh_from_corners
from lart_mini.scenes.camera import Camera, Filmed
from lart_mini.scenes.scene import PARTS, Scene
from lart_mini.scenes.takes import Array
from lart_mini.tracking.detections import Detections
from lart_mini.tracking.tracks import Track

COLOURS = len(PARTS) * 3  # numbers of an appearance
HANDED_OUT_FROM = 0.1  # visible share from which on a key frame's ground-truth box is handed out


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
    light: float = 0.15  # of ln light: the scene's, and that of each person's place
    colour_noise: float = 0.08  # of one colour, of 1

    @classmethod
    def none(cls) -> Faults:
        """People as they are, where they are, in their own colours."""
        return cls(**dict.fromkeys((f.name for f in fields(cls)), 0.0) | {"miss_stop": 1.0})


def detect(
    scene: Scene,
    faults: Faults = Faults(),
    given: Sequence[int] | NDArray[np.int64] = (),
) -> Detections:
    """What a detector and HMR would say of a scene; all chance comes from the scene's seed.

    At the frames `given`, ground-truth boxes replace detections, as the paper does at AVA's key frames
    (supplement B.1): exact boxes, nobody missed of whom a tenth is visible, no false positives.
    """
    given = np.asarray(given, np.int64)
    misses, bodies, boxes = (scene.stream(purpose) for purpose in ("misses", "bodies", "boxes"))
    tracks = []
    for actor, person in enumerate(scene.filmed):
        detected = ~_missed(misses, person.visible, faults)
        detected[given] = person.visible[given] > HANDED_OUT_FROM
        pose, betas, translation = _reconstructed(bodies, person, faults)
        box, confidence = _boxed(boxes, person, scene.camera, faults, given)
        number = np.full(scene.frames, actor)
        tracks.append(Track(pose, betas, translation, box, detected, confidence * detected, number))
    false, false_colours = _false(scene, tracks, faults, given)
    colours = _colours(scene, faults) + false_colours
    parts = [_rows(one, look, given) for one, look in zip(tracks + false, colours, strict=True)]
    found = Detections.joined(parts)
    return found[np.lexsort((scene.stream("order").random(len(found)), found.frame))]


def drift(rng: np.random.Generator, scale: float, *shape: int, memory: float = 0.8) -> Array:
    """Noise (T, …) of standard deviation `scale` with a memory: n_t = memory · n_(t−1) + fresh noise."""
    before = rng.normal(0, scale, (1, *shape[1:]))
    fresh = rng.normal(0, scale * np.sqrt(1 - memory**2), shape)
    from scipy.signal import lfilter  # takes a second to import

    return lfilter([1], [1, -memory], fresh, axis=0, zi=memory * before)[0].astype(np.float32)


def _missed(rng: np.random.Generator, visible: Array, faults: Faults) -> NDArray[np.bool_]:
    draws, missed, lost = rng.random((len(visible), 2)), np.zeros(len(visible), dtype=bool), False
    for t, (change, hide) in enumerate(draws):
        lost = change >= faults.miss_stop if lost else change < faults.miss_start
        missed[t] = lost or visible[t] <= 0.05 or (visible[t] < faults.visible_needed and hide < 0.9)
    return missed


def _reconstructed(rng: np.random.Generator, person: Filmed, faults: Faults) -> tuple[Array, Array, Array]:
    """Pose (T,24,3,3), shape (T,10) and place (T,3) of a person, each with its noise."""
    frames = len(person.pose)
    scale = np.full((24, 1), faults.pose_noise)
    scale[0] = faults.orientation_noise
    angles = drift(rng, 1, frames, 24, 3) * scale
    noise = Rotation.from_rotvec(angles.reshape(-1, 3)).as_matrix().reshape(frames, 24, 3, 3)

    depth = person.translation[:, 2:]
    translation = person.translation * (1 + drift(rng, faults.depth_noise, frames, 1, memory=0.95))
    translation[:, :2] += drift(rng, faults.lateral_noise, frames, 2) * depth

    betas = person.betas + rng.normal(0, faults.betas_noise, 10)
    betas = betas + drift(rng, faults.betas_noise / 3, frames, 10)
    return (person.pose @ noise).astype(np.float32), betas.astype(np.float32), translation.astype(np.float32)


def _boxed(
    rng: np.random.Generator, person: Filmed, camera: Camera, faults: Faults, given: NDArray[np.int64]
) -> tuple[Boxes, Array]:
    """Box (T,4), x, y, w, h inside the frame, and confidence (T,) of a person."""
    frames = len(person.box)
    extent = np.tile(xywh_from_corners(person.box)[:, 2:], 2)
    jitter = drift(rng, faults.box_jitter, frames, 4) * extent
    jitter[given] = 0
    box = xywh_from_corners(inside_frame(person.box + jitter, camera.size))
    confidence = np.clip(0.6 + 0.4 * person.visible + rng.normal(0, 0.03, frames), 0.05, 1)
    return box.astype(np.float32), confidence.astype(np.float32)


def _rows(track: Track, colours: Array, given: NDArray[np.int64]) -> Detections:
    frame = np.flatnonzero(track.detected)
    is_given = np.isin(frame, given)
    return Detections(
        frame=frame,
        box=track.box[frame],
        confidence=np.where(is_given, np.float32(1), track.confidence[frame]),
        pose=track.pose[frame],
        betas=track.betas[frame],
        translation=track.translation[frame],
        appearance=colours[frame],
        given=is_given,
        actor=track.actor[frame],
    )


# ------------------------------------------------------------------------------------------------ appearance


def _colours(scene: Scene, faults: Faults) -> list[Array]:
    """Colours (T,24) of each actor as seen: hidden parts show those of whoever stands before them."""
    rng, frames = scene.stream("colours"), scene.frames
    background = np.full((1, len(PARTS), 3), 0.5)
    outfits = np.concatenate([scene.outfits, background])
    scene_light = drift(rng, faults.light, frames, memory=0.99)
    colours = []
    for actor, person in enumerate(scene.filmed):
        hidden = rng.random((frames, len(PARTS))) > person.visible[:, None]
        before = outfits[_hider(scene.filmed, actor)]
        shown = np.where(hidden[..., None], before, outfits[actor])  # (T,8,3)
        light = np.exp(scene_light + drift(rng, faults.light, frames, memory=0.98))
        lit = shown * light[:, None, None] + rng.normal(0, faults.colour_noise, shown.shape)
        colours.append(np.clip(lit, 0, 1).reshape(frames, COLOURS).astype(np.float32))
    return colours


def _hider(filmed: list[Filmed], actor: int) -> NDArray[np.int64]:
    """Number (T,) of the nearer person whose box covers most of the actor's, −1 for none."""
    hidden = filmed[actor]
    box = xywh_from_corners(hidden.box)
    covered = np.zeros((len(filmed), len(box)))
    for number, person in enumerate(filmed):
        nearer = (person.visible > 0) & (person.translation[:, 2] < hidden.translation[:, 2])
        covered[number] = shared_area(box, xywh_from_corners(person.box)) * nearer
    return np.where(covered.max(axis=0) > 0, covered.argmax(axis=0), -1)


# ------------------------------------------------------------------------------------------- false positives


def _false(
    scene: Scene, people: list[Track], faults: Faults, given: NDArray[np.int64]
) -> tuple[list[Track], list[Array]]:
    """What is taken for a person and is none, and its colours (T,24) each."""
    rng = scene.stream("false positives")
    false = [_blips(rng, _any(rng, people), scene.camera, faults)]
    if rng.random() < faults.false_track:
        false.append(_poster(rng, _any(rng, people), scene.camera))
    colours = []
    for thing in false:
        thing.detected[given] = False
        thing.detected[thing.translation[:, 2] <= 0] = False  # a copy of somebody who was behind the camera
        noise = rng.normal(0, faults.colour_noise, (scene.frames, COLOURS))
        colours.append((rng.uniform(0.1, 0.9, COLOURS) + noise).astype(np.float32))
    return false, colours


def _any(rng: np.random.Generator, tracks: list[Track]) -> Track:
    return tracks[int(rng.integers(len(tracks)))]


def _blips(rng: np.random.Generator, person: Track, camera: Camera, faults: Faults) -> Track:
    """Something taken for a person in single frames: `person` as in any frame, moved aside."""
    frames = len(person.pose)
    copied = rng.integers(0, frames, frames)
    shift = rng.uniform(-0.4, 0.4, frames) * camera.size[1]
    detected = rng.random(frames) < faults.false_positive
    confidence = rng.uniform(0.4, 0.8, frames)
    return _moved_aside(person, copied, shift, detected, confidence, camera)


def _poster(rng: np.random.Generator, person: Track, camera: Camera) -> Track:
    """A poster or a coat stand: `person` as in one frame, fixed at a place aside, seen now and then."""
    frames = len(person.pose)
    copied = np.full(frames, int(rng.integers(frames)))
    shift = np.full(frames, rng.uniform(-0.4, 0.4) * camera.size[1])
    first, length = int(rng.integers(0, max(1, frames - 60))), int(rng.integers(30, 90))
    frame = np.arange(frames)
    detected = (frame >= first) & (frame < first + length) & (rng.random(frames) < 0.8)
    confidence = np.full(frames, rng.uniform(0.4, 0.8))
    return _moved_aside(person, copied, shift, detected, confidence, camera)


def _moved_aside(
    person: Track,
    copied: NDArray[np.int64],
    shift: NDArray[np.float64],
    detected: NDArray[np.bool_],
    confidence: NDArray[np.float64],
    camera: Camera,
) -> Track:
    """`person` as in the frames `copied` (T,), box and place moved to the right by `shift` (T,) pixels."""
    corners = corners_from_xywh(person.box[copied]) + shift[:, None] * [1, 0, 1, 0]
    translation = person.translation[copied]
    translation[:, 0] += (shift / camera.focal * translation[:, 2]).astype(np.float32)
    return Track(
        pose=person.pose[copied],
        betas=person.betas[copied],
        translation=translation,
        box=xywh_from_corners(inside_frame(corners, camera.size)).astype(np.float32),
        detected=detected,
        confidence=(confidence * detected).astype(np.float32),
        actor=np.full(len(copied), -1),
    )
