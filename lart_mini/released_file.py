"""The fields of one released pickle, each checked and brought to one row a frame."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lart_mini.errors import BadInput
from lart_mini.safe_pickle import read_pickle

FloatArray = NDArray[np.float32]

PUBLISHED_DEPTH_UNIT = 200.0  # the published files hold depths in units of 200 m

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
        found = self.content[key]
        try:
            # A list may hold a number here and an array of one there.
            array = np.asarray([np.ravel(row) for row in found] if isinstance(found, list) else found)
        except ValueError:
            raise BadInput(self.path, key, "rows of equal length", "a ragged list") from None
        if array.dtype.kind not in "biuf":
            raise BadInput(self.path, key, "numbers", array.dtype)
        if array.ndim == 0 or len(array) != self.length or array.size != self.length * prod(shape):
            expected = (self.length, 1, *(shape or (1,)))
            raise BadInput(self.path, key, f"shape {expected}", f"shape {array.shape}")
        return array.reshape(self.length, *shape)

    def whole_numbers(self, key: str) -> NDArray[np.int64]:
        """content[key] (T,), whole numbers of any type."""
        rows = self.rows(key)
        odd = ~np.isfinite(rows) | (rows != np.floor(rows))
        if odd.any():
            raise BadInput(self.path, key, "whole numbers", f"{rows[odd][0]:g}")
        return rows.astype(np.int64)

    def looked_up(self, key: str, index: NDArray[np.int64]) -> tuple[FloatArray | None, NDArray[np.bool_]]:
        """Rows content[key][index] (T, D) and where there is one (T,); zeros elsewhere, as for index -1.

        None for a table that is missing or empty.
        """
        table, known = self.content.get(key), np.zeros(self.length, np.bool_)
        if not table:
            return None, known
        if not isinstance(table, dict):
            raise BadInput(self.path, key, "a dict", type(table).__name__)
        vectors = {name: np.asarray(row).reshape(-1) for name, row in table.items()}
        widths = {row.size for row in vectors.values()}
        if len(widths) != 1 or any(row.dtype.kind not in "biuf" for row in vectors.values()):
            raise BadInput(self.path, key, "numbers of one width", f"widths {sorted(widths)}")
        gathered = np.zeros((self.length, widths.pop()), np.float32)
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
        ends = [LAST_NUMBER.search(str(name)) for name in names]
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


def depth_unit_told(vector: NDArray[Any], camera: NDArray[Any], detected: NDArray[np.bool_]) -> float:
    """200 where `camera` (T, 3) repeats the end of the person-vectors (T, 229), else 1, in metres.

    The tracker's code divided the depth in place, so that only published files are so. Frames without a
    detection tell nothing, nor do depths of 0.
    """
    rows = detected if detected.any() else slice(None)
    place = vector[rows, 226:]
    return PUBLISHED_DEPTH_UNIT if place[:, 2].any() and _same(camera[rows], place) else 1.0


def _same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return np.allclose(a, b, rtol=1e-6, atol=0)  # a few float32 roundings
