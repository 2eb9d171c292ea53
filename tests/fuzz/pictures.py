"""What appearance reads: a user's video, and a projection that another run has fitted."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
from arrays import damage_file
from mutation import damaged
from runner import Case

from lart_mini.appearance.looks import Projection, feature_width, load_projection
from lart_mini.figures.pictures import write_video
from lart_mini.files import write_npz
from lart_mini.reading.videos import open_video


def fill(shelf: Path) -> None:
    """A film of six small frames."""
    shades = (np.full((48, 64, 3), 40 * k, np.uint8) for k in range(6))
    write_video(shades, shelf / "film.mp4", fps=10)


def video(rng: random.Random, shelf: Path) -> Case:
    """A video with damaged bytes, of which two frames are asked."""
    path, content, valid = Path("clip.mp4"), (shelf / "film.mp4").read_bytes(), rng.random() < 0.25
    path.write_bytes(content if valid else damaged(content, rng))

    def two_frames() -> list[tuple[int, ...]]:
        found = open_video(path)
        return [picture.shape for picture in found.pictures([0, 4])] + [(*found.size, 3)]

    def alike(shapes: list[tuple[int, ...]]) -> None:
        assert len(set(shapes)) == 1 and len(shapes) == 3, shapes

    return Case(two_frames, "read" if valid else "either", alike)


def projection(rng: random.Random, shelf: Path) -> Case:
    """A projection's file: wrong bytes, shapes, numbers or poolings."""
    path, pooling = Path("projection.npz"), rng.choice(("box", "head", "hands"))
    arrays = {
        "pooling": np.array(pooling),
        "mean": np.zeros(feature_width(pooling), np.float32),
        "matrix": np.ones((feature_width(pooling), 2), np.float32),
    }
    kind = rng.choice(("valid", "bytes", "shape", "number", "pooling", "missing"))
    if kind == "shape":
        arrays["mean"] = arrays["mean"][rng.randrange(1, 9) :]
    if kind == "number":
        arrays["matrix"][rng.randrange(99), 0] = rng.choice((np.nan, np.inf))
    if kind == "pooling":
        arrays["pooling"] = np.array(rng.choice(("", "feet", "box+box", "hands+", 3)))
    if kind == "missing":
        del arrays[rng.choice(sorted(arrays))]
    write_npz(path, arrays)
    if kind == "bytes":
        damage_file(path, rng)

    def fits(found: Projection) -> None:
        assert np.isfinite(found.matrix).all() and len(found.matrix) == feature_width(found.pooling)

    wanted = {"valid": "read", "bytes": "either"}.get(kind, "refused")
    return Case(lambda: load_projection(path), wanted, fits)  # type: ignore[arg-type]


MAKERS = {"video": video, "projection": projection}
FILLERS = (fill,)
