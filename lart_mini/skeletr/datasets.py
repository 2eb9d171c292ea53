"""What SkeleTR learns from: windows of long videos and whole short ones, as batches of skeleton sequences.

Detection draws a window of some seconds about a key frame; its sequences are labelled at key frames, all
others are context (section 4.2). A video or a group has one label and gives all of its sequences.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from lart_mini import ava
from lart_mini.boxes import corners_from_xywh, fractions_from_corners
from lart_mini.data.skeletons import Links, Sequences, Skeletons, normalised, sequences
from lart_mini.skeletr.model import SkeletonBatch
from lart_mini.skeletr.stgcnpp import LAYOUTS, Layout
from lart_mini.skeletr.streams import bone_starts
from lart_mini.training.config import check_fields

NO_TARGET = (-1, -1)  # of a video that has no label of its own
Stream = Literal["joint", "bone"]


@dataclass(frozen=True)
class Sampling:
    """How sequences are cut out of videos, and what is read of them. Raises BadInput."""

    frames: int = 10  # T of a sequence
    step: int = 3  # frames of the video from one to the next: a second at 30 a second
    links: Links = "overlap"  # or "true": by who it is
    unit: Literal["box", "frame"] = "box"  # of 2D joints
    stream: Stream = "joint"
    window: int = 150  # frames that a sample of a long video spans: 5 s; AVA's 10 s are 300
    most: int = 20  # M: most sequences in a training sample
    mirror: bool = False  # half of the training samples are seen in a mirror
    speed: float = 0.0  # training samples are played up to this share faster, or as much slower

    def __post_init__(self) -> None:
        least = {"frames": (1, 1000), "step": (1, 1000), "window": (1, 100_000), "most": (1, 10_000)}
        check_fields("sampling", self, least | {"speed": (0, 0.9)})

    @property
    def span(self) -> int:
        """Frames of the video that links are made over: a sequence's, and what a faster one needs."""
        return int(np.ceil(self.frames * self.step * (1 + self.speed)))

    @property
    def stride(self) -> int:
        """Frames between two key frames: half a sequence (3.2)."""
        return max(1, self.frames * self.step // 2)

    def places(self, speed: float = 1.0) -> NDArray[np.int64]:
        """(T,) columns of a span that a sequence played at this speed is made of; the centre is one."""
        offsets = np.arange(self.frames * self.step // 2 % self.step, self.frames * self.step, self.step)
        return np.rint((offsets - self.frames * self.step // 2) * speed).astype(np.int64) + self.span // 2


@dataclass(frozen=True, eq=False)
class Clip:
    """A video with its S sequences, ready to be drawn from."""

    skeletons: Skeletons
    found: Sequences  # linked frame by frame over a span
    box: NDArray[np.float32]  # (S,4) corners of the centres, fractions of the frame
    frame: NDArray[np.int64]  # (S,) of the centres
    labels: NDArray[np.float32]  # (S,60)
    known: NDArray[np.bool_]  # (S,) are the labels known
    target: tuple[int, int] = NO_TARGET  # class of the video and of the group, −1 for none

    def __len__(self) -> int:
        return len(self.frame)

    def digest(self) -> str:
        """Of all that a training reads of it."""
        own, found = self.skeletons, self.found
        arrays = (own.keypoint, own.score, own.box, own.frame_size, found.index, found.centre, self.frame)
        told = b"".join(array.tobytes() for array in (*arrays, self.labels, self.known))
        return hashlib.sha256(told).hexdigest()[:12]


def clip_of(
    skeletons: Skeletons,
    sampling: Sampling,
    groundtruth: pl.DataFrame | None = None,
    target: tuple[int, int] = NO_TARGET,
) -> Clip:
    """A video's sequences; `groundtruth` (`ava_csv.read_groundtruth`) labels who stands in key frames.

    The labels are of the person whom the detector showed there, by number: AVA's training boxes are handed to
    the detector, so nobody has to be matched.
    """
    found = sequences(skeletons, sampling.span, 1, sampling.links, stride=sampling.stride)
    frame, person = skeletons.frame[found.centre], skeletons.person[found.centre]
    dense = np.zeros((len(found), ava.CLASS_COUNT), np.float32)
    if groundtruth is not None:
        rows = groundtruth.filter(pl.col("video") == skeletons.video).drop_nulls("person")
        shown = zip(person.tolist(), frame.tolist(), strict=True)
        at = {who_and_when: number for number, who_and_when in enumerate(shown)}
        for second, action, who in rows.select("second", "action", "person").iter_rows():
            number = at.get((int(who), ava.keyframe(second)))
            if number is not None:
                dense[number, action - 1] = 1
    corners = corners_from_xywh(skeletons.box[found.centre])
    box = fractions_from_corners(corners, skeletons.frame_size).astype(np.float32)
    known: NDArray[np.bool_] = np.asarray(dense.any(axis=1))
    return Clip(skeletons, found, box, frame, ava.to_evaluated(dense), known, target)


# ---------------------------------------------------------------------------------------------------- samples


@dataclass(frozen=True, eq=False)
class Drawn:
    """One sample: some of a clip's sequences, when they are, and how they are seen."""

    clip: Clip
    rows: NDArray[np.int64]  # (M,) numbers of sequences
    time: NDArray[np.float32]  # (M,) 0–1
    mirror: bool = False
    speed: float = 1.0


def within(clip: Clip, centre: int, window: int) -> NDArray[np.int64]:
    """Numbers of the sequences whose centres lie in a window of frames about `centre`."""
    return np.flatnonzero(np.abs(clip.frame - centre) <= window // 2)


def window_time(clip: Clip, rows: NDArray[np.int64], centre: int, window: int) -> NDArray[np.float32]:
    """When sequences are, from 0 to 1 in their window."""
    return ((clip.frame[rows] - centre) / window + 0.5).astype(np.float32)


def whole(clip: Clip, rows: NDArray[np.int64] | None = None) -> Drawn:
    """All sequences of a trimmed video, or some; their time goes from 0 to 1 over it (3.3)."""
    rows = np.arange(len(clip)) if rows is None else rows
    first, last = clip.skeletons.frame[[0, -1]] if len(clip) else (0, 1)
    return Drawn(clip, rows, ((clip.frame[rows] - first) / max(last - first, 1)).astype(np.float32))


def batch_of(drawn: Sequence[Drawn], sampling: Sampling, layout: Layout) -> SkeletonBatch:
    """The samples in as many slots as the fullest needs."""
    most, shape = max(1, *(len(one.rows) for one in drawn)), (len(drawn),)
    classes = drawn[0].clip.labels.shape[1]
    arrays: dict[str, NDArray[Any]] = {
        "keypoint": np.zeros((*shape, most, sampling.frames, layout.joints, 3), np.float32),
        "present": np.zeros((*shape, most), np.bool_),
        "box": np.zeros((*shape, most, 4), np.float32),
        "time": np.zeros((*shape, most), np.float32),
        "labels": np.zeros((*shape, most, classes), np.float32),
        "label_weight": np.zeros((*shape, most), np.float32),
        "target": np.array([one.clip.target for one in drawn], np.int64),
    }
    for number, one in enumerate(drawn):
        clip, rows, slots = one.clip, one.rows, (number, slice(len(one.rows)))
        arrays["keypoint"][slots] = read(one, sampling, layout)
        arrays["present"][slots], arrays["time"][slots] = True, one.time
        box = clip.box[rows]
        if one.mirror:
            box = np.stack([1 - box[:, 2], box[:, 1], 1 - box[:, 0], box[:, 3]], axis=1)
        arrays["box"][slots] = box
        arrays["labels"][slots], arrays["label_weight"][slots] = clip.labels[rows], clip.known[rows]
    return SkeletonBatch(**{name: torch.from_numpy(array) for name, array in arrays.items()})


def read(drawn: Drawn, sampling: Sampling, layout: Layout) -> NDArray[np.float32]:
    """What a network reads of a sample's sequences: (M,T,V,3)."""
    found, rows = drawn.clip.found, drawn.rows
    some = Sequences(found.index[rows][:, sampling.places(drawn.speed)], found.centre[rows])
    x = normalised(drawn.clip.skeletons, some, sampling.unit)
    if drawn.mirror:  # left becomes right, in the picture and on the body
        x = x[:, :, list(layout.mirrored)] * np.array([-1, 1, 1], np.float32)
    flat = drawn.clip.skeletons.keypoint.shape[-1] == 2
    return bones(x, layout, flat) if sampling.stream == "bone" else x


class SkeletonDataset:
    """Clips as samples of a training, drawn anew each epoch from (seed, epoch, number of the sample).

    A clip with a target is given as a whole, others as a window about one of their labelled key frames. Of
    too many sequences the labelled come first, then others by chance.
    """

    def __init__(
        self, clips: Sequence[Clip], sampling: Sampling, layout: str = "coco", seed: int = 0
    ) -> None:
        self.clips = [clip for clip in clips if clip.known.any() or clip.target != NO_TARGET]
        self.sampling, self.layout, self.seed, self.epoch = sampling, LAYOUTS[layout], seed, 0

    def __len__(self) -> int:
        return len(self.clips)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose windows, sequences and mirrors the samples have."""
        self.epoch = epoch

    def size(self, index: int) -> int:
        """All alike: batch norm wants its batches mixed, and empty slots cost nothing."""
        return 1

    def draw(self, index: int, again: int = 0) -> Drawn:
        """Sample `index` of this epoch, or another draw of it."""
        clip, own = self.clips[index], self.sampling
        rng = np.random.default_rng((self.seed, self.epoch, index, again))  # a last 0 changes nothing
        if clip.target == NO_TARGET:
            keys = np.unique(clip.frame[clip.known])
            centre = int(rng.choice(keys))
            rows = within(clip, centre, own.window)
            time = window_time(clip, rows, centre, own.window)
        else:
            all_of_it = whole(clip)
            rows, time = all_of_it.rows, all_of_it.time
        kept = np.argsort(rng.random(len(rows)) + ~clip.known[rows])[: own.most]
        mirror = bool(own.mirror and rng.random() < 0.5)
        speed = float(np.exp(rng.uniform(-1, 1) * np.log1p(own.speed)))
        return Drawn(clip, rows[kept], time[kept], mirror, speed)

    def samples(self, index: int) -> list[Drawn]:
        """What item `index` gives to a batch."""
        return [self.draw(index)]

    def load(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """The items' batch, tensor by tensor."""
        drawn = [one for index in indices for one in self.samples(index)]
        return batch_of(drawn, self.sampling, self.layout).tensors()

    def place(self, loaded: dict[str, Tensor], device: torch.device) -> SkeletonBatch:
        """The batch of what was loaded, on a device."""
        return SkeletonBatch(**{name: x.to(device, non_blocking=True) for name, x in loaded.items()})

    def __getitem__(self, index: int) -> SkeletonBatch:
        return SkeletonBatch(**self.load([index]))


class JointDataset(SkeletonDataset):
    """Two tasks at once: every item is a sample of each, so that both have equal shares of all batches (3.4).

    An epoch is one of the first. The second goes on where the last epoch left it, through all of its clips,
    then again in another order. Where it has fewer than the first, what an epoch shows again is drawn anew.
    """

    def __init__(self, first: SkeletonDataset, second: SkeletonDataset) -> None:
        super().__init__(first.clips, first.sampling, first.layout.name, first.seed)
        self.second = second

    def set_epoch(self, epoch: int) -> None:
        """As SkeletonDataset's, for both."""
        super().set_epoch(epoch)
        self.second.set_epoch(epoch)

    def samples(self, index: int) -> list[Drawn]:
        """One of each task."""
        count, begun = len(self.second), self.epoch * len(self)
        turn, place = divmod(begun + index, count)
        order = np.random.default_rng((self.seed, turn)).permutation(count)
        again = turn - begun // count if count < len(self) else 0
        return [self.draw(index), self.second.draw(int(order[place]), again)]


# ---------------------------------------------------------------------------------------------------- streams


def bones(x: NDArray[np.float32], layout: Layout, flat: bool) -> NDArray[np.float32]:
    """Joints (…,V,3) less where their bones begin; a flat (2D) bone's score is the mean of its ends'."""
    start = x[..., list(bone_starts(layout)), :]
    bone = x - start
    if flat:
        bone[..., 2] = (x[..., 2] + start[..., 2]) / 2
    return bone
