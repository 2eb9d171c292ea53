"""From tracks to tracklets: our own, PHALP's result file, or a MOTChallenge text with poses.

Your own detections and identities make tracklets from plain arrays:

    import numpy as np
    from lart_mini.body import load_body
    from lart_mini.detections import Detections
    from lart_mini.tracking import to_tracklets
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

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lart_mini.body import Body, load_body
from lart_mini.detections import Detections, Track
from lart_mini.errors import BadInput
from lart_mini.released_file import PUBLISHED_DEPTH_UNIT
from lart_mini.safe_pickle import read_pickle
from lart_mini.tracklets import CLASSES, Tracklet

MOT_COLUMNS = 7  # frame, id, x, y, w, h, confidence; what follows is not read


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
        labels=np.zeros((length, CLASSES), np.float32),
        label_source=np.zeros(length, np.int8),
    )


# ------------------------------------------------------------------------------------------------------ PHALP


def from_phalp(
    path: str | Path, *, dataset: str = "phalp-video", video: str | None = None, keyframe: int = 0
) -> list[Tracklet]:
    """Tracklets of PHALP's result file (`results/<name>.pkl`), read without running anything in it.

    The file is a dict of frames; each holds lists with an entry a track. Only entries that were detected in
    their frame count (`tracked_time` 0), and a tracklet goes from a track's first such frame to its last.
    PHALP gives depths for a focal length of 5000 pixels; the person-vectors have them in units of 200, as
    published.
    `video` (11 characters) is taken from the file's name if not given. Raises BadInput on anything wrong.
    """
    path = Path(path)
    content = read_pickle(path)
    if not isinstance(content, dict) or not content:
        found = "an empty dict" if content == {} else type(content).__name__
        raise BadInput(path, "pickle", "a dict of frames", found)
    rows: dict[int, list[dict[str, Any]]] = {}
    before = -1
    for name, frame in content.items():
        for row in _phalp_frame(path, name, frame):
            if row["time"] <= before:
                raise BadInput(path, "time", f"a number above {before} in {name}", row["time"])
            rows.setdefault(row["tid"], []).append(row)
        before = int(frame["time"])
    if not rows:
        raise BadInput(path, "tid", "a tracked person", "none in any frame")
    video = video or f"{path.stem.removeprefix('demo_')[:11]:_<11}"
    return [_phalp_tracklet(path, one, rows[one], dataset, video, keyframe) for one in sorted(rows)]


def _phalp_frame(path: Path, name: object, frame: Any) -> list[dict[str, Any]]:
    """The entries of one frame whose person was detected in it, as one dict each."""
    keys = ("tid", "tracked_time", "bbox", "size", "conf", "smpl", "camera", "3d_joints")
    if not isinstance(frame, dict) or not isinstance(frame.get("time"), int):
        raise BadInput(path, f"{name}", "a dict with the frame's number under `time`", type(frame).__name__)
    for key in keys:
        if not isinstance(frame.get(key), list) or len(frame[key]) != len(frame["tid"]):
            found = "none, or one of another length"
            raise BadInput(path, f"{name}: {key}", "a list with an entry a track", found)
    rows = [
        {key: frame[key][i] for key in keys} | {"time": frame["time"]}
        for i, passed in enumerate(frame["tracked_time"])
        if passed == 0
    ]
    seen = [row["tid"] for row in rows]
    if not all(isinstance(one, (int, np.integer)) and one >= 0 for one in seen):
        raise BadInput(path, f"{name}: tid", "whole numbers from 0", seen)
    if len(set(seen)) != len(seen):
        raise BadInput(path, f"{name}: tid", "one detection of an id a frame", seen)
    return rows


def _phalp_tracklet(
    path: Path, one: int, rows: list[dict[str, Any]], dataset: str, video: str, keyframe: int
) -> Tracklet:
    frame = np.array([row["time"] for row in rows], np.int64)
    smpl = [row["smpl"] if isinstance(row["smpl"], dict) else {} for row in rows]

    def stacked(field: str, values: list[Any], *shape: int) -> NDArray[np.float32]:
        arrays = [np.asarray(value) for value in values]
        size = int(np.prod(shape))
        if any(array.dtype.kind not in "fiu" or array.size != size for array in arrays):
            raise BadInput(path, f"{field} of track {one}", f"numbers of shape {shape}", "something else")
        return np.stack([array.reshape(shape) for array in arrays]).astype(np.float32)

    orient = stacked("smpl global_orient", [s.get("global_orient") for s in smpl], 1, 3, 3)
    pose = stacked("smpl body_pose", [s.get("body_pose") for s in smpl], 23, 3, 3)
    detected = np.zeros(frame[-1] - frame[0] + 1, np.bool_)
    detected[frame - frame[0]] = True
    held = np.cumsum(detected) - 1
    sizes = stacked("size", [row["size"] for row in rows], 2)
    # Boxes reach outside the picture where people do.
    box = _cropped(stacked("bbox", [row["bbox"] for row in rows], 4), sizes)
    tracklet = Tracklet(
        name=f"{dataset}_{video}_{keyframe:06d}_{one}_{len(detected)}",
        video=video,
        track=one,
        keyframe=keyframe,
        frame=np.arange(frame[0], frame[-1] + 1),
        pose=np.concatenate([orient, pose], axis=1)[held],
        betas=stacked("smpl betas", [s.get("betas") for s in smpl], 10)[held],
        translation=stacked("camera", [row["camera"] for row in rows], 3)[held],
        joints=stacked("3d_joints", [row["3d_joints"] for row in rows], 45, 3)[held],
        detected=detected,
        box=box[held],
        frame_size=sizes[0].astype(np.int64),
        confidence=stacked("conf", [row["conf"] for row in rows], 1)[held, 0] * detected,
        labels=np.zeros((len(detected), CLASSES), np.float32),
        label_source=np.zeros(len(detected), np.int8),
        depth_unit=PUBLISHED_DEPTH_UNIT,
    )
    return tracklet.validate(path)


def _cropped(box: NDArray[np.float32], sizes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Boxes (N,4) x, y, w, h, cut to their frames of height and width sizes (N,2)."""
    low = np.clip(box[:, :2], 0, sizes[:, ::-1] - 1)
    high = np.clip(box[:, :2] + box[:, 2:], low + 1, sizes[:, ::-1])
    return np.concatenate([low, high - low], axis=1)


# ----------------------------------------------------------------------------------------------- MOTChallenge


def from_mot(
    path: str | Path,
    poses: str | Path,
    *,
    frame_size: tuple[int, int],
    dataset: str = "mot-video",
    video: str | None = None,
    keyframe: int = 0,
    body: Body | None = None,
) -> list[Tracklet]:
    """Tracklets of a MOTChallenge text (frame, id, x, y, w, h, confidence, …) and an .npz of poses.

    Row i of the .npz's `pose` (N,24,3,3), `betas` (N,10) and `translation` (N,3) belongs to line i of the
    text. Frames, which MOTChallenge counts from 1, count from 0 here. `frame_size` is height and width in
    pixels. Raises BadInput on anything wrong.
    """
    path, poses = Path(path), Path(poses)
    table = _mot_table(path)
    arrays: dict[str, NDArray[np.float32]] = {}
    for field, shape in (("pose", (24, 3, 3)), ("betas", (10,)), ("translation", (3,))):
        arrays[field] = _pose_array(poses, field, (len(table), *shape))
    count = len(table)
    size = np.broadcast_to(np.array(frame_size, np.float32), (count, 2))
    detections = Detections(
        frame=table[:, 0].astype(np.int64) - 1,
        box=_cropped(table[:, 2:6].astype(np.float32), size),
        confidence=table[:, 6].astype(np.float32),
        appearance=np.zeros((count, 0), np.float32),
        given=np.zeros(count, np.bool_),
        actor=np.full(count, -1),
        **arrays,
    ).validate(path)
    ids = table[:, 1].astype(np.int64)
    pairs, counts = np.unique(np.stack([detections.frame, ids]), axis=1, return_counts=True)
    if (counts > 1).any():
        frame, one = pairs[:, np.argmax(counts > 1)].tolist()
        raise BadInput(path, "id", "one line of an id a frame", f"id {one} twice in frame {frame + 1}")
    video = video or f"{path.stem[:11]:_<11}"
    where = {"dataset": dataset, "video": video, "frame_size": frame_size, "keyframe": keyframe}
    return to_tracklets(detections, ids, body or load_body(), **where)  # type: ignore[arg-type]


def _mot_table(path: Path) -> NDArray[np.float64]:
    """The first seven numbers of every line (N,7)."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not lines:
        raise BadInput(path, "file", "lines of frame, id, x, y, w, h, confidence", "an empty file")
    try:
        table = np.array([[float(cell) for cell in line.split(",")[:MOT_COLUMNS]] for line in lines])
    except ValueError:
        raise BadInput(path, "line", f"{MOT_COLUMNS} numbers divided by commas", "something else") from None
    if table.shape[1:] != (MOT_COLUMNS,) or not np.isfinite(table).all():
        raise BadInput(path, "line", f"{MOT_COLUMNS} finite numbers", "fewer, or NaN or infinity")
    if (table[:, :2] != table[:, :2].round()).any() or table[:, 0].min() < 1 or table[:, 1].min() < 0:
        raise BadInput(path, "frame, id", "whole numbers from 1, and from 0", "something else")
    if (table[:, 4:6] <= 0).any():
        raise BadInput(path, "w, h", "numbers above 0", table[:, 4:6].min())
    return table


def _pose_array(path: Path, field: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            array = np.asarray(archive[field])
    except KeyError:
        raise BadInput(path, field, "to be there", "no such array") from None
    except (ValueError, EOFError, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise BadInput(path, "file", "an .npz of plain arrays", type(error).__name__) from None
    if array.shape != shape or array.dtype.kind != "f":
        raise BadInput(path, field, f"numbers of shape {shape}", f"{array.dtype} of shape {array.shape}")
    return array.astype(np.float32)
