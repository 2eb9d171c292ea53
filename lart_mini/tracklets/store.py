"""A store of tracklets on disk, read through memory maps: single tracklets, and whole batches for training.

`conversion.convert` writes stores. Reading one takes little memory whatever its size: what the maps have
brought into memory is handed back each time a gigabyte of it has been looked at.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lart_mini import ava
from lart_mini.files import BadInput
from lart_mini.reading.arrays import header
from lart_mini.tracklets.records import INDEX_SCHEMA, RECORD, HalfArray, Packed, part_name, read_index, unpack
from lart_mini.tracklets.tracklet import Tracklet

RESIDENT_BYTES = 1 << 30  # looked at before the maps' memory is handed back
MOST_OPEN_PARTS = 256  # each takes three file descriptors, of which many systems give 1024


@dataclass(frozen=True, eq=False)
class Part:
    """The mapped arrays of one part."""

    records: NDArray[Any]  # (N,) of RECORD
    appearance: HalfArray  # every vector of every tracklet, end to end
    labels: HalfArray  # (M, 80)
    maps: tuple[mmap.mmap, ...]

    @classmethod
    def open(cls, folder: Path) -> Part:
        """Map a part's files. Raises BadInput."""
        kinds = (
            ("frames", RECORD, ()),
            ("appearance", np.dtype("<f2"), ()),
            ("labels", "<f2", (ava.CLASS_COUNT,)),
        )
        opened = [map_rows(folder / f"{name}.npy", np.dtype(dtype), inner) for name, dtype, inner in kinds]
        records, appearance, labels = (array for array, _ in opened)
        return cls(records, appearance, labels, tuple(mapped for _, mapped in opened))

    def release(self) -> None:
        """Hand the memory back: what is looked at again is read again, from cache or disk."""
        for mapped in self.maps:
            if hasattr(mapped, "madvise"):  # not on Windows
                mapped.madvise(mmap.MADV_DONTNEED)


def map_rows(
    path: Path, dtype: np.dtype[Any], inner: tuple[int | None, ...]
) -> tuple[NDArray[Any], mmap.mmap]:
    """A .npy file of rows of shape `inner` (None: any) as a read-only array over a memory map, and the map.

    Raises BadInput.
    """
    try:
        with open(path, "rb") as file:
            layout = header(file)
            shape = layout.shape
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            fits = len(shape) == 1 + len(inner) and all(
                wanted in (None, n) for wanted, n in zip(inner, shape[1:], strict=True)
            )
            if layout.dtype != dtype or layout.fortran or not fits:
                raise ValueError(f"{layout.dtype} of shape {shape}")
            return np.ndarray(shape, dtype, mapped, offset=file.tell()), mapped
    except Exception as error:  # a damaged header fails in as many ways as Python's parser
        raise BadInput(path, "file", f"rows of shape {inner} in a .npy file", error) from None


def is_store(path: str | Path) -> bool:
    """Is this folder a store, whole or not?"""
    return any((Path(path) / name).exists() for name in ("plan.json", "index.parquet"))


class Store:
    """The tracklets of a store, in order of their names. Raises BadInput for a store that is not whole.

    It can be pickled: each process opens the files for itself.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.index = _read_index(self.path)
        numbers = [name for name, dtype in INDEX_SCHEMA.items() if dtype.is_integer()]
        self.columns = {name: self.index[name].to_numpy() for name in numbers}
        self._parts: dict[int, Part] = {}
        self._looked_at = 0

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_parts": {}, "_looked_at": 0}

    def __len__(self) -> int:
        return len(self.index)

    def __iter__(self) -> Iterator[Tracklet]:
        return (self.tracklet(i) for i in range(len(self)))

    @property
    def appearance_width(self) -> int:
        """Width of the appearance vectors, 0 where no tracklet has any."""
        return int(self.columns["appearance_width"].max(initial=0))

    def tracklet(self, i: int) -> Tracklet:
        """Tracklet `i`, checked. Raises BadInput where the store is damaged, IndexError outside of it."""
        return unpack(self.packed(i), f"{self.path} ({self.index['name'][i]})")

    def packed(self, i: int) -> Packed:
        """Tracklet `i` as it lies in the store: views into the maps."""
        return Packed(self.records(i), self.appearance(i), self.labels(i), self.index.row(i, named=True))

    def records(self, i: int) -> NDArray[Any]:
        """Its frames (T,), of records.RECORD."""
        columns = self.columns
        start, count = int(columns["frame_row"][i]), int(columns["length"][i])
        return self._rows(self._part(i).records, i, start, count)

    def labels(self, i: int) -> HalfArray:
        """Its label rows (L, 80)."""
        columns = self.columns
        start, count = int(columns["label_row"][i]), int(columns["label_rows"][i])
        return self._rows(self._part(i).labels, i, start, count)

    def appearance(self, i: int) -> HalfArray:
        """Its appearance vectors (K, D)."""
        columns = self.columns
        start, width = int(columns["appearance_start"][i]), int(columns["appearance_width"][i])
        count = int(columns["appearance_rows"][i])
        if min(count, width) < 0:
            where = f"appearance of {self.index['name'][i]}"
            raise BadInput(self.path, where, "rows and a width from 0 on", f"{count} of {width}")
        return self._rows(self._part(i).appearance, i, start, count * width).reshape(count, width)

    def _part(self, i: int) -> Part:
        number = int(self.columns["part"][i])
        if number not in self._parts:
            if len(self._parts) == MOST_OPEN_PARTS:
                self._parts.clear()
            self._parts[number] = Part.open(self.path / "parts" / part_name(number))
        return self._parts[number]

    def _rows(self, array: NDArray[Any], i: int, start: int, count: int) -> NDArray[Any]:
        if not 0 <= start <= start + count <= len(array):
            found = f"{len(array)}: the index does not belong to these parts"
            raise BadInput(self.path, f"rows of {self.index['name'][i]}", f"at least {start + count}", found)
        rows = array[start : start + count]
        # The system maps 64 KiB around whatever is looked at.
        self._looked_at += rows.nbytes + (1 << 16)
        if self._looked_at > RESIDENT_BYTES:
            self._looked_at = 0
            for part in self._parts.values():
                part.release()
        return rows


def _read_index(path: Path) -> pl.DataFrame:
    if not path.is_dir():
        raise BadInput(path, "store", "a folder that `lart-mini convert` wrote", "no folder")
    file = path / "index.parquet"
    if not file.exists():
        found = "one that is not whole: run convert again" if is_store(path) else "none"
        raise BadInput(path, "store", "a whole one, with index.parquet", found)
    return read_index(file)
