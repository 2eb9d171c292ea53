"""pyskl's annotation files (.pkl of NTU, FineGYM, Kinetics, …), read safely and converted once into memory maps.

    keypoint.npy    (R, 3V) float16: one row a person and frame; annotation by annotation, person by person
    place.npy       (N, 12) float32: `Skeleton.place`, which makes the network's numbers of an annotation's
    index.parquet   one row an annotation: frame_dir, label, people, frames, row (its first)
    splits.json     which numbers of annotations each split has

What the published pipeline does to a whole annotation is done here, once: joints that were not found go to the
middle of the frame, frames without a main person go, bodies in 3D are centred and turned upright. What it does
to frames is in `streams`.
"""

from __future__ import annotations

import mmap
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lart_mini.files import BadInput, whole_number
from lart_mini.progress import progress as progress_bar
from lart_mini.reading.budget import MIB
from lart_mini.reading.pickles import read_pickle
from lart_mini.reading.text import read_json
from lart_mini.tracklets.conversion import GrowingArray, write_json
from lart_mini.tracklets.store import map_rows

LARGEST_ANNOTATIONS = 16_384 * MIB  # bytes of a file, and of all that is made of it: up to 8 times its size
LEAST_SCORE = 0.01  # of a joint that was found
MOST_PEOPLE = 10  # of a frame, in Kinetics' files; those of the highest scores stay
NTU_JOINTS = 25  # their files have 3D joints, all others pixels
SPINE, SHOULDERS, CENTRE = (0, 1), (8, 4), 1  # NTU's joints: from → to, and the first frame's origin
RESIDENT_BYTES = 1 << 30  # looked at before the maps' memory is handed back
FORMAT = "lart_mini.skeletons.1"
INDEX_SCHEMA = {
    "frame_dir": pl.String, "label": pl.Int64, "people": pl.Int64, "frames": pl.Int64, "row": pl.Int64,
}  # fmt: skip
UNCHANGED = np.concatenate([np.zeros((1, 3)), np.eye(3)])


@dataclass(frozen=True)
class Skeleton:
    """One annotation. The network's numbers are `(keypoint − place[0]) @ place[1:]`."""

    frame_dir: str
    label: int
    keypoint: NDArray[np.float16]  # (M,T,V,3): x, y, score, or x, y, z
    place: NDArray[np.float64]  # (4,3): what to subtract, then a matrix (3,3)


# ------------------------------------------------------------------------------------------------- reading


@dataclass(frozen=True)
class _Entry:
    """One annotation of a file, and the words for what is wrong with it."""

    path: Path
    content: dict[Any, Any]
    name: str  # its frame_dir

    def bad(self, field: str, expected: object, found: object) -> BadInput:
        return BadInput(self.path, f"{self.name}, {field}", expected, found)

    def get(self, field: str) -> Any:
        if field not in self.content:
            raise self.bad(field, "to be there", "no such field")
        return self.content[field]

    def whole(self, field: str, least: int, most: int | None = None) -> int:
        value = self.get(field)
        value = int(value) if isinstance(value, np.integer) else value
        return whole_number(self.path, f"{self.name}, {field}", value, least, most)

    def numbers(self, field: str, shape: tuple[int | str, ...], value: Any = None) -> NDArray[Any]:
        """An array of finite numbers; letters stand in `shape` for lengths that are not fixed."""
        value = self.get(field) if value is None else value
        told = f"finite numbers of shape ({', '.join(map(str, shape))})"
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
            raise self.bad(field, told, f"{value.dtype}" if isinstance(value, np.ndarray) else value)
        fits = len(shape) == value.ndim and all(
            wanted == n or isinstance(wanted, str) for wanted, n in zip(shape, value.shape, strict=True)
        )
        if not fits or value.size == 0:
            raise self.bad(field, told, f"shape {value.shape}")
        if not np.isfinite(value).all():
            raise self.bad(field, told, f"{(~np.isfinite(value)).sum()} numbers that are not")
        return value

    def frame(self) -> NDArray[np.float64]:
        """Width and height of the picture in pixels."""
        shape = self.get("img_shape")
        plain = isinstance(shape, tuple | list) and len(shape) == 2
        if not plain or not all(isinstance(n, int | np.integer) and 0 < n < 1 << 16 for n in shape):
            raise self.bad("img_shape", "height and width in pixels", shape)
        return np.array(shape[::-1], float)


def read_annotations(
    path: str | Path,
    *,
    classes: int | None = None,
    keypoint_files: str | Path | None = None,
    least_score: float = LEAST_SCORE,
) -> tuple[dict[str, list[str]], Iterator[Skeleton]]:
    """The splits of an annotation file, {name: [frame_dir]}, and its annotations one by one, checked.

    `classes`: labels must lie below. `keypoint_files`: folder of the files that Kinetics' table of contents
    names; only bare names in this folder are opened. `least_score`: joints at or below it go to the middle
    of the frame, as pyskl has it; -1 leaves all where they are, as MMAction2 has it.
    Raises BadInput that names file, frame_dir and field for what is not of the published form.
    """
    path = Path(path)
    content = read_pickle(path, LARGEST_ANNOTATIONS, warn=False)
    content = content if isinstance(content, dict) else {}
    splits, listed = content.get("split"), content.get("annotations")
    if not isinstance(splits, dict) or not all(isinstance(one, str) for one in splits):
        raise BadInput(path, "split", "lists of frame_dir by name", type(splits).__name__)
    for name, members in splits.items():
        if not isinstance(members, list) or not all(isinstance(one, str) for one in members):
            raise BadInput(path, f"split[{name!r}]", "a list of frame_dir", members)
    if not isinstance(listed, list) or not listed:
        raise BadInput(path, "annotations", "a list with one at least", listed)
    # Kinetics': those of one file of keypoints side by side.
    listed.sort(key=lambda one: str(one.get("raw_file", "")) if isinstance(one, dict) else "")
    files = _KeypointFiles(None if keypoint_files is None else Path(keypoint_files))
    return splits, _skeletons(path, listed, classes, files, least_score)


def _skeletons(
    path: Path, listed: list[Any], classes: int | None, files: _KeypointFiles, least_score: float
) -> Iterator[Skeleton]:
    seen: dict[str, int] = {}
    joints = 0
    for number, content in enumerate(listed):
        name = content.get("frame_dir") if isinstance(content, dict) else None
        if not isinstance(name, str) or not name:
            raise BadInput(path, f"annotations[{number}], frame_dir", "a name", name)
        entry = _Entry(path, content, name)
        if seen.setdefault(name, number) != number:
            raise entry.bad("frame_dir", "one annotation of a name", f"another, number {seen[name]}")
        label = entry.whole("label", 0, None if classes is None else classes - 1)
        keypoint, place = _prepared(entry, files, least_score)
        joints = joints or keypoint.shape[2]
        if keypoint.shape[2] != joints:
            raise entry.bad("keypoint", f"{joints} joints as in the annotations before", keypoint.shape[2])
        yield Skeleton(name, label, keypoint, place)
        listed[number] = None  # its memory can go


def _prepared(
    entry: _Entry, files: _KeypointFiles, least_score: float
) -> tuple[NDArray[np.float16], NDArray[np.float64]]:
    """Keypoint (M,T,V,3) and place of one annotation."""
    if "keypoint" not in entry.content and "raw_file" in entry.content:
        points = _unfolded(entry, files.keypoint(entry))
        return _placed(entry, points[..., :2], points[..., 2], least_score)
    frames = entry.whole("total_frames", 1)
    keypoint = entry.get("keypoint")
    shape = keypoint.shape if isinstance(keypoint, np.ndarray) else ()
    if len(shape) == 4 and shape[0] == 0:
        raise entry.bad("keypoint", "one person at least", f"shape {shape}")
    if shape[2:] == (NTU_JOINTS, 3):
        keypoint = entry.numbers("keypoint", ("M", frames, NTU_JOINTS, 3))
        if len(keypoint) > 2:
            raise entry.bad("keypoint", "one or two people, as 3D files have", f"{len(keypoint)} people")
        keypoint, turn = upright(keypoint)
        return _half(entry, keypoint), np.concatenate([np.zeros((1, 3)), turn])
    keypoint = entry.numbers("keypoint", ("M", frames, "V", 2))
    score = entry.numbers("keypoint_score", keypoint.shape[:3])
    return _placed(entry, keypoint, score, least_score)


def _half(entry: _Entry, keypoint: NDArray[Any]) -> NDArray[np.float16]:
    """As float16, which pyskl's files have themselves."""
    with np.errstate(over="ignore"):
        half = keypoint.astype(np.float16)
    if not np.isfinite(half).all():
        raise entry.bad("keypoint", "numbers that float16 holds", f"{np.abs(keypoint).max():g}")
    return half


def _placed(
    entry: _Entry, pixels: NDArray[Any], score: NDArray[Any], least_score: float
) -> tuple[NDArray[np.float16], NDArray[np.float64]]:
    """Of pixels (M,T,V,2) and scores (M,T,V): keypoint (M,T,V,3), and the place that makes −1…1 of the frame.

    Pixels that float16 holds stay as they are; others lose less when they are normalised first. A joint that
    was not found is at 0, the middle.
    """
    middle = entry.frame() / 2
    found = (score.astype(np.float32) > np.float32(least_score))[..., None]
    pixels = np.where(found, pixels, middle)
    with np.errstate(over="ignore"):
        held = (pixels.astype(np.float16) == pixels).all()
    if held:
        place = np.concatenate([[[*middle, 0]], np.diag([*1 / middle, 1])])
    else:
        pixels, place = (pixels - middle) / middle, UNCHANGED
    return _half(entry, np.concatenate([pixels, score[..., None]], -1)), place


def upright(keypoint: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Bodies (M,T,25,3) of one or two people, centred (M,T',25,3), and the matrix (3,3) that turns them.

    The main person, who is seen longer, comes first, and frames without that person go. The origin is joint 1
    of the first frame; `centred @ turn` has the spine (0→1) along z, then the shoulders (8→4) in the plane of
    x and z. Joints at 0 are empty and stay. pyskl's PreNormalize3D; as there, the file's precision holds.
    """
    seen = (np.abs(keypoint) > 1e-8).any((2, 3))  # (M,T)
    if not seen.any():
        return keypoint, np.eye(3)
    main = int(seen[-1].sum() > seen[0].sum())
    keypoint = keypoint[:: 1 - 2 * main][:, seen[main]]
    there = (keypoint != 0).any(-1, keepdims=True)
    centred = (keypoint - keypoint[0, 0, CENTRE]) * there
    first = centred[0, 0]  # (25,3)
    to_z = _turn(first[SPINE[1]] - first[SPINE[0]], np.array([0.0, 0, 1]))
    first = first @ to_z.T
    to_x = _turn(first[SHOULDERS[0]] - first[SHOULDERS[1]], np.array([1.0, 0, 0]))
    return centred, (to_x @ to_z).T


def _turn(start: NDArray[Any], end: NDArray[np.float64]) -> NDArray[np.float64]:
    """The matrix (3,3) of the shortest turn that takes `start` to the unit vector `end`; none on a line."""
    axis = np.cross(start, end)
    if np.abs(axis).sum() < 1e-6:
        return np.eye(3)
    cosine = np.clip(start / np.linalg.norm(start) @ end, -1, 1)
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sqrt(1 - cosine**2) * cross + (1 - cosine) * cross @ cross


# ------------------------------------------------------------------------------------------------ Kinetics


class _KeypointFiles:
    """The folder of the files that Kinetics' table of contents names; the last one read is kept."""

    def __init__(self, folder: Path | None) -> None:
        self.folder, self.file, self.content = folder, Path(), dict[Any, Any]()

    def keypoint(self, entry: _Entry) -> NDArray[Any]:
        """The skeletons (N,V,3) of an annotation: x, y and score."""
        file = self.beside(entry)
        if file != self.file:
            content = read_pickle(file, LARGEST_ANNOTATIONS, warn=False)
            if not isinstance(content, dict):
                raise BadInput(file, "file", "keypoints by frame_dir", type(content).__name__)
            self.file, self.content = file, content
        own = self.content.get(entry.name)
        return _Entry(file, own if isinstance(own, dict) else {}, entry.name).numbers("keypoint", ("N", "V", 3))

    def beside(self, entry: _Entry) -> Path:
        """The file of an annotation: its bare name in the folder, and nowhere else."""
        told = entry.content["raw_file"]
        if self.folder is None:
            raise entry.bad("raw_file", "the folder of these files to be given (--keypoint-files)", told)
        name = PurePosixPath(told).name if isinstance(told, str) else ""
        file = self.folder / name
        outside = "\0" in name or file.resolve().parent != self.folder.resolve()
        if not name or outside or not file.is_file():
            raise entry.bad("raw_file", f"a file in {self.folder}", told)
        return file


def _unfolded(entry: _Entry, points: NDArray[Any]) -> NDArray[Any]:
    """Kinetics' skeletons (N,V,3) as (M,T,V,3): frames without any go, people of a frame as they are listed."""
    shown = entry.numbers("frame_inds", (len(points),))
    if (np.diff(shown) < 0).any():
        raise entry.bad("frame_inds", "frames in their order", "others")
    _, first, frame = np.unique(shown, return_index=True, return_inverse=True)
    # Where a frame has more people than are kept anywhere, by score.
    many = np.diff([*first, len(points)]).max() > MOST_PEOPLE
    order = np.lexsort((-points[..., 2].sum(1, dtype=float) * many, frame))
    person = np.arange(len(points)) - first[frame]
    unfolded = np.zeros((person.max() + 1, len(first), *points.shape[1:]), points.dtype)
    unfolded[person, frame] = points[order]
    return unfolded[:MOST_PEOPLE]


# ----------------------------------------------------------------------------------------------- the store


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
    BadInput as that does, and where a folder that is not empty stands in the way.
    """
    destination = Path(destination)
    if destination.exists() and not (destination.is_dir() and not any(destination.iterdir())):
        raise BadInput(destination, "destination", "a new or empty folder", "one with content, or a file")
    splits, skeletons = read_annotations(
        source, classes=classes, keypoint_files=keypoint_files, least_score=least_score
    )
    destination.parent.mkdir(parents=True, exist_ok=True)
    temporary = destination.with_name(f".{destination.name}-{uuid.uuid4().hex}")
    temporary.mkdir()
    try:
        rows = _write_rows(temporary, skeletons, progress)
        index = pl.DataFrame(rows, schema=INDEX_SCHEMA, orient="row")
        number = {name: i for i, name in enumerate(index["frame_dir"])}
        kept = {
            name: sorted({number[one] for one in members if one in number}) for name, members in splits.items()
        }
        write_json(temporary / "splits.json", {"format": FORMAT, "splits": kept})
        index.write_parquet(temporary / "index.parquet")
        temporary.rename(destination)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return SkeletonStore(destination)


def _write_rows(folder: Path, skeletons: Iterator[Skeleton], progress: bool) -> list[tuple[Any, ...]]:
    """Write both arrays; gives the rows of the index."""
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
    return rows


class SkeletonStore:
    """Annotations that `convert_annotations` wrote, read through memory maps.

    keypoint (R,V,3) float16, place (N,4,3) float32; of each annotation frame_dir, label, people, frames and
    row (N,). Raises BadInput for a store that is damaged or not whole.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        index = _read_index(self.path)
        self.frame_dir = index["frame_dir"].to_list()
        self.label, self.people, self.frames, self.row = (
            index[name].to_numpy() for name in ("label", "people", "frames", "row")
        )
        keypoint, self._map = map_rows(self.path / "keypoint.npy", np.dtype("<f2"), (None,))
        place, _ = map_rows(self.path / "place.npy", np.dtype("<f4"), (12,))
        self.keypoint, self.place = keypoint.reshape(len(keypoint), -1, 3), place.reshape(-1, 4, 3)
        ends = self.row + self.people * self.frames
        sound = len(place) == len(index) and (self.people > 0).all() and (self.frames > 0).all()
        if not sound or (self.row < 0).any() or (ends > len(keypoint)).any() or (self.label < 0).any():
            raise BadInput(self.path, "index.parquet", "rows of these arrays", "others")
        self.splits = _read_splits(self.path / "splits.json", len(index))
        self._looked_at = 0

    def __len__(self) -> int:
        return len(self.frame_dir)

    @property
    def joints(self) -> int:
        """V."""
        return self.keypoint.shape[1]

    def split(self, name: str) -> NDArray[np.int64]:
        """Numbers of the annotations of a split. Raises BadInput for one that the file has not."""
        if name not in self.splits:
            raise BadInput(self.path, f"split {name!r}", f"one of {', '.join(self.splits)}", "none of them")
        return self.splits[name]

    def rows(self, which: NDArray[np.int64]) -> NDArray[np.float16]:
        """Rows (…) of keypoints as (…,V,3), copied; the maps' memory is handed back after a gigabyte."""
        found = np.take(self.keypoint, which, axis=0)
        self._looked_at += found.nbytes
        if self._looked_at > RESIDENT_BYTES and hasattr(self._map, "madvise"):  # not on Windows
            self._looked_at = 0
            self._map.madvise(mmap.MADV_DONTNEED)
        return found


def _read_index(path: Path) -> pl.DataFrame:
    file = path / "index.parquet"
    if not file.is_file():
        raise BadInput(path, "store", "a folder that `lart-mini skeletons convert` wrote", "none")
    try:
        index = pl.read_parquet(file, glob=False)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise BadInput(file, "file", "an index of skeletons", str(error).split("\n")[0]) from None
    if index.schema != INDEX_SCHEMA or any(index.null_count().row(0)):
        raise BadInput(file, "columns", ", ".join(INDEX_SCHEMA), ", ".join(index.columns))
    return index


def _read_splits(path: Path, count: int) -> dict[str, NDArray[np.int64]]:
    content = read_json(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise BadInput(path, "format", FORMAT, "another")
    splits = content.get("splits")
    if not isinstance(splits, dict):
        raise BadInput(path, "splits", "numbers by name", type(splits).__name__)
    for name, members in splits.items():
        if not isinstance(members, list) or not all(type(n) is int and 0 <= n < count for n in members):
            raise BadInput(path, f"splits[{name!r}]", f"numbers below {count}", members)
    return {name: np.array(members, np.int64) for name, members in splits.items()}
