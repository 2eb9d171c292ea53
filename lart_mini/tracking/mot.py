"""A MOTChallenge text with poses as tracklets."""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lart_mini.boxes import corners_from_xywh, inside_frame, xywh_from_corners
from lart_mini.files import BadInput
from lart_mini.people.body import Body, load_body
from lart_mini.reading.arrays import open_npz
from lart_mini.reading.tables import table_lines
from lart_mini.tracking.detections import Detections
from lart_mini.tracking.tracks import check_lengths, to_tracklets, video_id
from lart_mini.tracklets.tracklet import Tracklet

MOT_COLUMNS = 7  # frame, id, x, y, w, h, confidence; what follows is not read
NOT_GIVEN = -1  # as an id: of nobody known; as a confidence: none, taken as 1


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

    Row i of the .npz's `pose` (N,24,3,3), `betas` (N,10) and `translation` (N,3) belongs to the i-th line of
    the text that is not blank; lines come in any order. Frames, which MOTChallenge counts from 1, count from
    0 here; so they do where the text itself begins with 0. Lines of id −1 are in no tracklet, and a
    confidence of −1, which means that none is given, counts as 1. `frame_size` is height and width in pixels;
    `video` (11 characters) is made of the file's name if not given, of the sequence's for `…/gt/gt.txt`.
    Raises BadInput on anything wrong.
    """
    path, poses = Path(path), Path(poses)
    table = _mot_table(path)
    arrays: dict[str, NDArray[np.float32]] = {}
    with open_npz(poses) as archive:
        for field, shape in (("pose", (24, 3, 3)), ("betas", (10,)), ("translation", (3,))):
            arrays[field] = archive.read(field, (len(table), *shape), "f").astype(np.float32)
    count, first = len(table), min(1, int(table[:, 0].min()))
    corners = corners_from_xywh(table[:, 2:6].astype(np.float32))
    known = np.flatnonzero(table[:, 1] != NOT_GIVEN)
    if not known.size:
        raise BadInput(path, "id", "a line with an id from 0", "none: nobody is tracked")
    order = known[np.argsort(table[known, 0], kind="stable")]
    detections = Detections(
        frame=table[:, 0].astype(np.int64) - first,
        box=xywh_from_corners(inside_frame(corners, frame_size)),
        confidence=np.where(table[:, 6] == NOT_GIVEN, 1, table[:, 6]).astype(np.float32),
        appearance=np.zeros((count, 0), np.float32),
        given=np.zeros(count, np.bool_),
        actor=np.full(count, -1),
        **arrays,
    )[order].validate(path)
    ids = table[order, 1].astype(np.int64)
    _check_once_a_frame(path, detections.frame, ids, first)
    length = int(detections.frame[-1] - detections.frame[0]) + 1
    check_lengths(path, [length] * len(np.unique(ids)), len(ids))
    if video is None:
        video = video_id(path.resolve().parent.parent.name if path.stem in ("gt", "det") else path.stem)
    where: Any = {"dataset": dataset, "video": video, "frame_size": frame_size, "keyframe": keyframe}
    return to_tracklets(detections, ids, body or load_body(), **where)


def _check_once_a_frame(path: Path, frame: NDArray[np.int64], ids: NDArray[np.int64], first: int) -> None:
    """Raise BadInput where an id stands twice in a frame; both (N,)."""
    pairs, counts = np.unique(np.stack([frame, ids]), axis=1, return_counts=True)
    if (counts > 1).any():
        at, one = pairs[:, np.argmax(counts > 1)].tolist()
        raise BadInput(path, "id", "one line of an id a frame", f"id {one} twice in frame {at + first}")


def _mot_table(path: Path) -> NDArray[np.float64]:
    """The first seven numbers of every line that is not blank (N,7)."""
    numbers, lines = array("d"), array("q")
    for line, text in table_lines(path):
        cells = text.split(",", MOT_COLUMNS)[:MOT_COLUMNS]
        try:
            numbers.extend([float(cell) for cell in cells])
        except ValueError:
            found = repr(text[:60])
            raise BadInput(path, f"line {line}", f"{MOT_COLUMNS} numbers divided by commas", found) from None
        lines.append(line)
        if len(cells) < MOT_COLUMNS:
            raise BadInput(path, f"line {line}", f"{MOT_COLUMNS} finite numbers", f"{len(cells)} of them")
    if not lines:
        raise BadInput(path, "file", "lines of frame, id, x, y, w, h, confidence", "an empty file")
    table = np.array(numbers).reshape(-1, MOT_COLUMNS)
    frame, one, sure = table[:, 0], table[:, 1], table[:, 6]
    whole = table[:, :2] == np.floor(table[:, :2])
    unsure = ((sure < 0) | (sure > 1)) & (sure != NOT_GIVEN) & (one != NOT_GIVEN)
    for field, expected, wrong, column in (
        ("numbers", f"{MOT_COLUMNS} finite numbers", ~(abs(table) < 2**31).all(axis=1), slice(None)),
        ("frame", "a whole number from 1, or from 0", ~whole[:, 0] | (frame < 0), 0),
        ("id", "a whole number from 0, or -1 for nobody", ~whole[:, 1] | (one < NOT_GIVEN), 1),
        ("w, h", "numbers above 0", (table[:, 4:6] <= 0).any(axis=1), slice(4, 6)),
        ("confidence", "a number in [0, 1], or -1 for none", unsure, 6),
    ):
        if wrong.any():
            row = int(np.argmax(wrong))
            raise BadInput(path, f"line {lines[row]}, {field}", expected, table[row, column].tolist())
    return table
