"""The appearance vector U of section 3.2: what is seen of each person each second, and how it is made small.

The paper takes U from a video network inside the person's box, once a second. Here a frozen image network is
pooled inside the box as well, or at hands and head (`pooling`); a projection that was fitted on training
tracks alone makes the vector short, without any label.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from joblib import Parallel, delayed
from numpy.typing import NDArray

from lart_mini import ava
from lart_mini.appearance.frames import Frames, RenderedFrames, shrunk
from lart_mini.appearance.pooling import (
    CROPS,
    Floats,
    box_features,
    crop_features,
    crop_places,
    cut,
    focal_length,
)
from lart_mini.appearance.trunk import EfficientNetLite0, load_trunk, one_thread, weights_path
from lart_mini.boxes import corners_from_xywh
from lart_mini.data.cache import cache_root, intact, keep
from lart_mini.data.rendered import VERSION as DRAWING
from lart_mini.data.rendered import Rendered
from lart_mini.files import BadInput, process_count, sha256, whole_number, write_npz
from lart_mini.progress import progress
from lart_mini.reading.arrays import open_npz
from lart_mini.scenes.render import SIZE
from lart_mini.tracklets.tracklet import Tracklet, middles

VERSION = 1  # raised by one with every change of what is kept
AROUND = 5  # frames before and after, at which hands and head are looked at, too
FILES = ("looks.npz",)
WIDTHS = {"box": (608,), "hands": (2, 776), "head": (776,)}


@dataclass(frozen=True, eq=False)
class Looks:
    """What the trunk saw of people: one row a tracklet and second in which it is detected."""

    tracklet: NDArray[np.int64]  # (N,) number of the tracklet
    t: NDArray[np.int64]  # (N,) its row, a frame of that second
    box: Floats  # (N,608) inside the box
    hands: Floats  # (N,2,776) at the right and the left hand, means over three frames
    head: Floats  # (N,776) at the head

    def features(self, pooling: str) -> Floats:
        """(N,F) of a pooling: `box`, `hands` (mean and maximum over the two), `head`, or several with +."""
        feature_width(pooling)  # raises BadInput
        found = []
        for name in pooling.split("+"):
            rows = getattr(self, name)
            found += [rows.mean(axis=1), rows.max(axis=1)] if name == "hands" else [rows]
        return np.concatenate(found, axis=1)

    def renumbered(self, numbers: Sequence[int]) -> Looks:
        """The same with numbers[i] for tracklet i."""
        return replace(self, tracklet=np.array(numbers, np.int64)[self.tracklet])


def feature_width(pooling: str, file: object = "appearance") -> int:
    """Numbers of a pooling's features, before they are projected. Raises BadInput for one that is none."""
    widths = {name: math.prod(shape) for name, shape in WIDTHS.items()}
    names = pooling.split("+")
    if not set(names) <= set(widths) or len(set(names)) < len(names):
        raise BadInput(file, "pooling", f"{' | '.join(widths)}, or several with +", pooling)
    return sum(widths[name] for name in names)


def together(parts: Sequence[Looks]) -> Looks:
    """The rows of all parts, one or more, in their order."""
    return Looks(*(np.concatenate([getattr(one, f.name) for one in parts]) for f in fields(Looks)))


def looks_of(tracklets: Sequence[Tracklet], frames: Frames, trunk: EfficientNetLite0) -> Looks:
    """Look at the people of one video, each second: at the box, at the hands and at the head.

    The video may be larger or smaller than the tracklets' frames, but must be of their shape. Raises BadInput
    for another shape or tracklets of unequal frames, for frames that the video lacks, and a box outside it.
    """
    rows = [(i, int(t)) for i, tracklet in enumerate(tracklets) for t in middles(tracklet)]
    index = np.array(rows, np.int64).reshape(-1, 2)
    box = np.zeros((len(rows), *WIDTHS["box"]), np.float32)
    crops, counts = np.zeros((len(rows), CROPS, *WIDTHS["head"]), np.float32), np.zeros((len(rows), CROPS, 1))
    if rows:
        scale, focal = _scale(tracklets, frames.size), focal_length(tracklets)
        boxes, places = _asked(tracklets, rows)
        numbers = sorted(places)
        for number, picture in zip(numbers, frames.pictures(numbers), strict=True):
            cuts, owners = [], []
            for n, t in places[number]:
                i, middle = rows[n]
                (at,), (side,) = crop_places(tracklets[i], np.array([t]), focal)
                for k in range(CROPS if t == middle else CROPS - 1):
                    cuts.append(cut(picture, scale * at[k], scale * float(side[k])))
                    owners.append((n, k))
            whose = tuple(np.array(owners).T)
            np.add.at(crops, whose, crop_features(trunk, cuts))
            np.add.at(counts, whose, 1)
            if number in boxes:
                small = shrunk(picture, SIZE[1])
                corners = corners_from_xywh(np.stack([tracklets[i].box[t] for i, t in index[boxes[number]]]))
                corners = corners * (scale * small.shape[1] / picture.shape[1])
                names = [tracklets[i].name for i, _ in index[boxes[number]]]
                box[boxes[number]] = box_features(trunk, torch.from_numpy(small), corners, names)
    crops /= np.maximum(counts, 1).astype(np.float32)
    return Looks(index[:, 0], index[:, 1], box, crops[:, : CROPS - 1], crops[:, CROPS - 1])


def _asked(
    tracklets: Sequence[Tracklet], rows: Sequence[tuple[int, int]]
) -> tuple[dict[int, list[int]], dict[int, list[tuple[int, int]]]]:
    """By the frame's number: whose boxes are wanted of it (rows), and whose crops (row, and its t there)."""
    boxes, places = dict[int, list[int]](), dict[int, list[tuple[int, int]]]()
    for n, (i, t) in enumerate(rows):
        frame, detected = tracklets[i].frame, tracklets[i].detected
        boxes.setdefault(int(frame[t]), []).append(n)
        wanted = np.isin(frame, frame[t] + np.array([-AROUND, 0, AROUND])) & detected
        for k in np.flatnonzero(wanted).tolist():
            places.setdefault(int(frame[k]), []).append((n, k))
    return boxes, places


def _scale(tracklets: Sequence[Tracklet], size: tuple[int, int]) -> float:
    """Pixels of a picture for one of the tracklets' frames."""
    for tracklet in tracklets:
        high, wide = tracklet.frame_size.tolist()
        if abs(size[0] * wide / (size[1] * high) - 1) > 0.02:
            raise BadInput(tracklet.name, "frame_size", f"the shape of a video of {size}", (high, wide))
        if (tracklet.frame_size != tracklets[0].frame_size).any():
            expected = f"{tracklets[0].frame_size.tolist()}, as {tracklets[0].name} of this video has"
            raise BadInput(tracklet.name, "frame_size", expected, [high, wide])
    return size[1] / float(tracklets[0].frame_size[1])


# ------------------------------------------------------------------------------------ of a whole rendered set


def rendered_looks(
    data: Rendered,
    split: str,
    *,
    drawn: bool = True,
    cache: str | Path | None = None,
    jobs: int = -1,
) -> Looks:
    """What is seen of the people of a rendered split; `tracklet` numbers data.tracklets(split).

    Computed where the cache does not hold it, a video at a time: about three seconds of a core each. A
    stopped call goes on where it was. Raises BadInput as `rendered_maps` does.
    """
    tracklets, videos = data.tracklets(split), data.videos(split)["video"].to_list()
    folder, weights = cache_root(cache) / f"looks-{data.path.name}", sha256(weights_path())
    owners = [[i for i, one in enumerate(tracklets) if one.video == video] for video in videos]
    paths, tasks = [], []
    for index, own in enumerate(owners):
        told = json.dumps([VERSION, DRAWING, weights, split, index, drawn])
        path = folder / f"{split}-{index:06d}-{hashlib.sha256(told.encode()).hexdigest()[:12]}"
        paths.append(path)
        if not intact(path, FILES):
            frames = RenderedFrames(data, split, index, drawn=drawn)
            tasks.append(delayed(_kept)([tracklets[i] for i in own], frames, path))
    if tasks:
        made = Parallel(process_count(jobs), return_as="generator")(tasks)
        list(progress(made, total=len(tasks), desc=f"looks of {split}"))
    return together([_read(path).renumbered(own) for path, own in zip(paths, owners, strict=True)])


@one_thread()
def _kept(tracklets: list[Tracklet], frames: RenderedFrames, path: Path) -> None:
    def compute(made: dict[Path, Path]) -> None:
        looks = looks_of(tracklets, frames, load_trunk())
        arrays = {name: getattr(looks, name).astype(np.float16) for name in WIDTHS}
        for folder in made.values():
            write_npz(folder / FILES[0], {"tracklet": looks.tracklet, "t": looks.t} | arrays)

    keep([path], FILES, compute)


def _read(path: Path) -> Looks:
    with open_npz(path / FILES[0], "what was seen of a video's people") as archive:
        index = [archive.read(name, (None,), "i") for name in ("tracklet", "t")]
        seen = [archive.read(name, (None, *shape), "f").astype(np.float32) for name, shape in WIDTHS.items()]
    return Looks(*index, *seen)


# ------------------------------------------------------------------------------------------------- made small


@dataclass(frozen=True, eq=False)
class Projection:
    """Features of a pooling → the vector U, by principal components that were fitted on training tracks."""

    pooling: str
    mean: Floats  # (F,)
    matrix: Floats  # (F,D)

    def __call__(self, looks: Looks) -> Floats:
        """(N,D)."""
        return ((looks.features(self.pooling) - self.mean) @ self.matrix).astype(np.float32)

    def save(self, path: str | Path) -> None:
        """Write an .npz."""
        write_npz(path, {"pooling": np.array(self.pooling), "mean": self.mean, "matrix": self.matrix})


def fit_projection(looks: Looks, pooling: str = "hands", dims: int = 32) -> Projection:
    """The projection of a pooling to `dims` numbers by the principal components of these looks' features.

    No label enters. Raises BadInput for a pooling that is none, and for more dims than rows or features.
    """
    return Projection(pooling, *principal_components(looks.features(pooling), dims))


def principal_components(features: NDArray[np.floating], dims: int) -> tuple[Floats, Floats]:
    """Mean (F,) and matrix (F,dims): (features − mean) @ matrix are (N,dims) numbers, each about 0.

    Features (N,F) are standardised; component k, of spread σ_k, is divided by √σ_k, so that the spreads come
    half way to equal, and all by one number: the mean square is 1. Raises BadInput for more `dims` than rows
    or features.
    """
    whole_number("appearance", "dims", dims, 1, min(features.shape))
    features = features.astype(np.float64)
    mean, spread = features.mean(axis=0), features.std(axis=0)
    spread += 1e-3 * features.std() + 1e-6  # what hardly varies is not scaled up
    _, sizes, directions = np.linalg.svd((features - mean) / spread, full_matrices=False)
    spreads = sizes[:dims].clip(1e-3) / np.sqrt(len(features))  # σ, falling
    scale = spreads**-0.5
    scale /= np.sqrt(np.mean(spreads**2 * scale**2))
    matrix = directions[:dims].T * scale / spread[:, None]
    return mean.astype(np.float32), matrix.astype(np.float32)


def load_projection(path: str | Path) -> Projection:
    """What `Projection.save` wrote. Raises BadInput for another file."""
    with open_npz(path, "a projection of appearance (.npz)") as archive:
        pooling = str(archive.read("pooling", (), "U"))
        mean, matrix = archive.read("mean", (None,), "f"), archive.read("matrix", (None, None), "f")
    wanted = feature_width(pooling, path)
    if mean.shape != (wanted,) or len(matrix) != wanted or not matrix.shape[1]:
        raise BadInput(path, "matrix", f"{wanted} rows of {pooling}", f"shape {matrix.shape}")
    if not (np.isfinite(mean).all() and np.isfinite(matrix).all()):
        raise BadInput(path, "matrix", "finite numbers", "NaN or infinity")
    return Projection(pooling, mean.astype(np.float32), matrix.astype(np.float32))


def with_appearance(tracklets: Sequence[Tracklet], looks: Looks, vectors: Floats) -> list[Tracklet]:
    """Tracklets whose frames have their second's vector U; vectors (N,D), one a row of `looks`.

    Zeros in seconds without any detection, as the published files have them.
    """
    padded = np.pad(vectors, ((0, 1), (0, 0)))  # row −1
    dressed = []
    for i, tracklet in enumerate(tracklets):
        rows, key = np.flatnonzero(looks.tracklet == i), ava.nearest_keyframe(tracklet.frame)
        row_of = dict(zip(key[looks.t[rows]].tolist(), rows.tolist(), strict=True))
        at = np.array([row_of.get(second, -1) for second in key.tolist()])
        dressed.append(replace(tracklet, appearance=padded[at].astype(np.float32)))
    return dressed
