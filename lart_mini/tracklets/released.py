"""LART's released files: one pickle a tracklet, read without running anything in it, and written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray

from lart_mini import ava
from lart_mini.files import BadInput, atomic_path, shipped
from lart_mini.reading.budget import MIB, TooMuch, count_values
from lart_mini.reading.pickles import read_pickle
from lart_mini.reading.unpickler import PassedOver
from lart_mini.tracklets.tracklet import (
    GROUND_TRUTH,
    NAME_EXPECTED,
    NO_LABEL,
    PSEUDO_LABEL,
    PUBLISHED_DEPTH_UNIT,
    VECTOR_WIDTH,
    FloatArray,
    Tracklet,
    parse_name,
    run_starts,
)


def released_files(folder: Path) -> list[Path]:
    """The *.pkl below a folder that is no store, sorted. Raises BadInput where there are none."""
    files = sorted(folder.rglob("*.pkl"))
    if not files:
        raise BadInput(folder, "folder", "tracklet files *.pkl, or a store", "neither")
    return files


def read_released(path: str | Path) -> Tracklet:
    """A tracklet from a file in the released format, named as the file. Raises BadInput on anything wrong.

    Ground-truth labels stand where `has_gt` is 2, elsewhere the pseudo labels of the file's table, which
    count where `has_gt` is 1 and the table has some. Frame numbers are `fid`, or what the frames' names end
    in where only those contain the key frame. Depth comes in metres: the published files hold it divided by
    200 in `pose_shape` too, which shows in `camera` being equal to the person-vector's end (`depth_unit`).
    """
    path = Path(path)
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused as not finite
        return _tracklet(path, path.name.removesuffix(".pkl"))


def _tracklet(path: Path, name: str) -> Tracklet:
    demo = DEMO_NAME.fullmatch(name)
    if demo:
        better = f"demo-val_{demo[1][:11]:_<11}_000000_{demo[2]}_{demo[3]}.pkl"
        raise BadInput(path, "name", f"{NAME_EXPECTED}, such as {better}", f"{name}, as LART's demo names it")
    identity = parse_name(name, path)
    file = ReleasedFile.read(path)
    vector = file.rows("pose_shape", VECTOR_WIDTH)
    detected = file.whole_numbers("has_detection") > 0
    index = file.whole_numbers("apperance_index")
    labels, source = _labels(file, index)
    camera, depth_unit = file.camera(vector, detected)
    tracklet = Tracklet(
        name=name,
        **identity,
        frame=file.frame_numbers(identity["keyframe"]),
        pose=vector[:, :216].reshape(-1, 24, 3, 3).astype(np.float32),
        betas=vector[:, 216:226].astype(np.float32),
        translation=(vector[:, 226:] * np.array([1, 1, depth_unit])).astype(np.float32),
        joints=file.rows("3d_joints", 45, 3).astype(np.float32),
        detected=detected,
        box=file.rows("frame_bbox", 4).astype(np.float32),
        frame_size=file.frame_size(detected),
        confidence=file.rows("frame_conf").astype(np.float32),
        labels=labels,
        label_source=source,
        appearance=file.looked_up("apperance_dict", index)[0],
        camera=camera,
        depth_unit=depth_unit,
    )
    return tracklet.validate(path)


def _labels(file: ReleasedFile, index: NDArray[np.int64]) -> tuple[FloatArray, NDArray[np.int8]]:
    """One label row and its source a frame: ground truth before pseudo label before none."""
    truth, has_gt = file.rows("action_label_gt", ava.CLASS_COUNT), file.whole_numbers("has_gt")
    if not np.isin(has_gt, (NO_LABEL, PSEUDO_LABEL, GROUND_TRUTH)).all():
        raise BadInput(file.path, "has_gt", "0, 1 or 2", np.unique(has_gt).tolist())
    pseudo, known = file.looked_up("action_label_psudo", index, ava.CLASS_COUNT)
    labels = np.zeros((file.length, ava.CLASS_COUNT), np.float32) if pseudo is None else pseudo
    labels[has_gt == GROUND_TRUTH] = truth[has_gt == GROUND_TRUTH]
    return labels, np.where((has_gt == PSEUDO_LABEL) & ~known, NO_LABEL, has_gt).astype(np.int8)


def write_released(tracklet: Tracklet, path: str | Path, compress: bool = False) -> None:
    """Write a tracklet as a released file: a joblib pickle, `compress`ed by zlib or plain.

    What read_released reads back is equal to the last bit; a `camera` that repeats the translation comes back
    as None. The released code reads it too, where it has appearance for all detections, as that code expects.
    A Tracklet does not hold `camera_bbox`, which nothing in LART reads: zeros are written. Raises BadInput
    for a `camera` that would make readers mistake the depth unit.
    """
    if Path(path).name != f"{tracklet.name}.pkl":
        raise BadInput(path, "file name", f"{tracklet.name}.pkl", Path(path).name)
    content = _released_content(tracklet.validate())
    told = depth_unit_told(content["pose_shape"][:, 0], content["camera"][:, 0], tracklet.detected)
    if told != tracklet.depth_unit:
        raise BadInput(path, "camera", f"one that tells the depth unit {tracklet.depth_unit:g}", f"{told:g}")
    with atomic_path(path) as temporary:
        joblib.dump(content, temporary, compress=("zlib", 3) if compress else 0)


def _released_content(tracklet: Tracklet) -> dict[str, Any]:
    length = len(tracklet)
    index, appearance, pseudo = _released_tables(tracklet)
    truth = np.where((tracklet.label_source == GROUND_TRUTH)[:, None], tracklet.labels, 0)
    vector = tracklet.vector()
    if tracklet.depth_unit != 1:
        # In float64, as published: in float32 the depth would lose its last bit.
        vector = np.c_[vector[:, :226], tracklet.translation / np.array([1, 1, tracklet.depth_unit])]
    per_frame: dict[str, NDArray[Any]] = {
        "fid": tracklet.frame[:, None],
        "pose_shape": vector,
        "3d_joints": tracklet.joints,
        "camera": tracklet.camera_vectors(),
        "camera_bbox": np.zeros((length, 3), np.float32),
        "action_label_gt": truth.astype(np.float32),
        "has_gt": tracklet.label_source[:, None].astype(np.int64),
        "has_detection": tracklet.detected[:, None].astype(np.int64),
        "apperance_index": index[:, None],
    }
    return {key: rows[:, None] for key, rows in per_frame.items()} | {
        "action_label_psudo": pseudo,
        "apperance_dict": appearance,
        # Lists, since the released code appends to them at test.
        "frame_name": [f"{frame:06d}.jpg" for frame in tracklet.frame.tolist()],
        "frame_size": list(np.tile(tracklet.frame_size, (length, 1))),
        "frame_bbox": list(tracklet.box),
        "frame_conf": tracklet.confidence.tolist(),
    }


def _released_tables(
    tracklet: Tracklet,
) -> tuple[NDArray[np.int64], dict[int, FloatArray], dict[int, FloatArray]]:
    """apperance_index (T,) and its two dicts: runs of equal frames share the entry of their first frame.

    The released code looks every index but -1 up in both.
    """
    source = tracklet.label_source
    told = np.where((source == GROUND_TRUTH)[:, None], 0, tracklet.labels)
    needed = (source == PSEUDO_LABEL) | told.any(axis=1)
    kinds = [needed[:, None], told] + ([] if tracklet.appearance is None else [tracklet.appearance])
    starts = run_starts(np.concatenate(kinds, axis=1))
    index = np.repeat(starts, np.diff(starts, append=len(tracklet))).astype(np.int64)
    if tracklet.appearance is None:
        index[~needed] = -1
    used = np.unique(index[index >= 0]).tolist()
    rows = tracklet.appearance
    appearance = {} if rows is None else {start: rows[start : start + 1] for start in used}
    return index, appearance, {start: told[start : start + 1] for start in used}


SAMPLES = shipped("data_samples") / "tracklets"  # a dozen files that show what tracklets are like

DEMO_NAME = re.compile(r"demo_(.+)_(\d+)_(\d+)")  # demo_<video>_<track>_<length>
NAME_END = 256  # characters of a frame's name that are looked at
LARGEST_FIELD = 512 * MIB  # bytes, written out in full
LARGEST_APPEARANCE = 8192  # numbers of a vector; MViT has 1152, Hiera 2048
LAST_NUMBER = re.compile(r"(?<!\d)(\d{1,9})(?:\.\w+)?$")  # of a frame's name: "…_000150.jpg"


@dataclass(frozen=True, eq=False)
class ReleasedFile:
    """A released pickle's dict. What its methods find wrong raises BadInput naming file and field."""

    path: Path
    content: dict[Any, Any]
    length: int  # T, of `fid`

    @classmethod
    def read(cls, path: Path) -> ReleasedFile:
        """Read a file without running anything in it."""
        content = read_pickle(path)
        if not isinstance(content, dict):
            raise BadInput(path, "pickle", "a dict", type(content).__name__)
        if "fid" not in content:
            raise BadInput(path, "fid", "to be there", "no such key")
        frames = content["fid"]
        if not isinstance(frames, list | np.ndarray) or getattr(frames, "ndim", 1) == 0 or len(frames) == 0:
            raise BadInput(path, "fid", "shape (T, 1, 1) with T at least 1", type(frames).__name__)
        return cls(path, content, len(frames))

    def rows(self, key: str, *shape: int) -> NDArray[Any]:
        """content[key], list or array, as (T, *shape), dropping the released format's axis of one person."""
        if key not in self.content:
            raise BadInput(self.path, key, "to be there", "no such key")
        found, width = self.content[key], prod(shape)
        expected = f"shape {(self.length, 1, *(shape or (1,)))}"
        if isinstance(found, list):
            # A list may hold a number here and an array of one there.
            rows = [self._numbers(key, row, width) for row in found]
            widths = {row.size for row in rows}
            if len(widths) > 1:
                raise BadInput(self.path, key, "rows of equal length", "a ragged list")
            if len(rows) != self.length or widths != {width}:
                raise BadInput(self.path, key, expected, f"shape {(len(rows), *widths)}")
            self._check_size(key, width)
            array = np.asarray(rows)
        else:
            array = self._numbers(key, found, 0)
        if array.ndim == 0 or len(array) != self.length or array.size != self.length * width:
            raise BadInput(self.path, key, expected, f"shape {array.shape}")
        return array.reshape(self.length, *shape)

    def _numbers(self, key: str, value: Any, width: int) -> NDArray[Any]:
        """An array, a number, or a nested list of about `width` numbers; a list's come flat."""
        if isinstance(value, np.ndarray | np.generic | int | float):
            array = np.asarray(value)
        elif isinstance(value, list | tuple) and width:
            try:  # numpy would write out in full what holds itself over and over
                count_values(value, 4 * width + 4)
                array = np.asarray(value)
            except (TooMuch, ValueError) as error:
                found = error if isinstance(error, TooMuch) else "a ragged list"
                raise BadInput(self.path, key, f"rows of {width} numbers", found) from None
        else:
            found = value.what if isinstance(value, PassedOver) else type(value).__name__
            raise BadInput(self.path, key, "numbers", found)
        if array.dtype.kind not in "biuf":
            raise BadInput(self.path, key, "numbers", array.dtype)
        return array.reshape(-1) if width else array

    def _check_size(self, key: str, width: int) -> None:
        """Rows may all be the same one in the file, so that the file's own size says nothing."""
        if 8 * self.length * width > LARGEST_FIELD:
            found = f"{self.length:,} rows of {width:,} numbers"
            raise BadInput(self.path, key, f"at most {LARGEST_FIELD >> 20} MiB", found)

    def whole_numbers(self, key: str) -> NDArray[np.int64]:
        """content[key] (T,), whole numbers of any type."""
        rows = self.rows(key)
        odd = ~np.isfinite(rows) | (rows != np.floor(rows)) | (np.abs(rows.astype(np.float64)) > 2**53)
        if odd.any():
            raise BadInput(self.path, key, "whole numbers", f"{rows[odd][0]:g}")
        return rows.astype(np.int64)

    def looked_up(
        self, key: str, index: NDArray[np.int64], width: int | None = None
    ) -> tuple[FloatArray | None, NDArray[np.bool_]]:
        """Rows content[key][index] (T, D) and where there is one (T,); zeros elsewhere, as for index -1.

        D must be `width` if given. None for a table that is missing or empty.
        """
        table, known = self.content.get(key), np.zeros(self.length, np.bool_)
        if table is None or (isinstance(table, dict | list) and not table):
            return None, known
        if not isinstance(table, dict):
            found = table.what if isinstance(table, PassedOver) else type(table).__name__
            raise BadInput(self.path, key, "a dict", found)
        most = width or LARGEST_APPEARANCE
        vectors = {name: self._numbers(key, row, most) for name, row in table.items()}
        widths = sorted({row.size for row in vectors.values()})
        if len(widths) != 1:
            raise BadInput(self.path, key, "numbers of one width", f"widths {widths}")
        if width and widths != [width]:
            raise BadInput(self.path, key, f"{width} columns", widths[0])
        if widths[0] > most:
            raise BadInput(self.path, key, f"vectors of at most {most:,} numbers", f"{widths[0]:,}")
        self._check_size(key, widths[0])
        gathered = np.zeros((self.length, widths[0]), np.float32)
        for row, name in enumerate(index.tolist()):
            if name >= 0 and name in vectors:
                gathered[row], known[row] = vectors[name], True
        return gathered, known

    def frame_numbers(self, keyframe: int) -> NDArray[np.int64]:
        """(T,) `fid`, or the numbers that end the frames' names where only those contain the key frame.

        A tracker that was given a window of a video may count `fid` from the window's start; the frames'
        files keep the video's own numbers, by which the released code finds the key frame.
        """
        counted = self.whole_numbers("fid")
        names = self.content.get("frame_name")
        if names is None:
            return counted
        if isinstance(names, np.ndarray):
            names = names.reshape(-1).tolist()
        if not isinstance(names, list) or len(names) != self.length:
            found = len(names) if isinstance(names, list) else type(names).__name__
            raise BadInput(self.path, "frame_name", f"a list of {self.length} names", found)
        ends = [LAST_NUMBER.search(name[-NAME_END:]) if isinstance(name, str) else None for name in names]
        named = np.array([int(end[1]) if end else -1 for end in ends], np.int64)
        usable = (np.diff(named, prepend=-1) > 0).all() and keyframe in named
        return named if usable and keyframe not in counted else counted

    def frame_size(self, detected: NDArray[np.bool_]) -> NDArray[np.int64]:
        """The one (height, width) of the video, from the detected frames where there are any."""
        sizes = self.rows("frame_size", 2)
        distinct = np.unique(sizes[detected] if detected.any() else sizes, axis=0)
        if len(distinct) != 1:
            raise BadInput(self.path, "frame_size", "one size in all frames", distinct.tolist())
        return distinct[0].astype(np.int64)

    def camera(self, vector: NDArray[Any], detected: NDArray[np.bool_]) -> tuple[FloatArray | None, float]:
        """`camera` (T, 3), None where the person-vectors (T, 229) say the same, and their depth's unit."""
        if "camera" not in self.content:
            return None, 1.0
        camera = self.rows("camera", 3)
        unit = depth_unit_told(vector, camera, detected)
        usual = vector[:, 226:] * np.array([1.0, 1.0, unit / PUBLISHED_DEPTH_UNIT])
        return None if _same(camera, usual) else camera.astype(np.float32), unit


NEARER_THAN_ANYBODY = 1.0  # metres; with a focal length of 5000 pixels people stand at 5 to 60


def depth_unit_told(vector: NDArray[Any], camera: NDArray[Any], detected: NDArray[np.bool_]) -> float:
    """200 where `camera` (T, 3) says the same depth as the person-vectors (T, 229), else 1, in metres.

    `camera` has depth / 200. The tracker's code divided the depth in place, so that published files have it
    so in the person-vectors too. LART's demo puts a smoothed place there, whose depth is only near: it must
    be within a factor of 2, and less than anybody's in metres. Frames without a detection tell nothing, nor
    do depths of 0.
    """
    rows = detected if detected.any() else slice(None)
    place, seen = vector[rows, 226:], camera[rows]
    if place[:, 2].any() and _same(seen, place):
        return PUBLISHED_DEPTH_UNIT
    depth, told = np.median(place[:, 2]), np.median(seen[:, 2])
    near = told / 2 < depth < 2 * told and max(depth, told) < NEARER_THAN_ANYBODY
    return PUBLISHED_DEPTH_UNIT if near and (place[:, 2] > 0).all() else 1.0


def _same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return np.allclose(a, b, rtol=1e-6, atol=0)  # a few float32 roundings
