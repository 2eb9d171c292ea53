"""From detections and identities to tracks, and from tracks to tracklets.

Your own detections and identities make tracklets from plain arrays:

    import numpy as np
    from lart_mini.people import load_body
    from lart_mini.tracking import Detections, to_tracklets
    from lart_mini.tracklets import write_released

    frame = np.arange(30)  # one detection in each of 30 frames; several in one frame are as good
    turn = np.eye(3, dtype=np.float32)
    detections = Detections(
        frame=frame,
        box=np.tile(np.float32([300, 100, 120, 400]), (30, 1)),  # x, y, w, h pixels
        confidence=np.full(30, 0.9, np.float32),
        pose=np.tile(turn, (30, 24, 1, 1)),  # local rotations, joint 0 in the camera frame
        betas=np.zeros((30, 10), np.float32),
        translation=np.tile(np.float32([0, 0, 5]), (30, 1)),  # metres: x right, y down, z forward
        appearance=np.zeros((30, 0), np.float32),
        given=np.zeros(30, bool),
        actor=np.full(30, -1),
    )
    ids = np.full(30, 7)  # or lart_mini.tracking.track(detections)
    name = {"dataset": "own-val", "video": "my_video_01"}  # a video's name has 11 characters
    made = to_tracklets(detections, ids, load_body(), **name, frame_size=(720, 1280))
    write_released(made[0], made[0].name + ".pkl")  # `lart-mini validate` accepts it
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lart_mini import ava
from lart_mini.files import BadInput
from lart_mini.people.body import Body
from lart_mini.scenes.takes import Array
from lart_mini.tracking.detections import Detections
from lart_mini.tracklets.tracklet import Tracklet

VIDEO_LENGTH = 11  # characters of a video's id in a tracklet's name
UNQUESTIONED = 200_000  # frames that the tracklets of any file may have: two hours at 30 a second
GAPS = 20  # beyond that, so many times as many as were seen


def video_id(name: str) -> str:
    """The 11 characters that stand for a video in tracklets' names: its own, filled up with `_`.

    Of a longer name, or one that looks filled up itself, the first four characters and six of a digest of
    all, so that no two names become one.
    """
    if len(name) <= VIDEO_LENGTH and not name.endswith("_"):
        return f"{name:_<{VIDEO_LENGTH}}"
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    letters = "0123456789abcdefghijklmnopqrstuv"  # five bits each
    return f"{name[:4]:_<4}-" + "".join(letters[byte % 32] for byte in digest[:6])


def check_lengths(file: str | Path, lengths: list[int], seen: int) -> None:
    """Raise BadInput where tracklets of `lengths` frames would be made out of far fewer detections.

    A frame number of a billion in one line is no reason to make a billion frames.
    """
    most = max(UNQUESTIONED, GAPS * seen)
    if sum(lengths) > most:
        expected = f"at most {most:,} frames from people's first to their last, for {seen:,} detections"
        raise BadInput(file, "frame", expected, f"{sum(lengths):,}")


@dataclass(frozen=True)
class Track:
    """What was detected, frame by frame, of one person or of one track, over T frames."""

    pose: Array  # (T,24,3,3), joint 0 in the camera frame
    betas: Array  # (T,10)
    translation: Array  # (T,3) m, camera frame
    box: Array  # (T,4) x, y, w, h pixels, inside the frame
    detected: NDArray[np.bool_]  # (T,)
    confidence: Array  # (T,) in [0, 1]
    actor: NDArray[np.int64]  # (T,) whom each frame shows, −1 for nobody real or not known


def follow(detections: Detections, ids: NDArray[np.int64], first: int, length: int) -> dict[int, Track]:
    """Tracks by id, each over all frames [first, first + length) of a video; ids (N,), −1 for none.

    A frame without a detection repeats the one before (at the start: the first one) and is not detected.
    Raises BadInput where two detections of a frame have one id.
    """
    inside = (detections.frame >= first) & (detections.frame < first + length) & (ids >= 0)
    detections, ids = detections[inside], ids[inside]
    found = {}
    for one in np.unique(ids).tolist():
        seen = detections[ids == one]
        twice = np.flatnonzero(np.diff(seen.frame) == 0)
        if len(twice):
            found_twice = f"id {one} twice in frame {seen.frame[twice[0]]}"
            raise BadInput("tracks", "ids", "one detection of an id a frame", found_twice)
        detected = np.zeros(length, np.bool_)
        detected[seen.frame - first] = True
        held = seen[(np.cumsum(detected) - 1).clip(0)]
        confidence = np.where(detected, held.confidence, np.float32(0))
        found[one] = Track(
            held.pose, held.betas, held.translation, held.box, detected, confidence, held.actor
        )
    return found


def to_tracklets(
    detections: Detections,
    ids: NDArray[np.int64],
    body: Body,
    *,
    dataset: str,
    video: str,
    frame_size: tuple[int, int],
    span: tuple[int, int] | None = None,
    keyframe: int = 0,
) -> list[Tracklet]:
    """One tracklet a track id, ascending, without labels; ids (N,), −1 for detections in no track.

    `span` is the window's first frame and length, from the first to the last detection if not given;
    `dataset` ("ava-val"), `video` (11 characters) and `keyframe` go into the names. Raises BadInput on broken
    fields.
    """
    detections.validate(video)
    if not (ids >= 0).any():
        raise BadInput(video, "ids", "a detection in a track", "none")
    first, last = int(detections.frame[0]), int(detections.frame[-1])
    first, length = (first, last - first + 1) if span is None else span
    made = []
    for one, track in follow(detections, ids, first, length).items():
        where: Any = {"dataset": dataset, "video": video, "keyframe": keyframe, "frame_size": frame_size}
        made.append(tracklet_of(one, track, body, first=first, **where).validate())
    return made


def tracklet_of(
    number: int,
    track: Track,
    body: Body,
    *,
    dataset: str,
    video: str,
    keyframe: int,
    first: int,
    frame_size: tuple[int, int],
) -> Tracklet:
    """The tracklet, without labels, of track `number`, whose first row is frame `first` of the video."""
    length = len(track.detected)
    return Tracklet(
        name=f"{dataset}_{video}_{keyframe:06d}_{number}_{length}",
        video=video,
        track=number,
        keyframe=keyframe,
        frame=np.arange(first, first + length),
        pose=track.pose,
        betas=track.betas,
        translation=track.translation,
        joints=body.joints45(track.pose, track.betas),
        detected=track.detected,
        box=track.box,
        frame_size=np.array(frame_size, np.int64),
        confidence=track.confidence,
        labels=np.zeros((length, ava.CLASS_COUNT), np.float32),
        label_source=np.zeros(length, np.int8),
    )
