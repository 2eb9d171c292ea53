"""One video of mini_ava: its scene, filmed and detected; what a tracker makes of it; and its ground truth.

As in AVA, a video's second 900 is its frame 0 and ground truth stands at 1 Hz from second 902 on.
`lart_mini.tracking` links the detections: in windows of four seconds about AVA's key frames, each on its own,
and over whole clips of Kinetics (supplement C.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lart_mini import ava
from lart_mini.boxes import fractions_from_corners
from lart_mini.people import body
from lart_mini.scenes.scene import Scene, compose, stream
from lart_mini.scenes.takes import Segment
from lart_mini.tracking.detections import Detections
from lart_mini.tracking.detector import detect
from lart_mini.tracking.faults import Faults
from lart_mini.tracking.tracker import TrackerConfig, track
from lart_mini.tracking.tracks import Track, follow, tracklet_of
from lart_mini.tracklets.tracklet import GROUND_TRUTH, Tracklet

WINDOW = 128  # frames tracked around AVA's key frames: the paper's four seconds and a little
WINDOW_STEP = 120
FIRST_WINDOW = 41  # so that the key frames at 60, 90, 120, 150 lie evenly in the first window
WINDOW_MIDDLE = 79  # from a window's first frame to the key frame that names it
CLIP = 300  # frames of a Kinetics-like clip
FEWEST = 8  # detections of a tracklet; tracks of fewer are left out
NAMED = {"ava-train": "train", "kinetics-train": "kinet", "ava-val": "val00", "ava-test": "test0"}
PEOPLE = {1: 0.15, 2: 0.3, 3: 0.3, 4: 0.15, 5: 0.1}  # actors asked for, and how often
TRACKERS = ("lart", "iou", "truth", "none")
PERFECT = "perfect"  # true identities of people who are seen as they are


@dataclass(frozen=True)
class Video:
    """One composed video: its tracklets, its ground-truth rows, and what it was made of."""

    about: dict
    tracklets: list[Tracklet]
    rows: list[tuple]
    clips: list[tuple] = field(default_factory=list)  # video, second, person, clip


def groundtruth_of(videos: Sequence[Video]) -> pl.DataFrame:
    """The videos' ground truth as `ava_csv.read_groundtruth` gives it."""
    columns = ["video", "second", "x1", "y1", "x2", "y2", "action", "person"]
    return pl.DataFrame([row for video in videos for row in video.rows], schema=columns, orient="row")


def compose_scene(
    pool: list[Segment], split: str, windows: int, action: int, seed: tuple[int, ...], model: body.Body
) -> Scene:
    """The scene of a split's video, led by an actor who shows `action`; all chance comes from `seed`."""
    frames = CLIP if split == "kinetics-train" else FIRST_WINDOW + WINDOW_STEP * (windows - 1) + WINDOW
    people = int(stream(seed, "people").choice(list(PEOPLE), p=list(PEOPLE.values())))
    return compose(pool, seed, model, frames=frames, people=people, action=action)


def detected(scene: Scene, split: str, faults: Faults = Faults()) -> Detections:  # noqa: B008  (frozen)
    """The scene of a split's video as its detector sees it.

    As in the paper, only trackers of training videos are handed ground-truth boxes.
    """
    return detect(scene, faults, given=annotated_frames(scene) if split == "ava-train" else ())


def video_of(
    scene: Scene,
    split: str,
    index: int,
    model: body.Body,
    tracker: str = "lart",
    faults: Faults = Faults(),  # noqa: B008  (frozen)
    seen: Detections | None = None,
    rows: list[tuple] | None = None,
) -> Video:
    """Video `index` of `split`: the scene detected, its detections linked by `tracker`, and its ground truth.

    `faults` are the detector's; who sees people as they are has none. `seen`: what `detected` gave with
    these faults, if it is at hand. `rows` stand in for the ground truth's.

    - "lart": the 3D tracker, and "iou": the overlap of boxes alone (`TrackerConfig`)
    - "truth": detections of one actor make one track; those of nobody make none
    - "perfect": as "truth", of detections without faults
    - "none": each detection at a key frame (Kinetics: at each full second) is a tracklet of that frame alone.
      Nothing says who the person was a frame before, so labels reach no other frame, either.
    """
    name, keyframes = video_name(split, index), annotated_frames(scene)
    rows = groundtruth_rows(scene, split, index) if rows is None else rows
    labelled = _labels_at(rows)
    if tracker == PERFECT:
        faults, tracker, seen = Faults.none(), "truth", None
    detections = detected(scene, split, faults) if seen is None else seen
    tracklets = []
    for first, length, keyframe in _spans(split, scene.frames, keyframes, tracker):
        where: Any = {"dataset": split, "video": name, "keyframe": keyframe, "frame_size": scene.camera.size}
        for number, person in _tracks(detections, first, length, tracker).items():
            if person.detected.sum() >= min(FEWEST, length):
                tracklet = tracklet_of(number, person, model, first=first, **where)
                labels, source = _dense_labels(person, first, labelled)
                tracklets.append(replace(tracklet, labels=labels, label_source=source))
    about = {
        "split": split,
        "video": name,
        "frames": scene.frames,
        "actors": len(scene.actors),
        "composited": scene.composited,
        "takes": [list(actor.takes) for actor in scene.actors],
    }
    return Video(about, tracklets, rows, _clips(rows, scene))


def video_name(split: str, index: int) -> str:
    """The name of video `index` of a split: eleven characters, as YouTube's names have."""
    return f"{NAMED[split]}{index:06d}"


def place_of(name: str) -> tuple[str, int] | None:
    """The way back from `video_name`: split and number; None for a name that no video has."""
    for split in NAMED:
        if name[-6:].isdecimal() and video_name(split, int(name[-6:])) == name:
            return split, int(name[-6:])
    return None


def annotated_frames(scene: Scene) -> NDArray[np.int64]:
    """The key frames (K,) of a scene: AVA's ground truth stands there, one a second."""
    return np.arange(ava.keyframe(ava.FIRST_SECOND), scene.frames - 5, ava.FRAMES_PER_SECOND)


def groundtruth_rows(scene: Scene, split: str, index: int) -> list[tuple]:
    """The CSV's rows of video `index` of `split`; clips of Kinetics have none."""
    if split == "kinetics-train":
        return []
    return _groundtruth(video_name(split, index), scene, annotated_frames(scene))


def _spans(split: str, frames: int, keyframes: np.ndarray, tracker: str) -> list[tuple[int, int, int]]:
    """What is tracked on its own: first frame, frames, and the key frame that the tracklets are named by."""
    if tracker == "none":
        seconds = range(0, frames, ava.FRAMES_PER_SECOND) if split == "kinetics-train" else keyframes.tolist()
        return [(frame, 1, frame) for frame in seconds]
    if split == "kinetics-train":
        return [(0, frames, 0)]
    starts = range(FIRST_WINDOW, frames - WINDOW + 1, WINDOW_STEP)
    return [(first, WINDOW, first + WINDOW_MIDDLE) for first in starts]


def _tracks(detections: Detections, first: int, length: int, tracker: str) -> dict[int, Track]:
    """Tracks by number within [first, first + length), as long as that."""
    window = detections.window(first, length)
    if len(window) == 0:
        return {}
    if tracker == "none":
        ids = np.arange(len(window))
    elif tracker == "truth":
        ids = window.actor
    else:
        ids = track(window, TrackerConfig.iou() if tracker == "iou" else TrackerConfig.lart())
    return follow(window, ids, first, length)


def _groundtruth(name: str, scene: Scene, keyframes: np.ndarray) -> list[tuple]:
    """The CSV's rows: key frame after key frame, actor after actor, a row for each action."""
    rows = []
    annotated = scene.annotated
    boxes = [fractions_from_corners(person.box, scene.camera.size).round(3) for person in scene.filmed]
    for frame in keyframes.tolist():
        for actor in np.flatnonzero(annotated[:, frame]).tolist():
            box = boxes[actor][frame].tolist()
            for action in np.flatnonzero(scene.filmed[actor].labels[frame]) + 1:
                rows.append((name, ava.second(frame), *box, int(action), actor))
    return rows


def _clips(rows: list[tuple], scene: Scene) -> list[tuple]:
    """Of each box of the CSV's rows: video, second, person, and the clip of the library that it shows."""
    boxes = sorted({(video, second, person) for video, second, *_, person in rows})
    found = []
    for video, second, person in boxes:
        actor = scene.actors[person]
        take = actor.takes[actor.shown[ava.keyframe(second)]]
        found.append((video, second, person, take.removesuffix("_mirrored")))
    return found


def _labels_at(rows: list[tuple]) -> dict[tuple[int, int], list[int]]:
    """(actor, key frame) → action ids, from the CSV's rows alone: dense labels know no more than AVA's."""
    found: dict[tuple[int, int], list[int]] = {}
    for _, second, *_, action, actor in rows:
        found.setdefault((actor, ava.keyframe(second)), []).append(action)
    return found


def _dense_labels(
    person: Track, first: int, labelled: dict[tuple[int, int], list[int]]
) -> tuple[np.ndarray, np.ndarray]:
    """Labels (T,80) and their source (T,): a key frame's hold for the second about it (section 4)."""
    frame = np.arange(first, first + len(person.detected))
    labels, source = np.zeros((len(frame), ava.CLASS_COUNT), np.float32), np.zeros(len(frame), np.int8)
    key = ava.nearest_keyframe(frame)
    # Whom the track shows at the key frame counts for the whole second, also where identities were switched.
    at = (key - first).clip(0, len(frame) - 1)
    known = (frame[at] == key) & person.detected[at]
    for t in np.flatnonzero(known):
        who = int(person.actor[at[t]]), int(key[t])
        if who in labelled:
            labels[t, np.array(labelled[who]) - 1] = 1
            source[t] = GROUND_TRUTH
    return labels, source
