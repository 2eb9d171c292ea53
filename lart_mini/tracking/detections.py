"""Detections: who was seen in each frame, before anybody knows who is who.

The paper detects people in every frame and lifts each to 3D (section C.1: Mask R-CNN, HMR 2.0).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lart_mini.files import BadInput
from lart_mini.scenes.takes import Array

# Shape of a row and dtype of every field; appearance has a width of its own.
ROW_FIELDS: dict[str, tuple[tuple[int, ...] | None, type]] = {
    "frame": ((), np.int64),
    "box": ((4,), np.float32),
    "confidence": ((), np.float32),
    "pose": ((24, 3, 3), np.float32),
    "betas": ((10,), np.float32),
    "translation": ((3,), np.float32),
    "appearance": (None, np.float32),
    "given": ((), np.bool_),
    "actor": ((), np.int64),
}


@dataclass(frozen=True, eq=False)
class Detections:
    """N detections of one video, ordered by frame; within a frame the order means nothing."""

    frame: NDArray[np.int64]  # (N,) frame numbers, never falling
    box: Array  # (N,4) x, y, w, h pixels
    confidence: Array  # (N,) of the detector, in [0, 1]
    pose: Array  # (N,24,3,3) local rotations, joint 0 in the camera frame
    betas: Array  # (N,10) SMPL shape
    translation: Array  # (N,3) metres, camera frame: x right, y down, z forward
    appearance: Array  # (N,A) what the person looks like; A may be 0
    given: NDArray[np.bool_]  # (N,) the box is ground truth, handed to the tracker at a key frame
    actor: NDArray[np.int64]  # (N,) who it is, −1 for nobody real or not known: for judging only

    def __len__(self) -> int:
        return len(self.frame)

    def __getitem__(self, rows: Any) -> Detections:
        """The detections of `rows`: a slice, a mask (N,) or row numbers."""
        return Detections(*(array[rows] for array in vars(self).values()))

    def window(self, first: int, length: int) -> Detections:
        """Those of frames [first, first + length)."""
        return self[slice(*np.searchsorted(self.frame, [first, first + length]))]

    def validate(self, file: object = "detections") -> Detections:
        """Return the detections, or raise BadInput (naming `file`) on a wrong field or falling frames."""
        for field, (shape, dtype) in ROW_FIELDS.items():
            array = getattr(self, field)
            if not isinstance(array, np.ndarray) or array.dtype != dtype:
                found = getattr(array, "dtype", type(array).__name__)
                raise BadInput(file, field, np.dtype(dtype).name, found)
            if array.ndim == 0 or (array.shape[1:] != shape if shape is not None else array.ndim != 2):
                told = "(A,)" if shape is None else shape
                raise BadInput(file, field, f"rows of shape {told}", f"shape {array.shape}")
            if len(array) != len(self):
                raise BadInput(file, field, f"{len(self)} rows", len(array))
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                row = int(np.argwhere(~np.isfinite(array))[0, 0])
                raise BadInput(file, field, "finite numbers", f"NaN or infinity at row {row}")
        for field, expected, wrong in (
            ("frame", "numbers that never fall", np.diff(self.frame, prepend=self.frame[:1]) < 0),
            ("box", "width and height above 0", (self.box[:, 2:] <= 0).any(axis=1)),
            ("confidence", "a number in [0, 1]", (self.confidence < 0) | (self.confidence > 1)),
            ("translation", "a depth above 0", self.translation[:, 2] <= 0),
        ):
            if wrong.any():
                row = int(np.argmax(wrong))
                raise BadInput(file, field, expected, f"{getattr(self, field)[row].tolist()} at row {row}")
        return self

    @classmethod
    def joined(cls, parts: list[Detections]) -> Detections:
        """All detections of `parts`, ordered by frame, and by part within a frame."""
        whole = cls(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)))
        return whole[np.argsort(whole.frame, kind="stable")]
