"""Many tracklets in one .npz, every field concatenated along time."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lart_mini.files import BadInput, write_npz
from lart_mini.reading.arrays import Archive, open_npz
from lart_mini.tracklets.tracklet import FRAME_FIELDS, Tracklet, parse_name

OPTIONAL_FIELDS = ("appearance", "camera")  # arrays along time that a tracklet may lack


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
    write_npz(path, arrays)


def _smallest(array: NDArray[Any]) -> NDArray[Any]:
    for dtype in (np.uint8, np.float16, np.int32):
        with np.errstate(all="ignore"):
            small = array.astype(dtype)
        if array.itemsize > small.itemsize and np.array_equal(small, array):
            return small
    return array


def load_tracklets(path: str | Path) -> list[Tracklet]:
    """What save_tracklets wrote. Raises BadInput for a file that is no such store or has a wrong field."""
    with open_npz(path, "a store of tracklets (.npz)") as archive:
        missing = sorted({"name", "length", "frame_size", *FRAME_FIELDS} - archive.members.keys())
        if missing:
            raise BadInput(path, missing[0], "to be there", "no such array")
        arrays = _read_arrays(archive)
    ends = {"": np.cumsum(arrays["length"])}
    for field in OPTIONAL_FIELDS:
        if f"has_{field}" in arrays:
            ends[field] = np.cumsum(arrays["length"] * arrays[f"has_{field}"])
    return [
        _unpack(path, arrays, i, {field: int(end[i]) for field, end in ends.items()})
        for i in range(len(arrays["length"]))
    ]


def _read_arrays(archive: Archive) -> dict[str, NDArray[Any]]:
    """Every field, after the lengths: by these its number of rows is known before it is read."""
    length = archive.read("length", (None,), "iu")
    count, most = len(length), np.iinfo(np.int64).max // max(len(length), 1)
    if (length < 1).any() or (length > most).any():
        raise BadInput(archive.path, "length", "numbers of frames", f"{length.min()} to {length.max()}")
    length = length.astype(np.int64)
    arrays = {"name": archive.read("name", (count,), "U"), "length": length}
    arrays["frame_size"] = archive.read("frame_size", (count, 2), "iu").astype(np.int64)
    if "depth_unit" in archive.members:
        arrays["depth_unit"] = archive.read("depth_unit", (count,)).astype(np.float64)
    for field, (shape, dtype) in FRAME_FIELDS.items():
        rows = (int(length.sum()), *shape)
        found = archive.read(field, rows)
        arrays[field] = _as(archive.path, field, found, dtype)
    for field, width in zip(OPTIONAL_FIELDS, (None, 3), strict=True):
        if field in archive.members:
            has = arrays[f"has_{field}"] = archive.read(f"has_{field}", (count,)).astype(np.bool_)
            wanted = (int(length[has].sum()), width)
            arrays[field] = archive.read(field, wanted).astype(np.float32, copy=False)
    return arrays


def _as(path: Path, field: str, found: NDArray[Any], dtype: type) -> NDArray[Any]:
    """The numbers in a tracklet's own type. Raises BadInput where others would come of them."""
    with np.errstate(all="ignore"):
        array: NDArray[Any] = found.astype(dtype, copy=False)
    if array.dtype.kind != "f" and (array != found).any():
        raise BadInput(path, field, np.dtype(dtype).name, f"{found[array != found][0]:g}")
    return array


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
