"""pyskl's annotation files (.pkl of NTU, FineGYM, Kinetics, …), read safely, one annotation at a time.

What the published pipeline does to a whole annotation is done here, before anything is stored: joints that
were not found go to the middle of the frame, frames without the main person are left out, bodies in 3D are
centred and turned upright. What it does to frames is in `streams`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lart_mini.files import BadInput, finite_number, whole_number
from lart_mini.reading.budget import MIB
from lart_mini.reading.pickles import read_pickle

LARGEST_ANNOTATIONS = 16_384 * MIB  # bytes of a file, and of all that is made of it: up to 8 times its size
LEAST_SCORE = 0.01  # of a joint that was found
MOST_PEOPLE = 10  # of a frame, in Kinetics' files; those of the highest scores stay
NTU_JOINTS = 25  # their files have 3D joints, all others pixels
SPINE, SHOULDERS, CENTRE = (0, 1), (8, 4), 1  # NTU's joints: from → to, and the first frame's origin
UNCHANGED = np.concatenate([np.zeros((1, 3)), np.eye(3)])


@dataclass(frozen=True)
class Skeleton:
    """One annotation. The network's numbers are `(keypoint − place[0]) @ place[1:]`."""

    frame_dir: str
    label: int
    keypoint: NDArray[np.float16]  # (M,T,V,3): x, y, score, or x, y, z
    place: NDArray[np.float64]  # (4,3): what to subtract, then a matrix (3,3)
    flat: bool  # is the third number a score

    @property
    def kind(self) -> str:
        """As of `kind_of`."""
        return kind_of(self.keypoint.shape[2], self.flat)


def kind_of(joints: int, flat: bool) -> str:
    """What joints there are, to be compared and told: "17 joints in 2D"."""
    return f"{joints} joints in {2 if flat else 3}D"


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

    def numbers(self, field: str, shape: tuple[int | str, ...]) -> NDArray[Any]:
        """An array of finite numbers; letters stand in `shape` for lengths that are not fixed."""
        value = self.get(field)
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
    if classes is not None:
        whole_number("--classes", "classes", classes, 1)
    finite_number("--least-score", "score", least_score, -1)
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
    kind = ""
    for number, content in enumerate(listed):
        name = content.get("frame_dir") if isinstance(content, dict) else None
        if not isinstance(name, str) or not name:
            raise BadInput(path, f"annotations[{number}], frame_dir", "a name", name)
        entry = _Entry(path, content, name)
        if seen.setdefault(name, number) != number:
            raise entry.bad("frame_dir", "one annotation of a name", f"another, number {seen[name]}")
        label = entry.whole("label", 0, None if classes is None else classes - 1)
        skeleton = Skeleton(name, label, *_prepared(entry, files, least_score))
        kind = kind or skeleton.kind
        if skeleton.kind != kind:
            raise entry.bad("keypoint", f"{kind} as in the annotations before", skeleton.kind)
        yield skeleton
        listed[number] = None  # its memory can go


def _prepared(
    entry: _Entry, files: _KeypointFiles, least_score: float
) -> tuple[NDArray[np.float16], NDArray[np.float64], bool]:
    """Keypoint (M,T,V,3) and place of one annotation, and whether it is flat."""
    if "keypoint" not in entry.content and "raw_file" in entry.content:
        points = _unfolded(entry, files.keypoint(entry))
        return *_placed(entry, points[..., :2], points[..., 2], least_score), True
    frames = entry.whole("total_frames", 1)
    keypoint = entry.get("keypoint")
    shape: tuple[int, ...] = keypoint.shape if isinstance(keypoint, np.ndarray) else ()
    if len(shape) == 4 and shape[0] == 0:
        raise entry.bad("keypoint", "one person at least", f"shape {shape}")
    if shape[2:] == (NTU_JOINTS, 3):
        keypoint = entry.numbers("keypoint", ("M", frames, NTU_JOINTS, 3))
        if len(keypoint) > 2:
            raise entry.bad("keypoint", "one or two people, as 3D files have", f"{len(keypoint)} people")
        keypoint, turn = upright(keypoint)
        return _half(entry, keypoint), np.concatenate([np.zeros((1, 3)), turn]), False
    keypoint = entry.numbers("keypoint", ("M", frames, "V", 2))
    score = entry.numbers("keypoint_score", keypoint.shape[:3])
    return *_placed(entry, keypoint, score, least_score), True


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
        return _Entry(file, own if isinstance(own, dict) else {}, entry.name).numbers(
            "keypoint", ("N", "V", 3)
        )

    def beside(self, entry: _Entry) -> Path:
        """The file of an annotation: its bare name in the folder, and nowhere else."""
        told = entry.content["raw_file"]
        if self.folder is None:
            expected = "the folder of these files given (lart-mini skeletons convert --keypoint-files)"
            raise entry.bad("raw_file", expected, told)
        name = PurePosixPath(told).name if isinstance(told, str) else ""
        file = self.folder / name
        outside = "\0" in name or file.resolve().parent != self.folder.resolve()
        if not name or outside or not file.is_file():
            raise entry.bad("raw_file", f"a file in {self.folder}", told)
        return file


def _unfolded(entry: _Entry, points: NDArray[Any]) -> NDArray[Any]:
    """Kinetics' skeletons (N,V,3) as (M,T,V,3): without empty frames, a frame's people as listed."""
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
