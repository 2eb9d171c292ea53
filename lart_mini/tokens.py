"""From tracklets to tensors: person-vectors of the ego and the others, frame by frame (section 3.1)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from lart_mini import ava
from lart_mini.errors import BadInput, atomic_path
from lart_mini.tracklets import GROUND_TRUTH, NO_LABEL, VECTOR_WIDTH, FloatArray, Tracklet

LabelChoice = Literal["any", "ground truth"]

JOINTS_WIDTH = 135


@dataclass(frozen=True, eq=False)
class Stats:
    """Mean and standard deviation of each number of the person-vector."""

    mean: FloatArray  # (229,)
    std: FloatArray  # (229,)

    def normalise(self, vectors: FloatArray) -> FloatArray:
        """(…, 229) -> (…, 229): (x - mean) / (std + 1e-10), as the released code does."""
        return ((vectors - self.mean) / (self.std + np.float32(1e-10))).astype(np.float32)

    def save(self, path: str | Path) -> None:
        """Write mean and std as a (2, 229) .npy file."""
        with atomic_path(path) as temporary:
            np.save(temporary, np.stack([self.mean, self.std]), allow_pickle=False)

    @classmethod
    def load(cls, path: str | Path) -> Stats:
        """Read what `save` wrote. Raises BadInput."""
        try:
            array = np.load(path, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise BadInput(path, "file", "a .npy array", type(error).__name__) from None
        if array.shape != (2, VECTOR_WIDTH) or not np.isfinite(array).all():
            expected = f"finite numbers of shape (2, {VECTOR_WIDTH})"
            raise BadInput(path, "stats", expected, f"shape {array.shape}")
        mean, std = array.astype(np.float32)
        return cls(mean, std)


def stats_of(tracklets: Iterable[Tracklet]) -> Stats:
    """Stats over the detected frames; numbers that never change get std 1, so that they become 0.

    Raises ValueError where no frame is detected.
    """
    vectors = [tracklet.vector()[tracklet.detected] for tracklet in tracklets]
    rows = np.concatenate([np.empty((0, VECTOR_WIDTH), np.float32), *vectors]).astype(np.float64)
    if len(rows) == 0:
        raise ValueError("no detected frame to take mean and standard deviation of")
    std = rows.std(axis=0)
    # Below float32's own rounding there is nothing to scale up.
    std[std < 1e-6] = 1
    return Stats(rows.mean(axis=0).astype(np.float32), std.astype(np.float32))


@dataclass(frozen=True, eq=False)
class TokenBatch:
    """What the model reads and is held to: B samples of P people (ego first) in T frames.

    Content of tokens that are not detected is zero when assembled here, and the model looks at none of it.
    """

    pose: Tensor  # (B, P, T, 229) normalised person-vectors
    present: Tensor  # (B, P) bool: is there a person in this slot
    detected: Tensor  # (B, P, T) bool
    labels: Tensor  # (B, P, T, 60) evaluated classes, in [0, 1]
    label_weight: Tensor  # (B, P, T) 1 where the loss applies
    joints: Tensor | None = None  # (B, P, T, 135) joints + camera, in metres, not normalised
    appearance: Tensor | None = None  # (B, P, T, D), or (B, P, K, D) with appearance_index
    appearance_index: Tensor | None = None  # (B, P, T) into K, -1 where there is none
    masked: Tensor | None = None  # (B, P, T) bool: training's mask 2; None asks for test semantics

    def __len__(self) -> int:
        return len(self.pose)

    def to(self, device: torch.device | str) -> TokenBatch:
        """The same batch on `device`."""
        tensors = self.tensors().items()
        return TokenBatch(**{name: tensor.to(device, non_blocking=True) for name, tensor in tensors})

    def tensors(self) -> dict[str, Tensor]:
        """Its tensors by name, without those that are None."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}

    def with_mask(self, masked: Tensor | None) -> TokenBatch:
        """The same batch with `masked` (B, P, T), for training semantics; None for test semantics."""
        return replace(self, masked=masked)


@dataclass(frozen=True, eq=False)
class PreparedTracklet:
    """What of a tracklet stays the same in every window and epoch, worked out once."""

    frame: NDArray[np.int64]  # (T,)
    detected: NDArray[np.bool_]  # (T,)
    pose: FloatArray  # (T, 229) normalised
    labels: FloatArray  # (T, 60)
    label_weight: FloatArray  # (T,)
    joints: FloatArray | None  # (T, 135)
    appearance: FloatArray | None  # (T, D)

    def __len__(self) -> int:
        return len(self.frame)


# Fields of a window, taken row by row from a PreparedTracklet.
ROW_FIELDS = ("pose", "labels", "label_weight", "joints", "appearance")


def prepare(
    tracklet: Tracklet, stats: Stats, *, labels: LabelChoice = "any", joints: bool = False
) -> PreparedTracklet:
    """Normalise a tracklet and choose its labels: of `any` source (pre-training) or only `ground truth`.

    Undetected frames become zero in everything, labels and weight too.
    """
    detected = tracklet.detected
    source = tracklet.label_source
    labelled = detected & (source == GROUND_TRUTH if labels == "ground truth" else source != NO_LABEL)
    shown = detected[:, None].astype(np.float32)
    camera = tracklet.translation / np.array([1, 1, 200], np.float32)
    points = np.add(tracklet.joints, camera[:, None], dtype=np.float32).reshape(-1, JOINTS_WIDTH)
    return PreparedTracklet(
        frame=tracklet.frame,
        detected=detected,
        pose=stats.normalise(tracklet.vector()) * shown,
        labels=ava.to_evaluated(tracklet.labels).astype(np.float32) * labelled[:, None],
        label_weight=labelled.astype(np.float32),
        joints=points * shown if joints else None,
        appearance=None if tracklet.appearance is None else tracklet.appearance * shown,
    )


def group_others(tracklets: Sequence[Tracklet]) -> list[list[int]]:
    """For each tracklet the indices of the others of its scene: same `<dataset>_<video>_<keyframe>`."""
    scenes: dict[str, list[int]] = {}
    for index, tracklet in enumerate(tracklets):
        scenes.setdefault(tracklet.scene, []).append(index)
    return [[other for other in scenes[t.scene] if other != index] for index, t in enumerate(tracklets)]


def assemble(
    ego: Tracklet,
    others: Sequence[Tracklet],
    *,
    frames: int,
    people: int,
    stats: Stats,
    start: int = 0,
    labels: LabelChoice = "any",
    joints: bool = False,
) -> TokenBatch:
    """One sample (B = 1): the ego's rows [start, start + frames) and, at the same frame numbers, the others.

    The first `people` - 1 others that are seen in the window fill the slots after the ego; slots and frames
    that nobody fills are zero and not detected. Raises ValueError for a start outside the ego.
    """
    chosen = [prepare(tracklet, stats, labels=labels, joints=joints) for tracklet in (ego, *others)]
    return assemble_prepared(chosen[0], chosen[1:], frames=frames, people=people, start=start)


def assemble_prepared(
    ego: PreparedTracklet, others: Iterable[PreparedTracklet], *, frames: int, people: int, start: int = 0
) -> TokenBatch:
    """As `assemble`, from tracklets that were prepared before."""
    if not 0 <= start < len(ego):
        raise ValueError(f"start {start} is outside an ego of {len(ego)} frames")
    window = ego.frame[start : start + frames]
    filled = [(ego, *_aligned(ego, window))]
    for other in others:
        if len(filled) == people:
            break
        slots, rows = _aligned(other, window)
        if other.detected[rows].any():
            filled.append((other, slots, rows))
    detected = np.zeros((1, people, frames), np.bool_)
    arrays = {field: _blank(getattr(ego, field), people, frames) for field in ROW_FIELDS}
    for person, (tracklet, slots, rows) in enumerate(filled):
        detected[0, person, slots] = tracklet.detected[rows]
        for field, array in arrays.items():
            source = getattr(tracklet, field)
            if array is not None and source is not None:
                array[0, person, slots] = source[rows]
    tensors = {field: torch.from_numpy(array) for field, array in arrays.items() if array is not None}
    present = torch.arange(people)[None] < len(filled)
    return TokenBatch(present=present, detected=torch.from_numpy(detected), **tensors)


def _aligned(
    tracklet: PreparedTracklet, window: NDArray[np.int64]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Slots of the window that the tracklet has a row for, and those rows, matched by frame number."""
    rows = np.minimum(np.searchsorted(tracklet.frame, window), len(tracklet) - 1)
    slots = np.flatnonzero(tracklet.frame[rows] == window)
    return slots, rows[slots]


def _blank(rows: FloatArray | None, people: int, frames: int) -> FloatArray | None:
    return None if rows is None else np.zeros((1, people, frames, *rows.shape[1:]), np.float32)


def collate(batches: Sequence[TokenBatch]) -> TokenBatch:
    """Join samples into one batch, with no more slots than the sample with most people fills."""
    people = max(int(batch.present.sum(dim=1).max()) for batch in batches)
    names = batches[0].tensors()
    if any(batch.tensors().keys() != names.keys() for batch in batches):
        raise ValueError("samples of one batch must hold the same tensors")
    joined = {name: [_slots(batch.tensors()[name], people) for batch in batches] for name in names}
    return TokenBatch(**{name: torch.cat(tensors) for name, tensors in joined.items()})


def _slots(tensor: Tensor, people: int) -> Tensor:
    """Cut or zero-pad axis 1 to `people` slots."""
    missing = people - tensor.shape[1]
    if missing <= 0:
        return tensor[:, :people]
    return torch.cat([tensor, tensor.new_zeros(tensor.shape[0], missing, *tensor.shape[2:])], dim=1)


class TrackletDataset(Dataset[TokenBatch]):
    """Every tracklet once as the ego of a sample (B = 1).

    Training: the window starts at random and the others come in random order, drawn anew each epoch from
    (seed, epoch, index); tracklets without any label of the wanted source are no egos. Test: every tracklet,
    in order, the window starting at `starts[index]` (0 where all fit into `frames`), others in order.
    """

    def __init__(
        self,
        tracklets: Sequence[Tracklet],
        *,
        frames: int,
        people: int,
        stats: Stats,
        train: bool,
        labels: LabelChoice = "any",
        joints: bool = False,
        starts: Sequence[int] | None = None,
        seed: int = 0,
    ) -> None:
        self.frames, self.people, self.train, self.seed, self.epoch = frames, people, train, seed, 0
        self.prepared = [prepare(t, stats, labels=labels, joints=joints) for t in tracklets]
        self.others = group_others(tracklets)
        self.egos = [i for i, p in enumerate(self.prepared) if not train or p.label_weight.any()]
        if starts is None and not train and any(len(t) > frames for t in tracklets):
            raise ValueError(f"tracklets of more than {frames} frames need `starts` at test")
        self.starts = list(starts) if starts is not None else [0] * len(self.prepared)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose random windows __getitem__ gives."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.egos)

    def __getitem__(self, index: int) -> TokenBatch:
        ego = self.egos[index]
        start, others = self.starts[ego], self.others[ego]
        if self.train:
            generator = np.random.default_rng((self.seed, self.epoch, index))
            start = int(generator.integers(max(len(self.prepared[ego]) - self.frames, 0) + 1))
            others = generator.permutation(others).tolist()
        return assemble_prepared(
            self.prepared[ego],
            (self.prepared[other] for other in others),
            frames=self.frames,
            people=self.people,
            start=start,
        )

    def people_count(self, index: int) -> int:
        """About how many slots item `index` fills, for BucketSampler."""
        return min(1 + len(self.others[self.egos[index]]), self.people)


class BucketSampler(Sampler[list[int]]):
    """Batches of items with like numbers of people, so that collate trims; for DataLoader's `batch_sampler`.

    Deterministic in (seed, epoch). Every item comes once an epoch; at most one batch is short.
    """

    def __init__(
        self, counts: Sequence[int], batch_size: int, *, shuffle: bool = True, seed: int = 0
    ) -> None:
        self.counts, self.batch_size, self.shuffle = np.asarray(counts), batch_size, shuffle
        self.seed, self.epoch = seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order __iter__ gives."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.counts) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        generator = np.random.default_rng((self.seed, self.epoch))
        order = generator.permutation(len(self.counts)) if self.shuffle else np.arange(len(self.counts))
        order = order[np.argsort(self.counts[order], kind="stable")]
        batches = [order[i : i + self.batch_size].tolist() for i in range(0, len(order), self.batch_size)]
        if self.shuffle:
            batches = [batches[i] for i in generator.permutation(len(batches))]
        yield from batches
