"""A store of skeletons: an annotation file converted once, and read through memory maps.

keypoint.npy    (R, 3V) float16: one row a person and frame; annotation by annotation, person by person
place.npy       (N, 12) float32: `Skeleton.place`, which makes the network's numbers of a row's
index.parquet   one row an annotation: frame_dir, label, people, frames, row (its first)
splits.json     which numbers of annotations each split has; and are they flat: x, y, score, not x, y, z
"""

from __future__ import annotations

import mmap
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sized
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lart_mini.files import BadInput
from lart_mini.progress import progress as progress_bar
from lart_mini.reading.parquet import read_parquet
from lart_mini.reading.text import read_json
from lart_mini.skeletr.annotations import LEAST_SCORE, Skeleton, kind_of, read_annotations
from lart_mini.tracklets.conversion import GrowingArray, write_json
from lart_mini.tracklets.store import RESIDENT_BYTES, map_rows

M = TypeVar("M", bound=Sized)
FORMAT = "lart_mini.skeletons.1"
INDEX_SCHEMA = {
    "frame_dir": pl.String, "label": pl.Int64, "people": pl.Int64, "frames": pl.Int64, "row": pl.Int64,
}  # fmt: skip


def convert_annotations(
    source: str | Path,
    destination: str | Path,
    *,
    classes: int | None = None,
    keypoint_files: str | Path | None = None,
    least_score: float = LEAST_SCORE,
    progress: bool = True,
) -> SkeletonStore:
    """Convert an annotation file once into a store at `destination`, a new folder; gives the store, open.

    The arguments are those of `read_annotations`. The folder is there as a whole or not at all. Raises
    BadInput as that does, and where a folder that is not empty stands in the way, or the current one.
    """
    destination, expected = Path(destination), "a new or empty folder"
    if destination.exists() and not (destination.is_dir() and not any(destination.iterdir())):
        raise BadInput(destination, "destination", expected, "one with content, or a file")
    if destination.exists() and destination.samefile("."):  # whoever stands in it would see nothing of it
        raise BadInput(destination, "destination", expected, "the current folder, which cannot be exchanged")
    splits, skeletons = read_annotations(
        source, classes=classes, keypoint_files=keypoint_files, least_score=least_score
    )
    return write_store(destination, splits, skeletons, progress)


def write_store(
    destination: Path, splits: dict[str, list[str]], skeletons: Iterator[Skeleton], progress: bool = True
) -> SkeletonStore:
    """A store of what `read_annotations` gives, whole or not at all, in a folder that is new or empty."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    temporary = destination.with_name(f".{destination.name}-{uuid.uuid4().hex}")
    temporary.mkdir()
    try:
        flat, rows = _write_rows(temporary, skeletons, progress)
        index = pl.DataFrame(rows, schema=INDEX_SCHEMA, orient="row")
        number = {name: i for i, name in enumerate(index["frame_dir"])}
        kept = {
            name: sorted({number[one] for one in members if one in number})
            for name, members in splits.items()
        }
        write_json(temporary / "splits.json", {"format": FORMAT, "flat": flat, "splits": kept})
        index.write_parquet(temporary / "index.parquet")
        temporary.rename(destination)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return SkeletonStore(destination)


def _write_rows(
    folder: Path, skeletons: Iterator[Skeleton], progress: bool
) -> tuple[bool, list[tuple[Any, ...]]]:
    """Write both arrays; gives whether they are flat, and the rows of the index."""
    first = next(skeletons)
    width, rows = 3 * first.keypoint.shape[2], []
    with (
        GrowingArray(folder / "keypoint.npy", np.dtype("<f2"), width) as keypoint,
        GrowingArray(folder / "place.npy", np.dtype("<f4"), 12) as place,
        progress_bar(unit="annotation", disable=not progress) as bar,
    ):
        for skeleton in chain([first], skeletons):
            people, frames = skeleton.keypoint.shape[:2]
            row = keypoint.append(skeleton.keypoint.reshape(-1, width))
            place.append(skeleton.place.reshape(1, 12))
            rows.append((skeleton.frame_dir, skeleton.label, people, frames, row))
            bar.update()
    return first.flat, rows


class SkeletonStore:
    """Annotations that `convert_annotations` wrote, read through memory maps.

    keypoint (R,V,3) float16, place (N,4,3) float32; of each annotation frame_dir, label, people, frames and
    row (N,). Raises BadInput for a store that is damaged or not whole.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = self.source = Path(path)  # source: what errors name
        index = _read_index(self.path)
        self.frame_dir = index["frame_dir"].to_list()
        self.label, self.people, self.frames, self.row = (
            index[name].to_numpy() for name in ("label", "people", "frames", "row")
        )
        keypoint, self._map = map_rows(self.path / "keypoint.npy", np.dtype("<f2"), (None,))
        if not keypoint.size or keypoint.shape[1] % 3:
            expected = "rows of three numbers a joint"
            raise BadInput(self.path / "keypoint.npy", "shape", expected, keypoint.shape)
        place, _ = map_rows(self.path / "place.npy", np.dtype("<f4"), (12,))
        self.keypoint, self.place = keypoint.reshape(len(keypoint), -1, 3), place.reshape(-1, 4, 3)
        ends = self.row + self.people * self.frames
        sound = len(place) == len(index) and (self.people > 0).all() and (self.frames > 0).all()
        if (
            not sound
            or not np.isfinite(place).all()
            or (self.row < 0).any()
            or (ends > len(keypoint)).any()
            or (self.label < 0).any()
        ):
            raise BadInput(self.path, "index.parquet", "rows of these arrays", "others")
        self.splits, self.flat = _read_splits(self.path / "splits.json", len(index))
        self._looked_at = 0

    def __len__(self) -> int:
        return len(self.frame_dir)

    @property
    def joints(self) -> int:
        """V."""
        return self.keypoint.shape[1]

    @property
    def kind(self) -> str:
        """As of `kind_of`."""
        return kind_of(self.joints, self.flat)

    def split(self, name: str) -> NDArray[np.int64]:
        """Numbers of a split's annotations. Raises BadInput for one that is not there, or that has none."""
        return split_of(self.source, self.splits, name)

    def rows(self, which: NDArray[np.int64]) -> NDArray[np.float16]:
        """Rows (…) of keypoints as (…,V,3), copied; the maps' memory is handed back after a gigabyte."""
        found = np.take(self.keypoint, which, axis=0)
        self._looked_at += found.nbytes
        if self._looked_at > RESIDENT_BYTES and hasattr(self._map, "madvise"):  # not on Windows
            self._looked_at = 0
            self._map.madvise(mmap.MADV_DONTNEED)
        return found


def split_of(source: object, splits: Mapping[str, M], name: str) -> M:
    """Who is in a split. Raises BadInput, naming `source`, for one that is not there, or that has none."""
    if name not in splits:
        raise BadInput(source, "split", f"one of {', '.join(splits)}", name)
    if len(splits[name]) == 0:
        raise BadInput(source, f"split {name}", "one annotation at least", "none")
    return splits[name]


def _read_index(path: Path) -> pl.DataFrame:
    file = path / "index.parquet"
    if not file.is_file():
        raise BadInput(path, "store", "a folder that `lart-mini skeletons convert` wrote", "none")
    return read_parquet(file, INDEX_SCHEMA)


def _read_splits(path: Path, count: int) -> tuple[dict[str, NDArray[np.int64]], bool]:
    """The splits, and whether keypoints are flat."""
    if not path.is_file():
        raise BadInput(path, "file", "the splits of a store", "none")
    content = read_json(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise BadInput(path, "format", FORMAT, "another")
    splits, flat = content.get("splits"), content.get("flat")
    if not isinstance(flat, bool):
        raise BadInput(path, "flat", "true or false", flat)
    if not isinstance(splits, dict):
        raise BadInput(path, "splits", "numbers by name", type(splits).__name__)
    for name, members in splits.items():
        if not isinstance(members, list) or not all(type(n) is int and 0 <= n < count for n in members):
            raise BadInput(path, f"splits[{name!r}]", f"numbers below {count}", members)
    return {name: np.array(members, np.int64) for name, members in splits.items()}, flat
