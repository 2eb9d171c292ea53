"""The tracklet: one followed person, frame by frame."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lart_mini import ava
from lart_mini.files import BadInput

FloatArray = NDArray[np.float32]

VECTOR_WIDTH = 229
NO_LABEL, PSEUDO_LABEL, GROUND_TRUTH = 0, 1, 2
LARGEST_SIDE = 1_000_000  # pixels of a frame
PUBLISHED_DEPTH_UNIT = 200.0  # the published files hold depths in units of 200 m

# The released spelling: <dataset>_<video id, 11 characters>_<key frame>_<track>_<length>
NAME_PATTERN = re.compile(r"[A-Za-z0-9]+-[a-z]+_(?P<video>.{11})_(?P<keyframe>\d{6})_(?P<track>\d{1,9})_\d+")
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
    "labels": ((ava.CLASS_COUNT,), np.float32),
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
    starts = run_starts(rows)
    number: dict[bytes, int] = {}  # of a row's content
    first: list[int] = []
    entries = np.full(len(starts), -1)
    for run, start in enumerate(starts.tolist()):
        if rows[start].any():
            entries[run] = number.setdefault(rows[start].tobytes(), len(number))
            if len(first) < len(number):
                first.append(start)
    return rows[first], np.repeat(entries, np.diff(starts, append=len(rows)))


def run_starts(rows: NDArray[Any]) -> NDArray[np.intp]:
    """Where a row (T, …) differs from the one before it, and 0."""
    return np.flatnonzero(np.r_[True, (rows[1:] != rows[:-1]).any(axis=1)])


def middles(tracklet: Tracklet) -> NDArray[np.int64]:
    """Of each second (centred on a multiple of 30 frames) the detected frame nearest to its centre, a row.

    What is known of a person at 1 Hz is taken there, and holds for the whole second (section 3.2).
    """
    shown = np.flatnonzero(tracklet.detected)
    key = ava.nearest_keyframe(tracklet.frame[shown])
    order = np.lexsort((np.abs(tracklet.frame[shown] - key), key))
    _, first = np.unique(key[order], return_index=True)
    return shown[order][first]


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
    if (tracklet.frame_size <= 0).any() or (tracklet.frame_size > LARGEST_SIDE).any():
        expected = f"height and width from 1 to {LARGEST_SIDE:,}"
        raise BadInput(where, "frame_size", expected, tracklet.frame_size.tolist())
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
