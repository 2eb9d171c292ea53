"""Samples for training and test: who is ego, who is beside them, which window, and how batches are cut."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from lart_mini.errors import BadInput
from lart_mini.tokens import (
    LabelChoice,
    Profile,
    Stats,
    TokenBatch,
    appearance_width,
    assemble_prepared,
    assembly_of,
    prepare,
    random_mask,
    window_starts,
)
from lart_mini.tracklets import Tracklet


def group_others(tracklets: Sequence[Tracklet]) -> list[list[int]]:
    """For each tracklet the indices of the others of its scene: same `<dataset>_<video>_<keyframe>`."""
    return _together([tracklet.scene for tracklet in tracklets])


def _together(scenes: Sequence[str]) -> list[list[int]]:
    members: dict[str, list[int]] = {}
    for index, scene in enumerate(scenes):
        members.setdefault(scene, []).append(index)
    return [[other for other in members[scene] if other != index] for index, scene in enumerate(scenes)]


@dataclass(frozen=True)
class Draw:
    """What chance, or the order of the tracklets, decides about one item."""

    ego: int  # index of the tracklet
    others: list[int]  # of its scene, in the order in which they are offered a slot
    start: int  # row of the ego at which the window begins
    mask_seed: int | None  # of mask 2; None at test


class EgoDataset(Dataset[TokenBatch], ABC):
    """Every tracklet once as the ego of a sample; where the tracklets' content is kept, subclasses say.

    Training: the others come in random order and, where the profile wants it, the window starts at random;
    this and the masked tokens are drawn anew each epoch from (seed, epoch, index). Tracklets without any
    label of the wanted source are no egos. Test: every tracklet, in order, the window starting at
    `starts[index]` (0 where all fit into `frames`, and where the profile starts at the first row), others in
    order, nothing masked. Settable: `mask_ratio`, the share of an item's detected tokens that is masked.
    """

    def __init__(
        self,
        tracklets: Any,
        *,
        frames: int,
        people: int,
        stats: Stats,
        train: bool,
        labels: LabelChoice = "any",
        profile: Profile = "paper",
        starts: Sequence[int] | None = None,
        seed: int = 0,
        mask_ratio: float = 0.0,
    ) -> None:
        self.frames, self.people, self.train, self.seed, self.epoch = frames, people, train, seed, 0
        self.assembly, self.mask_ratio, self.labels = assembly_of(profile, train), mask_ratio, labels
        scenes, lengths, labelled = self._take(tracklets, stats)
        self.lengths, self.others = lengths, _together(scenes)
        self.egos = [i for i, wanted in enumerate(labelled) if not train or wanted]
        long = any(length > frames for length in lengths)
        if starts is None and not train and long and self.assembly.start == "random":
            raise ValueError(f"tracklets of more than {frames} frames need `starts` at test")
        self.starts = list(starts) if starts is not None else [0] * len(lengths)

    @abstractmethod
    def _take(self, tracklets: Any, stats: Stats) -> tuple[list[str], list[int], list[bool]]:
        """Get ready to read the tracklets; scene, frames, and whether it has a wanted label, of each."""

    @abstractmethod
    def batch(self, draws: Sequence[Draw]) -> TokenBatch:
        """The samples of these draws, collated: no more slots than the last present person needs."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose random windows, orders and masks the items have."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.egos)

    def draw(self, index: int) -> Draw:
        """What item `index` is made of."""
        ego = self.egos[index]
        if not self.train:
            return Draw(ego, self.others[ego], self.starts[ego], None)
        generator = np.random.default_rng((self.seed, self.epoch, index))
        start = int(generator.integers(window_starts(self.lengths[ego], self.frames, self.assembly)))
        others = generator.permutation(self.others[ego]).tolist()
        return Draw(ego, others, start, int(generator.integers(2**63)))

    def mask(self, detected: Tensor, draw: Draw) -> Tensor | None:
        """Mask 2 (1, P, T) of an item with these detections, None at test."""
        if draw.mask_seed is None:
            return None
        return random_mask(detected, self.mask_ratio, torch.Generator().manual_seed(draw.mask_seed))

    def people_count(self, index: int) -> int:
        """About how many slots item `index` fills, for BucketSampler."""
        return min(1 + len(self.others[self.egos[index]]), self.people)


class TrackletDataset(EgoDataset):
    """An EgoDataset of a list of Tracklets in memory; its items are TokenBatches of one sample (B = 1)."""

    def _take(self, tracklets: Sequence[Tracklet], stats: Stats) -> tuple[list[str], list[int], list[bool]]:
        self.appearance_width = appearance_width(tracklets)
        chosen: Any = {"width": self.appearance_width, "labels": self.labels, "assembly": self.assembly}
        self.prepared = [prepare(tracklet, stats, **chosen) for tracklet in tracklets]
        labelled = [bool(prepared.label_weight.any()) for prepared in self.prepared]
        return [tracklet.scene for tracklet in tracklets], [len(tracklet) for tracklet in tracklets], labelled

    def __getitem__(self, index: int) -> TokenBatch:
        return self.item(self.draw(index))

    def batch(self, draws: Sequence[Draw]) -> TokenBatch:
        """As EgoDataset's."""
        return collate([self.item(draw) for draw in draws])

    def item(self, draw: Draw) -> TokenBatch:
        """The sample (B = 1) of a draw."""
        batch = assemble_prepared(
            self.prepared[draw.ego],
            (self.prepared[other] for other in draw.others),
            frames=self.frames,
            people=self.people,
            assembly=self.assembly,
            start=draw.start,
        )
        return batch.with_mask(self.mask(batch.detected, draw))


def whole(batch: Any) -> TokenBatch:
    """`collate_fn` of a DataLoader over a data set that makes whole batches itself (`__getitems__`)."""
    return batch


def collate(batches: Sequence[TokenBatch]) -> TokenBatch:
    """Join samples into one batch, with no more slots than the last present person of any sample needs.

    Appearance vectors are padded to the sample with most of them. Raises ValueError where samples do not
    hold the same tensors, BadInput where their appearance differs in width.
    """
    names = batches[0].tensors()
    if any(batch.tensors().keys() != names.keys() for batch in batches):
        raise ValueError("samples of one batch must hold the same tensors")
    people = max(int(batch.present.any(dim=0).nonzero().max()) + 1 for batch in batches)
    joined = {name: [_resized(batch.tensors()[name], 1, people, name) for batch in batches] for name in names}
    if "appearance_index" in names:
        vectors = max(tensor.shape[2] for tensor in joined["appearance"])
        joined["appearance"] = [_resized(t, 2, vectors, "appearance") for t in joined["appearance"]]
    widths = {tensor.shape[-1] for tensor in joined.get("appearance", [])}
    if len(widths) > 1:
        raise BadInput("batch", "appearance", "one width", sorted(widths))
    return TokenBatch(**{name: torch.cat(tensors) for name, tensors in joined.items()})


def _resized(tensor: Tensor, axis: int, size: int, name: str) -> Tensor:
    """Cut or pad an axis to `size`, with what stands for nothing: 0, or -1 in an index."""
    missing = size - tensor.shape[axis]
    if missing <= 0:
        return tensor.narrow(axis, 0, size)
    shape = list(tensor.shape)
    shape[axis] = missing
    nothing = -1 if name == "appearance_index" else 0
    return torch.cat([tensor, tensor.new_full(shape, nothing)], dim=axis)


class BucketSampler(Sampler[list[int]]):
    """Batches of items with like counts (of people, or tokens), for DataLoader's `batch_sampler`.

    Deterministic in (seed, epoch). Every item comes once an epoch; at most one batch is short. With
    `world` processes, process `rank` gets every world-th item of each batch: together they see the batches
    that one process would see, and a share of the short batch may be empty.
    """

    def __init__(
        self,
        counts: Sequence[int],
        batch_size: int,
        *,
        shuffle: bool = True,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        skip: int = 0,
    ) -> None:
        if not 0 <= rank < world:
            raise ValueError(f"rank {rank} is outside a world of {world}")
        self.counts, self.batch_size, self.shuffle = np.asarray(counts), batch_size, shuffle
        self.seed, self.epoch, self.rank, self.world, self.skip = seed, 0, rank, world, skip

    def set_epoch(self, epoch: int, skip: int = 0) -> None:
        """Choose the epoch whose order __iter__ gives, and how many of its batches were done before."""
        self.epoch, self.skip = epoch, skip

    def __len__(self) -> int:
        """Batches of a whole epoch, those to be skipped too."""
        return -(-len(self.counts) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        generator = np.random.default_rng((self.seed, self.epoch))
        order = generator.permutation(len(self.counts)) if self.shuffle else np.arange(len(self.counts))
        order = order[np.argsort(self.counts[order], kind="stable")]
        batches = [order[i : i + self.batch_size].tolist() for i in range(0, len(order), self.batch_size)]
        if self.shuffle:
            batches = [batches[i] for i in generator.permutation(len(batches))]
        for batch in batches[self.skip :]:
            yield batch[self.rank :: self.world]
