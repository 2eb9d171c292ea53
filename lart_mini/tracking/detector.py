"""What a detector and HMR would say of a composed scene, since mini_ava has no pixels.

`detect` gives boxes, poses and places with the errors that `Faults` states, misses (by chance in bursts, by
occlusion, by truncation), colours as they look in the light of the moment, and false positives, in no
particular order. Each kind of chance has a stream of its own: other noise changes nothing but itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lart_mini.boxes import Boxes, corners_from_xywh, inside_frame, shared_area, xywh_from_corners
from lart_mini.scenes.camera import Camera, Filmed
from lart_mini.scenes.scene import PARTS, Scene
from lart_mini.scenes.takes import Array
from lart_mini.tracking.detections import Detections
from lart_mini.tracking.faults import Faults, bursts, drift
from lart_mini.tracking.reconstruction import reconstruct
from lart_mini.tracking.tracks import Track

COLOURS = len(PARTS) * 3  # numbers of an appearance
HANDED_OUT_FROM = 0.1  # visible share from which on a key frame's ground-truth box is handed out


def detect(
    scene: Scene,
    faults: Faults = Faults(),  # noqa: B008  (frozen)
    given: Sequence[int] | NDArray[np.int64] = (),
) -> Detections:
    """What a detector and HMR would say of a scene; all chance comes from the scene's seed.

    At the frames `given`, ground-truth boxes replace detections, as the paper does at AVA's key frames
    (section C.1): exact boxes, nobody missed of whom a tenth is visible, no false positives.
    """
    given = np.asarray(given, np.int64)
    misses, boxes = scene.stream("misses"), scene.stream("boxes")
    tracks = []
    for actor, (person, body) in enumerate(zip(scene.filmed, reconstruct(scene, faults), strict=True)):
        pose, betas, translation = body
        detected = ~_missed(misses, person.visible, faults)
        detected[given] = person.visible[given] > HANDED_OUT_FROM
        detected &= translation[:, 2] > 0  # who fills the lens has no place
        box, confidence = _boxed(boxes, person, scene.camera, faults, given)
        number = np.full(scene.frames, actor)
        tracks.append(Track(pose, betas, translation, box, detected, confidence * detected, number))
    false, false_colours = _false(scene, tracks, faults, given)
    colours = _colours(scene, faults) + false_colours
    parts = [_rows(one, look, given) for one, look in zip(tracks + false, colours, strict=True)]
    found = Detections.joined(parts)
    return found[np.lexsort((scene.stream("order").random(len(found)), found.frame))]


def _missed(rng: np.random.Generator, visible: Array, faults: Faults) -> NDArray[np.bool_]:
    lost = bursts(rng, np.full(len(visible), faults.miss_start), faults.miss_stop)
    hidden = (visible < faults.visible_needed) & (rng.random(len(visible)) < 0.9)
    return lost | hidden | (visible <= 0.05)


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
