"""A store of tracklets on disk, read through memory maps: single tracklets, and whole batches for training.

`convert.convert` writes stores. Reading one takes little memory whatever its size: what the maps have brought
into memory is handed back each time a gigabyte of it has been looked at.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from lart_mini import ava
from lart_mini.convert import INDEX_SCHEMA, part_name
from lart_mini.datasets import Draw, EgoDataset
from lart_mini.errors import BadInput
from lart_mini.records import RECORD, HalfArray, Packed, unpack
from lart_mini.tokens import JOINTS_WIDTH, Stats, TokenBatch, seats, used_entries
from lart_mini.tracklets import CLASSES, GROUND_TRUTH, NO_LABEL, VECTOR_WIDTH, Tracklet

Records = NDArray[Any]  # of RECORD

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
        kinds = (("frames", RECORD, ()), ("appearance", np.dtype("<f2"), ()), ("labels", "<f2", (CLASSES,)))
        opened = [_map(folder / f"{name}.npy", np.dtype(dtype), inner) for name, dtype, inner in kinds]
        records, appearance, labels = (array for array, _ in opened)
        return cls(records, appearance, labels, tuple(mapped for _, mapped in opened))

    def release(self) -> None:
        """Hand the memory back: what is looked at again is read again, from cache or disk."""
        for mapped in self.maps:
            if hasattr(mapped, "madvise"):  # not on Windows
                mapped.madvise(mmap.MADV_DONTNEED)


def _map(path: Path, dtype: np.dtype[Any], inner: tuple[int, ...]) -> tuple[NDArray[Any], mmap.mmap]:
    """A .npy file of rows as a read-only array over a memory map. Raises BadInput."""
    try:
        with open(path, "rb") as file:
            if np.lib.format.read_magic(file) != (1, 0):
                raise ValueError("another version of the .npy format")
            shape, fortran, found = np.lib.format.read_array_header_1_0(file)
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            if found != dtype or fortran or len(shape) != 1 + len(inner) or shape[1:] != inner:
                raise ValueError(f"{found} of shape {shape}")
            return np.ndarray(shape, dtype, mapped, offset=file.tell()), mapped
    except (OSError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:80]
        raise BadInput(path, "file", f"rows of shape {inner} in a .npy file", reason) from None


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
    try:
        index = pl.read_parquet(file)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise BadInput(file, "file", "a parquet table", type(error).__name__) from None
    if dict(index.schema) != INDEX_SCHEMA or index.null_count().sum_horizontal().sum():
        raise BadInput(file, "columns", "those that convert writes", ", ".join(index.columns)[:80])
    return index


@dataclass(frozen=True, eq=False)
class Seat:
    """A tracklet of the store in a slot of a sample."""

    number: int
    records: NDArray[Any]  # (T,) of RECORD
    frame: NDArray[np.int64]  # (T,)
    detected: NDArray[np.bool_]  # (T,)

    def __len__(self) -> int:
        return len(self.frame)


Seated = list[tuple[Seat, NDArray[np.intp], NDArray[np.intp]]]  # seat, frames of the window, their rows


class StoreDataset(EgoDataset):
    """An EgoDataset of a Store: TrackletDataset's items, without holding the tracklets in memory.

    A whole batch is made at once, which a DataLoader asks for by itself; `datasets.whole` hands it on.
    """

    def _take(self, store: Store, stats: Stats) -> tuple[list[str], list[int], list[bool]]:
        self.store, self.appearance_width = store, store.appearance_width
        self.mean, self.std = (torch.from_numpy(part) for part in (stats.mean, stats.std + np.float32(1e-10)))
        self.units = store.index["depth_unit"].to_numpy().astype(np.float32)
        columns = store.columns
        told = columns["ground_truth"] + (columns["pseudo"] if self.labels == "any" else 0)
        return store.index["scene"].to_list(), columns["length"].tolist(), (told > 0).tolist()

    def __getitem__(self, index: int) -> TokenBatch:
        return self._assemble([self.draw(index)], self.people)

    def __getitems__(self, indices: Sequence[int]) -> TokenBatch:
        """The items, collated."""
        return self.batch([self.draw(index) for index in indices])

    def batch(self, draws: Sequence[Draw]) -> TokenBatch:
        """As EgoDataset's."""
        return self._assemble(draws, None)

    def _assemble(self, draws: Sequence[Draw], people: int | None) -> TokenBatch:
        samples = [self._seats(draw) for draw in draws]
        records, filled = _copied(samples, self.people, self.frames)
        detected = records["detected"] != 0  # (B, P, T)
        masks = [self.mask(torch.from_numpy(d[None]), draw) for d, draw in zip(detected, draws, strict=True)]
        present = detected.any(axis=2)
        present[:, 0] = True
        if people is None:
            people = int(np.flatnonzero(present.any(axis=0))[-1]) + 1
            records, filled, detected, present = (
                array[:, :people] for array in (records, filled, detected, present)
            )
            samples = [sample[:people] for sample in samples]
        source = records["label_source"]
        labelled = detected & (
            source == GROUND_TRUTH if self.labels == "ground truth" else source != NO_LABEL
        )
        kept = self.assembly.undetected == "kept"
        shown, told = (filled, filled) if kept else (detected, labelled)
        tensors = {
            "pose": self._pose(records, samples, shown),
            "present": torch.from_numpy(present.copy()),
            "detected": torch.from_numpy(detected.copy()),
            "labels": self._labels(records, samples, told),
            "label_weight": torch.from_numpy(labelled.astype(np.float32)),
        }
        if self.assembly.joints:
            tensors["joints"] = _joints(records, shown)
        if self.appearance_width:
            tensors |= self._appearance(records, samples, shown)
        if self.train:
            tensors["masked"] = torch.cat([mask[:, :people] for mask in masks if mask is not None])
        return TokenBatch(**tensors)

    def _pose(self, records: Records, samples: Sequence[Seated], shown: NDArray[np.bool_]) -> Tensor:
        units = np.ones(shown.shape[:2], np.float32)
        for row, sample in zip(units, samples, strict=True):
            row[: len(sample)] = self.units[[seat.number for seat, _, _ in sample]]
        pose = torch.empty(*shown.shape, VECTOR_WIDTH)
        pose[..., :-3] = _numbers(records, "pose", VECTOR_WIDTH - 3)  # betas lie behind
        pose[..., -3:] = _numbers(records, "translation", 3)
        pose[..., -1] /= torch.from_numpy(units)[..., None]
        return pose.sub_(self.mean).div_(self.std).mul_(torch.from_numpy(shown)[..., None])

    def _labels(self, records: Records, samples: Sequence[Seated], told: NDArray[np.bool_]) -> Tensor:
        first = np.zeros(told.shape[:2], np.int64)
        tables, count = [np.zeros((1, CLASSES), np.float16)], 1  # row 0: no class
        for b, sample in enumerate(samples):
            for p, (seat, _, _) in enumerate(sample):
                tables.append(self.store.labels(seat.number))
                first[b, p], count = count, count + len(tables[-1])
        table = ava.to_evaluated(np.concatenate(tables)).astype(np.float32)
        index = records["label_index"]
        rows = np.where(told & (index >= 0), index + first[..., None], 0)
        return F.embedding(torch.from_numpy(rows), torch.from_numpy(table))

    def _appearance(
        self, records: Records, samples: Sequence[Seated], shown: NDArray[np.bool_]
    ) -> dict[str, Tensor]:
        index = np.where(shown, records["appearance_index"], -1).astype(np.int64)
        vectors: dict[tuple[int, int], HalfArray] = {}
        for b, sample in enumerate(samples):
            for p, (seat, _, _) in enumerate(sample):
                used, index[b, p] = used_entries(index[b, p])
                if len(used):
                    vectors[b, p] = self.store.appearance(seat.number)[used]
        most = max(map(len, vectors.values()), default=0)
        table = np.zeros((*shown.shape[:2], most, self.appearance_width), np.float16)
        for slot, rows in vectors.items():
            table[slot][: len(rows)] = rows
        appearance = torch.from_numpy(table).float()
        return {"appearance": appearance, "appearance_index": torch.from_numpy(index)}

    def _seats(self, draw: Draw) -> Seated:
        return seats(
            self._seat(draw.ego),
            (self._seat(other) for other in draw.others),
            frames=self.frames,
            people=self.people,
            assembly=self.assembly,
            start=draw.start,
        )

    def _seat(self, number: int) -> Seat:
        records = self.store.records(number)
        return Seat(number, records, records["frame"].astype(np.int64), records["detected"] != 0)


def _copied(samples: Sequence[Seated], people: int, frames: int) -> tuple[Records, NDArray[np.bool_]]:
    """The samples' records (B, P, T), zero where nobody sits, and where somebody does."""
    records = np.zeros((len(samples), people, frames), RECORD)
    filled = np.zeros(records.shape, np.bool_)
    # As plain bytes: numpy would copy structured records field by field.
    target = records.view(np.uint8).reshape(*records.shape, RECORD.itemsize)
    for b, sample in enumerate(samples):
        for p, (seat, slots, rows) in enumerate(sample):
            to, of = _run(slots), _run(rows)
            target[b, p, to] = seat.records.view(np.uint8).reshape(-1, RECORD.itemsize)[of]
            filled[b, p, to] = True
    return records, filled


def _run(rows: NDArray[np.intp]) -> NDArray[np.intp] | slice:
    """The same rows, as a slice where they have no gaps: that is one copy instead of one for each."""
    gapless = len(rows) > 0 and rows[-1] - rows[0] + 1 == len(rows)
    return slice(rows[0], rows[-1] + 1) if gapless else rows


def _numbers(records: Records, field: str, count: int) -> Tensor:
    """`count` numbers of each record from a field on (B, P, T, count), as they lie there."""
    assert RECORD.fields is not None
    dtype, offset = RECORD.fields[field][:2]
    number = dtype.base
    plain = records.view(number).reshape(*records.shape, -1)
    first = offset // number.itemsize
    return torch.from_numpy(plain)[..., first : first + count]


def _joints(records: Records, shown: NDArray[np.bool_]) -> Tensor:
    joints = _numbers(records, "joints", JOINTS_WIDTH).float()
    joints.unflatten(-1, (-1, 3)).add_(_numbers(records, "camera", 3)[..., None, :])
    return joints.mul_(torch.from_numpy(shown)[..., None])
