"""The trunk's maps of a video's frames, computed once and kept beside the data sets."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache as remember
from pathlib import Path
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed
from numpy.typing import NDArray
from torch import Tensor

from lart_mini.appearance.frames import Frames, RenderedFrames, clip_frames, shrunk
from lart_mini.appearance.trunk import (
    CHANNELS,
    EfficientNetLite0,
    load_trunk,
    one_thread,
    padded,
    weights_path,
)
from lart_mini.data.cache import cache_root, intact, keep
from lart_mini.data.mini_ava import SPLITS
from lart_mini.data.rendered import VERSION as DRAWING
from lart_mini.data.rendered import Rendered
from lart_mini.files import BadInput, process_count, sha256
from lart_mini.progress import progress
from lart_mini.scenes.render import SIZE
from lart_mini.tracklets.store import map_rows

try:
    import resource
except ImportError:  # Windows: no such limits
    resource = None  # type: ignore[assignment]

VERSION = 1  # raised by one with every change of what is kept
STEP = 6  # frames between maps: five a second
FINE, COARSE = 8, 16  # strides
BATCH = 4  # frames
FILES = ("frame.npy", "fine.npy", "coarse.npy")
SPARE = 64  # files that others may open


@dataclass(frozen=True, eq=False)
class Maps:
    """The trunk's maps of some frames of a video.

    Cell (i, j) of a map of stride s stands for rows i·s … (i+1)·s − 1 of a picture and the columns alike;
    what lies below `size` or right of it repeats the picture's last row or column.
    """

    frame: NDArray[np.int64]  # (K,) numbers of the frames, rising
    fine: NDArray[np.float16]  # (K,40,⌈H/16⌉·2,⌈W/16⌉·2) at stride 8
    coarse: NDArray[np.float16]  # (K,112,⌈H/16⌉,⌈W/16⌉) at stride 16
    size: tuple[int, int]  # H, W of a picture

    def rows(self, frames: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which map is nearest to each of these frames (…): at a video's ends the first and the last."""
        after = np.searchsorted(self.frame, frames).clip(1, len(self.frame) - 1)
        nearer = frames - self.frame[after - 1] <= self.frame[after] - frames
        return after - nearer


@torch.inference_mode()
def maps_of(
    frames: Frames, numbers: Sequence[int], trunk: EfficientNetLite0, *, width: int = SIZE[1]
) -> Maps:
    """The maps of frames of these rising numbers; wider pictures are made `width` pixels wide before.

    Raises BadInput for no number, and as the frames do.
    """
    if not len(numbers):
        raise BadInput("maps", "frames", "one or more", 0)
    found: list[list[Tensor]] = []
    size, waiting = (0, 0), []
    for number, picture in enumerate(frames.pictures([int(n) for n in numbers]), start=1):
        small = shrunk(picture, width)
        size = small.shape[0], small.shape[1]
        waiting.append(torch.from_numpy(small))
        if len(waiting) == BATCH or number == len(numbers):
            found.append([one.half() for one in trunk.maps(padded(torch.stack(waiting), COARSE))])
            waiting = []
    fine, coarse = (torch.cat(each).numpy() for each in zip(*found, strict=True))
    return Maps(np.asarray(numbers, np.int64), fine, coarse, size)


def rendered_maps(
    data: Rendered,
    split: str,
    videos: Iterable[int] | None = None,
    *,
    size: tuple[int, int] = SIZE,
    step: int = STEP,
    drawn: bool = True,
    cache: str | Path | None = None,
    jobs: int = -1,
) -> dict[int, Maps]:
    """The maps of videos of a rendered split (None: all), each `step`-th frame, by the video's index.

    They are computed where the cache does not hold them, a video at a time, and read through memory maps:
    183 kB a frame at 216 × 384 pixels, 46 kB at 108 × 192. A stopped call goes on where it was.
    Raises BadInput for a split, video, size or step that is none, for a missing trunk or renderer, and where
    the cache cannot be written.
    """
    if split not in SPLITS:
        raise BadInput(data.path, "split", " | ".join(SPLITS), split)
    table, weights = data.videos(split), sha256(weights_path())
    chosen = list(range(len(table))) if videos is None else list(videos)
    folder = cache_root(cache) / f"maps-{data.path.name}"
    lengths = table["frames"].to_list()
    tasks = []
    for index in chosen:
        if not 0 <= index < len(lengths):
            raise BadInput(data.path, f"video of {split}", f"0 to {len(lengths) - 1}", index)
        told = json.dumps([VERSION, DRAWING, weights, split, index, size, step, drawn])
        path = folder / f"{split}-{index:06d}-{hashlib.sha256(told.encode()).hexdigest()[:12]}"
        tasks.append(
            (RenderedFrames(data, split, index, size, drawn), clip_frames(lengths[index], step), path)
        )
    missing = [task for task in tasks if not intact(task[2], FILES)]
    if missing:
        made = Parallel(process_count(jobs), return_as="generator")(delayed(_kept)(*task) for task in missing)
        list(progress(made, total=len(missing), desc=f"maps of {split}"))
    _room_for(2 * len(tasks))
    return {task[0].index: read_maps(task[2], size) for task in tasks}


@one_thread()
def _kept(frames: RenderedFrames, numbers: list[int], path: Path) -> None:
    def compute(made: dict[Path, Path]) -> None:
        for folder in made.values():
            maps = maps_of(frames, numbers, _trunk(), width=frames.size[1])
            arrays: tuple[NDArray[Any], ...] = (maps.frame, maps.fine, maps.coarse)
            for name, array in zip(FILES, arrays, strict=True):
                np.save(folder / name, array, allow_pickle=False)

    keep([path], FILES, compute)


@remember
def _trunk() -> EfficientNetLite0:
    return load_trunk()  # once a process, not once a video


def _room_for(files: int) -> None:
    """Let this process open so many files beside those it has, as far as the system allows: macOS's usual
    limit is 256."""
    if resource is None:
        return
    with suppress(OSError, ValueError):
        wanted = len(os.listdir("/dev/fd")) + files + SPARE
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def read_maps(path: Path, size: tuple[int, int]) -> Maps:
    """The maps in a folder of the cache, through two memory maps, each of which keeps its file open.

    Raises BadInput where one is none.
    """
    fine, coarse = ((CHANNELS[stride], None, None) for stride in (FINE, COARSE))
    frame, _ = map_rows(path / FILES[0], np.dtype(np.int64), ())
    return Maps(
        frame.copy(),
        map_rows(path / FILES[1], np.dtype(np.float16), fine)[0],
        map_rows(path / FILES[2], np.dtype(np.float16), coarse)[0],
        size,
    )
