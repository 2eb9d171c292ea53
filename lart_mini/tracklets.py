"""Tracklets: one followed person, frame by frame, with a safe reader and writer of LART's released files."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray

from lart_mini.errors import BadInput, atomic_path
from lart_mini.released_file import PUBLISHED_DEPTH_UNIT, FloatArray, ReleasedFile, depth_unit_told

CLASSES = 80
VECTOR_WIDTH = 229
NO_LABEL, PSEUDO_LABEL, GROUND_TRUTH = 0, 1, 2

# The released spelling: <dataset>_<video id, 11 characters>_<key frame>_<track>_<length>
NAME_PATTERN = re.compile(r"[A-Za-z0-9]+-[a-z]+_(?P<video>.{11})_(?P<keyframe>\d{6})_(?P<track>\d+)_\d+")
NAME_EXPECTED = "<dataset>_<video, 11 characters>_<keyframe, 6 digits>_<track>_<length>"

# Shape after the time axis and dtype of every per-frame field; appearance has a width of its own.
FRAME_FIELDS: dict[str, tuple[tuple[int, ...], type]] = {
    "frame": ((), np.int64),
    "pose": ((24, 3, 3), np.float32),
    "betas": ((10,), np.float32),
    "translation": ((3,), np.float32),
    "joints": ((45, 3), np.float32),
    "detected": ((), np.bool_),
    "box": ((4,), np.float32),
    "confidence": ((), np.float32),
    "labels": ((CLASSES,), np.float32),
    "label_source": ((), np.int8),
}


OPTIONAL_FIELDS = ("appearance", "camera")  # arrays along time that a tracklet may lack


@dataclass(frozen=True, eq=False)
class Tracklet:
    """One person followed through T frames of a video (paper sections 3 and C.1).

    What stands in a frame without a detection is finite but means nothing: nothing may depend on it.
    """

    name: str  # <dataset>_<video>_<keyframe:06d>_<track>_<length>
    video: str  # 11 characters
    track: int  # number of the track inside its video
    keyframe: int  # frame the tracker's window is centred on, (second - 900) * 30
    frame: NDArray[np.int64]  # (T,) frame numbers in the video, ascending
    pose: FloatArray  # (T, 24, 3, 3) local rotations, joint 0 = global orientation in the camera frame
    betas: FloatArray  # (T, 10) SMPL shape
    translation: FloatArray  # (T, 3) metres, camera frame: x right, y down, z forward
    joints: FloatArray  # (T, 45, 3) metres: 25 OpenPose, 19 extra, one zero row
    detected: NDArray[np.bool_]  # (T,)
    box: FloatArray  # (T, 4) x, y, w, h in pixels
    frame_size: NDArray[np.int64]  # (2,) height, width in pixels
    confidence: FloatArray  # (T,) of the detector
    labels: FloatArray  # (T, 80) in [0, 1], column = AVA id - 1
    label_source: NDArray[np.int8]  # (T,) 0 none, 1 pseudo, 2 ground truth
    appearance: FloatArray | None = None  # (T, D)
    camera: FloatArray | None = None  # (T, 3) added to the joints; None: translation, its depth / 200
    depth_unit: float = 1.0  # metres in one unit of the person-vector's depth; 200 in the published files

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def dataset(self) -> str:
        """`ava-train`, `ava-val`, `ava-test` or `kinetics-train`: what the name begins with."""
        return self.name.split("_", 1)[0]

    @property
    def scene(self) -> str:
        """`<dataset>_<video>_<keyframe>`: tracklets that share it were seen together."""
        return self.name.rsplit("_", 2)[0]

    def vector(self) -> FloatArray:
        """Person-vectors (T, 229): global_orient 9, body_pose 207, betas 10, place 3 (C.2.1).

        The place is the translation, its depth in the unit that the tracklet's file has it in (`depth_unit`).
        """
        place = self.translation / np.array([1, 1, self.depth_unit], np.float64)
        pose = self.pose.reshape(len(self), 216)
        return np.concatenate([pose, self.betas, place], axis=1).astype(np.float32)

    def camera_vectors(self) -> FloatArray:
        """(T, 3) what the released code adds to the joints: `camera`, else x, y and depth / 200."""
        if self.camera is not None:
            return self.camera
        return (self.translation / np.array([1, 1, PUBLISHED_DEPTH_UNIT], np.float32)).astype(np.float32)

    def validate(self, file: object | None = None) -> Tracklet:
        """Return the tracklet itself, or raise BadInput (naming `file`, else its name) on a wrong field."""
        where = self.name if file is None else file
        _check_identity(self, where)
        for field, (shape, dtype) in FRAME_FIELDS.items():
            _check_array(where, field, getattr(self, field), (len(self), *shape), dtype)
        _check_array(where, "frame_size", self.frame_size, (2,), np.int64)
        if self.appearance is not None:
            width = self.appearance.shape[-1] if self.appearance.ndim == 2 else "D"
            _check_array(where, "appearance", self.appearance, (len(self), width), np.float32)
        if self.camera is not None:
            _check_array(where, "camera", self.camera, (len(self), 3), np.float32)
        _check_values(self, where)
        return self


@dataclass(frozen=True, eq=False)
class Tables:
    """A tracklet's appearance and labels with each distinct row once: they hold for about 30 frames each."""

    appearance: FloatArray | None  # (K, D)
    appearance_index: NDArray[np.int64]  # (T,) into K, -1 where the vector is all zero or there is none
    labels: FloatArray  # (L, 80)
    label_index: NDArray[np.int64]  # (T,) into L, -1 where no class is labelled


def tables(tracklet: Tracklet) -> Tables:
    """The distinct rows of a tracklet's appearance and labels, in the order of their first frames."""
    labels, label_index = _distinct(tracklet.labels)
    if tracklet.appearance is None:
        return Tables(None, np.full(len(tracklet), -1), labels, label_index)
    return Tables(*_distinct(tracklet.appearance), labels, label_index)


def _distinct(rows: FloatArray) -> tuple[FloatArray, NDArray[np.int64]]:
    """Rows that differ (K, D), without those of zeros, and which of them each row is (T,), else -1."""
    starts = _run_starts(rows)
    number: dict[bytes, int] = {}  # of a row's content
    first: list[int] = []
    entries = np.full(len(starts), -1)
    for run, start in enumerate(starts.tolist()):
        if rows[start].any():
            entries[run] = number.setdefault(rows[start].tobytes(), len(number))
            if len(first) < len(number):
                first.append(start)
    return rows[first], np.repeat(entries, np.diff(starts, append=len(rows)))


def _run_starts(rows: NDArray[Any]) -> NDArray[np.intp]:
    """Where a row (T, …) differs from the one before it, and 0."""
    return np.flatnonzero(np.r_[True, (rows[1:] != rows[:-1]).any(axis=1)])


def parse_name(name: str, file: object) -> dict[str, Any]:
    """video, keyframe and track as a tracklet's name tells them. Raises BadInput (naming `file`)."""
    match = NAME_PATTERN.fullmatch(name)
    if match is None:
        raise BadInput(file, "name", NAME_EXPECTED, name)
    return {"video": match["video"], "keyframe": int(match["keyframe"]), "track": int(match["track"])}


def _check_identity(tracklet: Tracklet, where: object) -> None:
    for field, told in parse_name(tracklet.name, where).items():
        if told != getattr(tracklet, field):
            raise BadInput(where, field, f"{told} as in the name", getattr(tracklet, field))
    if np.ndim(tracklet.frame) != 1 or len(tracklet) == 0:
        raise BadInput(where, "frame", "shape (T,) with T at least 1", f"shape {np.shape(tracklet.frame)}")


def _check_array(where: object, field: str, array: Any, shape: tuple[Any, ...], dtype: type) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != dtype:
        raise BadInput(where, field, np.dtype(dtype).name, getattr(array, "dtype", type(array).__name__))
    if array.shape != shape:
        raise BadInput(where, field, f"shape {shape}", f"shape {array.shape}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array))[0, 0])
        raise BadInput(where, field, "finite numbers", f"NaN or infinity at row {row}")


def _check_values(tracklet: Tracklet, where: object) -> None:
    if (np.diff(tracklet.frame) <= 0).any():
        raise BadInput(where, "frame", "ascending frame numbers", "a number that does not rise")
    if (tracklet.frame_size <= 0).any():
        raise BadInput(where, "frame_size", "height and width above 0", tracklet.frame_size.tolist())
    if tracklet.depth_unit not in (1.0, PUBLISHED_DEPTH_UNIT):
        raise BadInput(where, "depth_unit", f"1 or {PUBLISHED_DEPTH_UNIT:g}", tracklet.depth_unit)
    if tracklet.labels.min() < 0 or tracklet.labels.max() > 1:
        found = f"{tracklet.labels.min():g} to {tracklet.labels.max():g}"
        raise BadInput(where, "labels", "values in [0, 1]", found)
    unknown = set(tracklet.label_source.tolist()) - {NO_LABEL, PSEUDO_LABEL, GROUND_TRUTH}
    if unknown:
        raise BadInput(where, "label_source", "0 none, 1 pseudo or 2 ground truth", sorted(unknown))
    height, width = tracklet.frame_size.tolist()
    box = tracklet.box
    # A pixel of grace, since trackers round; boxes without a detection mean nothing.
    inside = (box[:, 0] >= -1) & (box[:, 1] >= -1) & (box[:, 2] > 0) & (box[:, 3] > 0)
    inside &= (box[:, 0] + box[:, 2] <= width + 1) & (box[:, 1] + box[:, 3] <= height + 1)
    outside = np.flatnonzero(tracklet.detected & ~inside)
    if len(outside):
        found = f"{box[outside[0]].tolist()} at row {outside[0]}"
        raise BadInput(where, "box", f"x, y, w, h inside the frame of {width} x {height} pixels", found)


def read_released(path: str | Path) -> Tracklet:
    """A tracklet from a file in the released format, named as the file. Raises BadInput on anything wrong.

    Ground-truth labels stand where `has_gt` is 2, elsewhere the pseudo labels of the file's table, which
    count where `has_gt` is 1 and the table has some. Frame numbers are `fid`, or what the frames' names end
    in where only those contain the key frame. Depth comes in metres: the published files hold it divided by
    200 in `pose_shape` too, which shows in `camera` being equal to the person-vector's end (`depth_unit`).
    """
    path = Path(path)
    name = path.name.removesuffix(".pkl")
    identity = parse_name(name, path)
    file = ReleasedFile.read(path)
    vector = file.rows("pose_shape", VECTOR_WIDTH)
    detected = file.rows("has_detection") > 0
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
    truth, has_gt = file.rows("action_label_gt", CLASSES), file.whole_numbers("has_gt")
    if not np.isin(has_gt, (NO_LABEL, PSEUDO_LABEL, GROUND_TRUTH)).all():
        raise BadInput(file.path, "has_gt", "0, 1 or 2", np.unique(has_gt).tolist())
    pseudo, known = file.looked_up("action_label_psudo", index)
    if pseudo is not None and pseudo.shape[1] != CLASSES:
        raise BadInput(file.path, "action_label_psudo", f"{CLASSES} columns", pseudo.shape[1])
    labels = np.zeros((file.length, CLASSES), np.float32) if pseudo is None else pseudo
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
    starts = _run_starts(np.concatenate(kinds, axis=1))
    index = np.repeat(starts, np.diff(starts, append=len(tracklet))).astype(np.int64)
    if tracklet.appearance is None:
        index[~needed] = -1
    used = np.unique(index[index >= 0]).tolist()
    rows = tracklet.appearance
    appearance = {} if rows is None else {start: rows[start : start + 1] for start in used}
    return index, appearance, {start: told[start : start + 1] for start in used}


def save_tracklets(tracklets: Iterable[Tracklet], path: str | Path) -> None:
    """Write tracklets into one .npz, every field concatenated along time.

    Each field takes the smallest dtype that loses nothing (labels of 0 and 1 become uint8). The file is
    written whole or not at all, and equal byte for byte for equal tracklets. Appearance must be of one width;
    what no tracklet has is not in the file.
    """
    kept = [tracklet.validate() for tracklet in tracklets]
    widths = sorted({t.appearance.shape[1] for t in kept if t.appearance is not None})
    if len(widths) > 1:
        raise BadInput(path, "appearance", "one width", widths)
    arrays: dict[str, NDArray[Any]] = {
        "name": np.array([t.name for t in kept], np.str_),
        "length": np.array([len(t) for t in kept], np.int64),
        "frame_size": np.array([t.frame_size for t in kept], np.int64).reshape(-1, 2),
    }
    if any(t.depth_unit != 1 for t in kept):
        arrays["depth_unit"] = np.array([t.depth_unit for t in kept])
    for field in OPTIONAL_FIELDS:
        given = [getattr(t, field) for t in kept if getattr(t, field) is not None]
        if given:
            arrays[f"has_{field}"] = np.array([getattr(t, field) is not None for t in kept])
            arrays[field] = _smallest(np.concatenate(given))
    for field, (shape, dtype) in FRAME_FIELDS.items():
        rows = [np.empty((0, *shape), dtype), *(getattr(t, field) for t in kept)]
        arrays[field] = _smallest(np.concatenate(rows))
    # Not np.savez, which writes the time of day into the file.
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for field, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{field}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def _smallest(array: NDArray[Any]) -> NDArray[Any]:
    for dtype in (np.uint8, np.float16, np.int32):
        with np.errstate(all="ignore"):
            small = array.astype(dtype)
        if array.itemsize > small.itemsize and np.array_equal(small, array):
            return small
    return array


def load_tracklets(path: str | Path) -> list[Tracklet]:
    """What save_tracklets wrote. Raises BadInput for a file that is no such store or has a wrong field."""
    dtypes: dict[str, Any] = {"name": np.str_, "length": np.int64, "frame_size": np.int64}
    dtypes |= {field: dtype for field, (_, dtype) in FRAME_FIELDS.items()}
    optional: dict[str, Any] = {"depth_unit": np.float64} | dict.fromkeys(OPTIONAL_FIELDS, np.float32)
    optional |= {f"has_{field}": np.bool_ for field in OPTIONAL_FIELDS}
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = sorted(dtypes.keys() - set(archive.files))
            if missing:
                raise BadInput(path, missing[0], "to be there", "no such array")
            dtypes |= {field: dtype for field, dtype in optional.items() if field in archive.files}
            arrays = {field: archive[field].astype(dtype, copy=False) for field, dtype in dtypes.items()}
    except (ValueError, EOFError, zipfile.BadZipFile, zipfile.LargeZipFile) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(path, "file", "a store of tracklets (.npz)", type(error).__name__) from None
    for field in FRAME_FIELDS:
        if len(arrays[field]) != arrays["length"].sum():
            raise BadInput(path, field, f"{arrays['length'].sum()} rows", len(arrays[field]))
    ends = {"": np.cumsum(arrays["length"])}
    for field in OPTIONAL_FIELDS:
        if f"has_{field}" in arrays:
            ends[field] = np.cumsum(arrays["length"] * arrays[f"has_{field}"])
    return [
        _unpack(path, arrays, i, {field: int(end[i]) for field, end in ends.items()})
        for i in range(len(arrays["length"]))
    ]


def _unpack(path: str | Path, arrays: dict[str, NDArray[Any]], i: int, ends: dict[str, int]) -> Tracklet:
    """Tracklet `i`, as views into the store's arrays; `ends` of its rows, under "" of the fields all have."""
    name, length = str(arrays["name"][i]), int(arrays["length"][i])
    rows: dict[str, Any] = {field: arrays[field][ends[""] - length : ends[""]] for field in FRAME_FIELDS}
    for field in OPTIONAL_FIELDS:
        if field in ends and arrays[f"has_{field}"][i]:
            rows[field] = arrays[field][ends[field] - length : ends[field]]
    if "depth_unit" in arrays:
        rows["depth_unit"] = float(arrays["depth_unit"][i])
    tracklet = Tracklet(name=name, **parse_name(name, path), frame_size=arrays["frame_size"][i], **rows)
    return tracklet.validate(f"{path} ({name})")
