"""A MOTChallenge text with poses as tracklets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lart_mini.boxes import corners_from_xywh, inside_frame, xywh_from_corners
from lart_mini.files import BadInput
from lart_mini.people.body import Body, load_body
from lart_mini.reading.arrays import open_npz
from lart_mini.tracking.detections import Detections
from lart_mini.tracking.tracks import to_tracklets
from lart_mini.tracklets.tracklet import Tracklet

MOT_COLUMNS = 7  # frame, id, x, y, w, h, confidence; what follows is not read


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
    corners = corners_from_xywh(table[:, 2:6].astype(np.float32))
    detections = Detections(
        frame=table[:, 0].astype(np.int64) - 1,
        box=xywh_from_corners(inside_frame(corners, frame_size)),
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
    with open_npz(path) as archive:
        array = archive.read(field, shape, "f")
    return array.astype(np.float32)
