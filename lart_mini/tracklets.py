"""Tracklets: one followed person, frame by frame, with a safe reader and writer of LART's released files."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray

from lart_mini.errors import BadInput, atomic_path
from lart_mini.safe_pickle import read_pickle

FloatArray = NDArray[np.float32]

CLASSES = 80
VECTOR_WIDTH = 229
NO_LABEL, PSEUDO_LABEL, GROUND_TRUTH = 0, 1, 2

# The released spelling: <dataset>_<video id, 11 characters>_<key frame>_<track>_<length>
NAME_PATTERN = re.compile(r"[a-z0-9]+-[a-z]+_(?P<video>.{11})_(?P<keyframe>\d{6})_(?P<track>\d+)_\d+")
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
        """Person-vectors (T, 229): global_orient 9, body_pose 207, betas 10, translation 3 (C.2.1)."""
        pose = self.pose.reshape(len(self), 216)
        return np.concatenate([pose, self.betas, self.translation], axis=1).astype(np.float32)

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
        _check_values(self, where)
        return self


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

    Ground-truth labels stand where `has_gt` is 2; pseudo labels where it is 1 and the file has them.
    """
    path = Path(path)
    name = path.name.removesuffix(".pkl")
    identity = parse_name(name, path)
    content = read_pickle(path)
    if not isinstance(content, dict):
        raise BadInput(path, "pickle", "a dict", type(content).__name__)
    length = _array(path, content, "fid", None, ()).shape[0]

    def rows(key: str, *shape: int) -> NDArray[Any]:
        return _array(path, content, key, length, shape)

    vector = rows("pose_shape", VECTOR_WIDTH)
    detected = rows("has_detection") > 0
    index = rows("apperance_index").astype(np.int64)
    labels, source = _labels(path, rows("action_label_gt", CLASSES), rows("has_gt"), index, content)
    tracklet = Tracklet(
        name=name,
        **identity,
        frame=rows("fid").astype(np.int64),
        pose=vector[:, :216].reshape(length, 24, 3, 3).astype(np.float32),
        betas=vector[:, 216:226].astype(np.float32),
        translation=vector[:, 226:].astype(np.float32),
        joints=rows("3d_joints", 45, 3).astype(np.float32),
        detected=detected,
        box=rows("frame_bbox", 4).astype(np.float32),
        frame_size=_frame_size(path, rows("frame_size", 2), detected),
        confidence=rows("frame_conf").astype(np.float32),
        labels=labels,
        label_source=source,
        appearance=_gather(path, content.get("apperance_dict"), "apperance_dict", index)[0],
    )
    return tracklet.validate(path)


def _array(
    path: Path, content: dict[Any, Any], key: str, length: int | None, shape: tuple[int, ...]
) -> NDArray[Any]:
    """content[key], list or array, as (T, *shape), dropping the released format's axis of one person."""
    if key not in content:
        raise BadInput(path, key, "to be there", "no such key")
    try:
        array = np.asarray(content[key])
    except ValueError:  # a ragged list
        raise BadInput(path, key, "rows of equal length", "a ragged list") from None
    if array.dtype.kind not in "biuf":
        raise BadInput(path, key, "numbers", array.dtype)
    length = len(array) if length is None and array.ndim else length
    if array.ndim == 0 or len(array) != length or array.size != length * prod(shape):
        expected = ("T" if length is None else length, 1, *(shape or (1,)))
        raise BadInput(path, key, f"shape {expected}", f"shape {array.shape}")
    return array.reshape(length, *shape)


def _gather(
    path: Path, table: Any, key: str, index: NDArray[np.int64]
) -> tuple[FloatArray | None, NDArray[np.bool_]]:
    """Rows table[index] (T, D), zero where there is none, and where there is one (T,); None for no table."""
    known = np.zeros(len(index), np.bool_)
    if not table:
        return None, known
    if not isinstance(table, dict):
        raise BadInput(path, key, "a dict", type(table).__name__)
    vectors = {name: np.asarray(row).reshape(-1) for name, row in table.items()}
    widths = {row.size for row in vectors.values()}
    if len(widths) != 1 or any(row.dtype.kind not in "biuf" for row in vectors.values()):
        raise BadInput(path, key, "numbers of one width", f"widths {sorted(widths)}")
    gathered = np.zeros((len(index), widths.pop()), np.float32)
    for row, name in enumerate(index.tolist()):
        if name in vectors:
            gathered[row], known[row] = vectors[name], True
    return gathered, known


def _labels(
    path: Path, truth: NDArray[Any], has_gt: NDArray[Any], index: NDArray[np.int64], content: dict[Any, Any]
) -> tuple[FloatArray, NDArray[np.int8]]:
    """One label row and its source a frame: ground truth before pseudo label before none."""
    pseudo, known = _gather(path, content.get("action_label_psudo"), "action_label_psudo", index)
    if pseudo is not None and pseudo.shape[1] != CLASSES:
        raise BadInput(path, "action_label_psudo", f"{CLASSES} columns", pseudo.shape[1])
    labels = np.zeros((len(index), CLASSES), np.float32) if pseudo is None else pseudo
    source = np.where((has_gt == PSEUDO_LABEL) & ~known, NO_LABEL, has_gt).astype(np.int8)
    if (source != np.where((has_gt == PSEUDO_LABEL) & ~known, NO_LABEL, has_gt)).any():
        raise BadInput(path, "has_gt", "0, 1 or 2", np.unique(has_gt).tolist())
    labels[source == NO_LABEL] = 0
    labels[source == GROUND_TRUTH] = truth[source == GROUND_TRUTH]
    return labels, source


def _frame_size(path: Path, sizes: NDArray[Any], detected: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The one (height, width) of the video, from the detected frames where there are any."""
    distinct = np.unique(sizes[detected] if detected.any() else sizes, axis=0)
    if len(distinct) != 1:
        raise BadInput(path, "frame_size", "one size in all frames", distinct.tolist())
    return distinct[0].astype(np.int64)


def write_released(tracklet: Tracklet, path: str | Path, compress: bool = False) -> None:
    """Write a tracklet as a released file: a joblib pickle, `compress`ed by zlib or plain.

    What read_released reads back is equal to the last bit, but for labels of frames whose label_source is 0.
    A Tracklet does not hold `camera_bbox`, which nothing in LART reads: zeros are written.
    """
    if Path(path).name != f"{tracklet.name}.pkl":
        raise BadInput(path, "file name", f"{tracklet.name}.pkl", Path(path).name)
    content = _released_content(tracklet.validate())
    with atomic_path(path) as temporary:
        joblib.dump(content, temporary, compress=("zlib", 3) if compress else 0)


def _released_content(tracklet: Tracklet) -> dict[str, Any]:
    length = len(tracklet)
    index, appearance, pseudo = _tables(tracklet)
    truth = np.where((tracklet.label_source == GROUND_TRUTH)[:, None], tracklet.labels, 0)
    per_frame: dict[str, NDArray[Any]] = {
        "fid": tracklet.frame[:, None],
        "pose_shape": tracklet.vector(),
        "3d_joints": tracklet.joints,
        "camera": tracklet.translation / np.array([1, 1, 200], np.float32),  # the released unit of depth
        "camera_bbox": np.zeros((length, 3), np.float32),
        "action_label_gt": truth.astype(np.float32),
        "has_gt": tracklet.label_source[:, None].astype(np.int64),
        "has_detection": tracklet.detected[:, None].astype(np.int64),
        "apperance_index": index[:, None],
        "frame_size": np.tile(tracklet.frame_size, (length, 1)),
        "frame_bbox": tracklet.box,
        "frame_conf": tracklet.confidence[:, None],
    }
    return {key: rows[:, None] for key, rows in per_frame.items()} | {
        "action_label_psudo": pseudo,
        "apperance_dict": appearance,
        "frame_name": [f"{frame:06d}.jpg" for frame in tracklet.frame.tolist()],
    }


def _tables(tracklet: Tracklet) -> tuple[NDArray[np.int64], dict[int, FloatArray], dict[int, FloatArray]]:
    """apperance_index (T,) and its two dicts: runs of equal frames share the entry of their first frame."""
    is_pseudo = tracklet.label_source == PSEUDO_LABEL
    kinds = [is_pseudo[:, None], np.where(is_pseudo[:, None], tracklet.labels, 0)]
    if tracklet.appearance is not None:
        kinds.append(tracklet.appearance)
    state = np.concatenate(kinds, axis=1)
    starts = np.flatnonzero(np.r_[True, (state[1:] != state[:-1]).any(axis=1)])
    index = starts[np.searchsorted(starts, np.arange(len(tracklet)), side="right") - 1].astype(np.int64)
    if tracklet.appearance is None:
        index[~is_pseudo] = -1
    pseudo = {int(s): tracklet.labels[s : s + 1] for s in starts if is_pseudo[s]}
    if tracklet.appearance is None:
        return index, {}, pseudo
    return index, {int(s): tracklet.appearance[s : s + 1] for s in starts}, pseudo


def save_tracklets(tracklets: Iterable[Tracklet], path: str | Path) -> None:
    """Write tracklets into one .npz, every field concatenated along time.

    Each field takes the smallest dtype that loses nothing (labels of 0 and 1 become uint8). The file is
    written whole or not at all, and equal byte for byte for equal tracklets. Appearance must be of one width.
    """
    kept = [tracklet.validate() for tracklet in tracklets]
    with_appearance = [t.appearance for t in kept if t.appearance is not None]
    widths = sorted({array.shape[1] for array in with_appearance})
    if len(widths) > 1:
        raise BadInput(path, "appearance", "one width", widths)
    arrays: dict[str, NDArray[Any]] = {
        "name": np.array([t.name for t in kept], np.str_),
        "length": np.array([len(t) for t in kept], np.int64),
        "frame_size": np.array([t.frame_size for t in kept], np.int64).reshape(-1, 2),
        "has_appearance": np.array([t.appearance is not None for t in kept], np.bool_),
        "appearance": _smallest(np.concatenate([np.empty((0, *widths), np.float32), *with_appearance])),
    }
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
    dtypes |= {"has_appearance": np.bool_, "appearance": np.float32}
    dtypes |= {field: dtype for field, (_, dtype) in FRAME_FIELDS.items()}
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = sorted(dtypes.keys() - set(archive.files))
            if missing:
                raise BadInput(path, missing[0], "to be there", "no such array")
            arrays = {field: archive[field].astype(dtype, copy=False) for field, dtype in dtypes.items()}
    except (ValueError, EOFError, zipfile.BadZipFile, zipfile.LargeZipFile) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(path, "file", "a store of tracklets (.npz)", type(error).__name__) from None
    ends = np.cumsum(arrays["length"])
    for field in FRAME_FIELDS:
        if len(arrays[field]) != arrays["length"].sum():
            raise BadInput(path, field, f"{arrays['length'].sum()} rows", len(arrays[field]))
    appearance_ends = np.cumsum(arrays["length"] * arrays["has_appearance"])
    return [_unpack(path, arrays, i, ends[i], appearance_ends[i]) for i in range(len(ends))]


def _unpack(
    path: str | Path, arrays: dict[str, NDArray[Any]], i: int, end: int, appearance_end: int
) -> Tracklet:
    """Tracklet `i`, as views into the store's arrays."""
    name, length = str(arrays["name"][i]), int(arrays["length"][i])
    appearance = arrays["appearance"][appearance_end - length : appearance_end]
    rows: dict[str, Any] = {field: arrays[field][end - length : end] for field in FRAME_FIELDS}
    tracklet = Tracklet(
        name=name,
        **parse_name(name, path),
        frame_size=arrays["frame_size"][i],
        appearance=appearance if arrays["has_appearance"][i] else None,
        **rows,
    )
    return tracklet.validate(f"{path} ({name})")
