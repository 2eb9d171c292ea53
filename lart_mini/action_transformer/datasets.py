"""Clips about key frames as batches: a frozen network's maps, or pictures; boxes and labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from lart_mini import ava
from lart_mini.action_transformer.model import ClipBatch
from lart_mini.action_transformer.trunk import TIME_STRIDE
from lart_mini.appearance.features import COARSE, Maps
from lart_mini.evaluation.ava_csv import CORNERS
from lart_mini.files import BadInput
from lart_mini.training.config import check_fields


class Watched(Protocol):
    """A video as a network watches it."""

    def frames(self, numbers: NDArray[np.int64], mirror: bool) -> Tensor:
        """(T,C,H,W) of these frames; `mirror`: left is right."""
        ...

    @property
    def covered(self) -> tuple[float, float]:
        """Shares of the map's height and width that the picture fills, from its left upper corner on."""
        ...


@dataclass(frozen=True, eq=False)
class MapsWatched:
    """The frozen trunk's maps at stride 8: the fine one's 40 channels, and the coarse one's 112, repeated.

    Mirrored maps are nearly the maps of the mirrored picture, not exactly: a convolution with a stride is not
    symmetric. Training draws them, tests do not.
    """

    maps: Maps

    def frames(self, numbers: NDArray[np.int64], mirror: bool) -> Tensor:
        """(T,152,H',W') of the maps nearest to these frames."""
        rows = self.maps.rows(numbers)
        fine, coarse = (torch.from_numpy(np.asarray(one[rows])) for one in (self.maps.fine, self.maps.coarse))
        if mirror:
            fine, coarse = fine.flip(-1), coarse.flip(-1)
        return torch.cat([fine, coarse.repeat_interleave(2, -2).repeat_interleave(2, -1)], dim=1)

    @property
    def covered(self) -> tuple[float, float]:
        """A map is made of whole cells of 16 pixels."""
        high, wide = (side / (COARSE * -(-side // COARSE)) for side in self.maps.size)
        return high, wide


@dataclass(frozen=True, eq=False)
class PicturesWatched:
    """Pictures (K,H,W,3) uint8 of rising frames (K,), for a trunk that is trained from scratch."""

    frame: NDArray[np.int64]
    pictures: NDArray[np.uint8]

    def frames(self, numbers: NDArray[np.int64], mirror: bool) -> Tensor:
        """(T,3,H,W) uint8 of the pictures nearest to these frames."""
        rows = np.abs(self.frame[:, None] - numbers).argmin(axis=0)
        found = torch.from_numpy(self.pictures[rows]).permute(0, 3, 1, 2)
        return found.flip(-1) if mirror else found

    @property
    def covered(self) -> tuple[float, float]:
        """All."""
        return 1.0, 1.0


@dataclass(frozen=True, eq=False)
class KeyClip:
    """A key frame of a video, and who is on it."""

    watched: Watched
    video: str
    second: int
    box: NDArray[np.float32]  # (N,4) corners, fractions of the picture
    person: NDArray[np.int64]  # (N,) numbers
    labels: NDArray[np.float32]  # (N,C); the 60 evaluated classes, unless a user brings others


@dataclass(frozen=True)
class Sampling:
    """How clips are cut, and what training draws. Raises BadInput."""

    frames: int = 8  # T, a multiple of 4: else the key frame is not amid the map
    step: int = 10  # frames of the video from one to the next: eight span 2.7 s, the paper's 64 about 3
    mirror: bool = True  # half of the training clips are mirrored
    shake: float = 0.08  # of a box's size: how far its corners move in training (standard deviation)

    def __post_init__(self) -> None:
        check_fields("sampling", self, {"frames": (TIME_STRIDE, 1000), "step": (1, 1000), "shake": (0, 1)})
        if self.frames % TIME_STRIDE:
            raise BadInput("sampling", "frames", f"a multiple of {TIME_STRIDE}", self.frames)

    def numbers(self, second: int) -> NDArray[np.int64]:
        """(T,) frames of the clip about a key frame, which is number T // 2 of them."""
        return ava.keyframe(second) + self.step * (np.arange(self.frames) - self.frames // 2)


def key_clips(groundtruth: pl.DataFrame, watched: dict[str, Watched]) -> list[KeyClip]:
    """The key frames of a ground truth (`read_groundtruth`), in its order. BadInput for unknown videos."""
    found = []
    for key, rows in groundtruth.group_by(["video", "second"], maintain_order=True):
        video, second = str(key[0]), int(str(key[1]))
        if video not in watched:
            raise BadInput("maps", "video", f"maps of {video}", "none")
        people = rows.unique(["person"], keep="first", maintain_order=True)
        person = people["person"].cast(pl.Int64).to_numpy()
        labels = np.zeros((len(person), ava.CLASS_COUNT), np.float32)
        for who, action in rows.select(pl.col("person").cast(pl.Int64), "action").iter_rows():
            labels[np.flatnonzero(person == who)[0], action - 1] = 1
        box = people.select(CORNERS).to_numpy().astype(np.float32)
        found.append(KeyClip(watched[video], video, second, box, person, ava.to_evaluated(labels)))
    return found


def box_clips(boxes: pl.DataFrame, watched: dict[str, Watched]) -> list[KeyClip]:
    """Key frames with anybody's boxes, as `KeyBoxes.table` has them, and no labels.

    `person` is a box's row in the table. Raises BadInput for unknown videos.
    """
    found = []
    for key, rows in boxes.with_row_index("row").group_by(["video", "second"], maintain_order=True):
        video, second = str(key[0]), int(str(key[1]))
        if video not in watched:
            raise BadInput("maps", "video", f"maps of {video}", "none")
        box, number = (
            rows.select(CORNERS).to_numpy().astype(np.float32),
            rows["row"].to_numpy().astype(np.int64),
        )
        labels = np.zeros((len(box), len(ava.EVALUATED)), np.float32)
        found.append(KeyClip(watched[video], video, second, box, number, labels))
    return found


def on_map(box: NDArray[np.float32], watched: Watched) -> NDArray[np.float32]:
    """Boxes (N,4) in fractions of the picture, in fractions of what the network watches."""
    high, wide = watched.covered
    return box * np.array([wide, high, wide, high], np.float32)


def on_picture(box: NDArray[np.float32], watched: Watched) -> NDArray[np.float32]:
    """The way back, cut at the picture's edges."""
    high, wide = watched.covered
    return (box / np.array([wide, high, wide, high], np.float32)).clip(0, 1)


def batch_of(
    clips: Sequence[KeyClip], sampling: Sampling, chance: Sequence[np.random.Generator] = ()
) -> ClipBatch:
    """The clips in as many slots as the fullest needs; `chance`: of each clip in training, none in a test."""
    most = max(1, *(len(clip.box) for clip in clips))
    box = np.zeros((len(clips), most, 4), np.float32)
    present = np.zeros(box.shape[:2], np.bool_)
    labels = np.zeros((*box.shape[:2], clips[0].labels.shape[1]), np.float32)
    asked, videos = box.copy(), []
    for number, clip in enumerate(clips):
        own, mirror = on_map(clip.box, clip.watched), False
        given = own
        if chance:
            mirror = bool(sampling.mirror and chance[number].random() < 0.5)
            if mirror:
                own = np.stack([1 - own[:, 2], own[:, 1], 1 - own[:, 0], own[:, 3]], axis=1)
            given = shaken(own, sampling.shake, chance[number])
        slots = number, slice(len(own))
        box[slots], asked[slots], present[slots], labels[slots] = own, given, True, clip.labels
        videos.append(clip.watched.frames(sampling.numbers(clip.second), mirror))
    arrays = (torch.from_numpy(one) for one in (box, present, asked, labels))
    return ClipBatch(torch.stack(videos), *arrays)


def shaken(box: NDArray[np.float32], by: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Boxes (N,4) whose corners moved by that share of their size: else nothing is to be regressed."""
    size = np.tile(box[:, 2:] - box[:, :2], 2)
    moved = (box + by * size * rng.standard_normal(box.shape)).clip(0, 1)
    low, high = np.minimum(moved[:, :2], moved[:, 2:]), np.maximum(moved[:, :2], moved[:, 2:])
    return np.concatenate([low, high], axis=1).astype(np.float32)


class ClipDataset:
    """Key clips as samples of a training, drawn anew each epoch from (seed, epoch, number of the clip)."""

    def __init__(self, clips: Sequence[KeyClip], sampling: Sampling, seed: int = 0) -> None:
        self.clips, self.sampling, self.seed, self.epoch = list(clips), sampling, seed, 0

    def __len__(self) -> int:
        return len(self.clips)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose mirrors and shaken boxes the samples have."""
        self.epoch = epoch

    def size(self, index: int) -> int:
        """How many people there are."""
        return len(self.clips[index].box)

    def load(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """The clips' batch, tensor by tensor."""
        chance = [np.random.default_rng((self.seed, self.epoch, index)) for index in indices]
        return batch_of([self.clips[index] for index in indices], self.sampling, chance).tensors()

    def place(self, loaded: dict[str, Tensor], device: torch.device) -> ClipBatch:
        """The batch of what was loaded, on a device."""
        return ClipBatch(**{name: x.to(device, non_blocking=True) for name, x in loaded.items()})

    def __getitem__(self, index: int) -> ClipBatch:
        return ClipBatch(**self.load([index]))
