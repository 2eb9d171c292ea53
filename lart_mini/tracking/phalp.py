"""PHALP's result file as tracklets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lart_mini import ava
from lart_mini.boxes import corners_from_xywh, inside_frame, xywh_from_corners
from lart_mini.files import BadInput
from lart_mini.reading.budget import TooMuch, count_values
from lart_mini.reading.pickles import read_pickle
from lart_mini.tracking.tracks import check_lengths, video_id
from lart_mini.tracklets.tracklet import PUBLISHED_DEPTH_UNIT, Tracklet

LARGEST_RESULT = 2 << 30  # bytes: some ten minutes of video with two people


def from_phalp(
    path: str | Path, *, dataset: str = "phalp-video", video: str | None = None, keyframe: int = 0
) -> list[Tracklet]:
    """Tracklets of PHALP's result file (`results/<name>.pkl`), read without running anything in it.

    The file is a dict of frames; each holds lists with an entry a track. Only entries that were detected in
    their frame count (`tracked_time` 0), and a tracklet goes from a track's first such frame to its last. Of
    several entries of one track in a frame, which PHALP writes where ground truth confirms a track, the first
    counts, as in its own tools. PHALP gives depths for a focal length of 5000 pixels; the person-vectors have
    them in units of 200, as published.
    `video` (11 characters) is made of the file's name if not given (`video_id`). Raises BadInput on anything
    wrong.
    """
    path = Path(path)
    content = read_pickle(path, LARGEST_RESULT)
    if not isinstance(content, dict) or not content:
        found = "an empty dict" if isinstance(content, dict) else type(content).__name__
        raise BadInput(path, "pickle", "a dict of frames", found)
    rows: dict[int, list[dict[str, Any]]] = {}
    before = -1
    for name, frame in content.items():
        for row in _phalp_frame(path, name, frame):
            if row["time"] <= before:
                raise BadInput(path, "time", f"a number above {before} in {name}", row["time"])
            rows.setdefault(row["tid"], []).append(row)
        before = max(before, int(frame["time"]))
    if not rows:
        raise BadInput(path, "tid", "a tracked person", "none in any frame")
    lengths = [track[-1]["time"] - track[0]["time"] + 1 for track in rows.values()]
    check_lengths(path, lengths, sum(map(len, rows.values())))
    video = video or video_id(path.stem.removeprefix("demo_"))
    return [_phalp_tracklet(path, one, rows[one], dataset, video, keyframe) for one in sorted(rows)]


def _phalp_frame(path: Path, name: object, frame: Any) -> list[dict[str, Any]]:
    """The entries of one frame whose person was detected in it, as one dict each."""
    keys = ("tid", "tracked_time", "bbox", "size", "conf", "smpl", "camera", "3d_joints")
    if not isinstance(frame, dict) or not isinstance(frame.get("time"), int) or abs(frame["time"]) >= 2**31:
        raise BadInput(path, f"{name}", "a dict with the frame's number under `time`", type(frame).__name__)
    for key in keys:
        if not isinstance(frame.get(key), list) or len(frame[key]) != len(frame["tid"]):
            found = "none, or one of another length"
            raise BadInput(path, f"{name}: {key}", "a list with an entry a track", found)
    first: dict[int, int] = {}  # of each track, its first entry
    for i, (one, passed) in enumerate(zip(frame["tid"], frame["tracked_time"], strict=True)):
        if not isinstance(passed, (int, float, np.number)):
            raise BadInput(path, f"{name}: tracked_time", "numbers", type(passed).__name__)
        if not isinstance(one, (int, np.integer)) or not 0 <= one < 2**31:
            what = one if isinstance(one, (int, np.integer)) else type(one).__name__
            raise BadInput(path, f"{name}: tid", "whole numbers from 0", what)
        first.setdefault(int(one), i)
    return [
        {key: frame[key][i] for key in keys} | {"tid": one, "time": int(frame["time"])}
        for one, i in first.items()
        if frame["tracked_time"][i] == 0
    ]


def _phalp_tracklet(
    path: Path, one: int, rows: list[dict[str, Any]], dataset: str, video: str, keyframe: int
) -> Tracklet:
    frame = np.array([row["time"] for row in rows], np.int64)
    smpl = [row["smpl"] if isinstance(row["smpl"], dict) else {} for row in rows]

    def stacked(field: str, values: list[Any], *shape: int) -> NDArray[np.float32]:
        size = int(np.prod(shape))
        wrong = BadInput(path, f"{field} of track {one}", f"numbers of shape {shape}", "something else")
        try:
            for value in values:
                count_values(value, 2 * size + 8, depth=4)
            arrays = [np.asarray(value) for value in values]
        except (TooMuch, ValueError):
            raise wrong from None
        if any(array.dtype.kind not in "fiu" or array.size != size for array in arrays):
            raise wrong
        return np.stack([array.reshape(shape) for array in arrays]).astype(np.float32)

    orient = stacked("smpl global_orient", [s.get("global_orient") for s in smpl], 1, 3, 3)
    pose = stacked("smpl body_pose", [s.get("body_pose") for s in smpl], 23, 3, 3)
    detected = np.zeros(frame[-1] - frame[0] + 1, np.bool_)
    detected[frame - frame[0]] = True
    held = np.cumsum(detected) - 1
    sizes = stacked("size", [row["size"] for row in rows], 2)
    # Boxes reach outside the picture where people do.
    corners = corners_from_xywh(stacked("bbox", [row["bbox"] for row in rows], 4))
    box = xywh_from_corners(inside_frame(corners, sizes))
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
        labels=np.zeros((len(detected), ava.CLASS_COUNT), np.float32),
        label_source=np.zeros(len(detected), np.int8),
        depth_unit=PUBLISHED_DEPTH_UNIT,
    )
    return tracklet.validate(path)
