"""Samples for training and test: who is ego, who is beside them, which window, and how batches are cut."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from lart_mini import ava
from lart_mini.files import BadInput
from lart_mini.lart.assembly import (
    appearance_width,
    assemble_prepared,
    prepare,
    seats,
    used_entries,
    window_starts,
)
from lart_mini.lart.config import Assembly, Profile, assembly_of
from lart_mini.lart.tokens import JOINTS_WIDTH, LabelChoice, Stats, TokenBatch, random_mask
from lart_mini.tracklets.records import RECORD, HalfArray
from lart_mini.tracklets.store import Store
from lart_mini.tracklets.tracklet import GROUND_TRUTH, NO_LABEL, VECTOR_WIDTH, Tracklet


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
    order, nothing masked. `mask_ratio`: the share of a training item's detected tokens that is masked.
    """

    def __init__(
        self,
        scenes: Sequence[str],
        lengths: Sequence[int],
        labelled: Sequence[bool],
        *,
        frames: int,
        people: int,
        train: bool,
        assembly: Assembly,
        starts: Sequence[int] | None = None,
        seed: int = 0,
        mask_ratio: float = 0.0,
    ) -> None:
        """scenes, lengths (frames) and labelled (has it a wanted label) of each tracklet."""
        self.frames, self.people, self.train, self.seed, self.epoch = frames, people, train, seed, 0
        self.assembly, self.mask_ratio = assembly, mask_ratio
        self.lengths, self.others = list(lengths), _together(scenes)
        self.egos = [i for i, wanted in enumerate(labelled) if not train or wanted]
        long = any(length > frames for length in lengths)
        if starts is None and not train and long and assembly.start == "random":
            raise ValueError(f"tracklets of more than {frames} frames need `starts` at test")
        self.starts = list(starts) if starts is not None else [0] * len(self.lengths)

    @abstractmethod
    def batch(self, draws: Sequence[Draw]) -> TokenBatch:
        """The samples of these draws, collated: no more slots than the last present person needs."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose random windows, orders and masks the items have."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.egos)

    def __getitems__(self, indices: Sequence[int]) -> TokenBatch:
        """The items, collated: what a DataLoader asks for, with `training.batches.whole` to hand it on."""
        return self.batch([self.draw(index) for index in indices])

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

    def size(self, index: int) -> int:
        """About how many slots item `index` fills: items of one size are batched together."""
        return min(1 + len(self.others[self.egos[index]]), self.people)


class TrackletDataset(EgoDataset):
    """An EgoDataset of a list of Tracklets in memory; its items are TokenBatches of one sample (B = 1)."""

    def __init__(
        self,
        tracklets: Sequence[Tracklet],
        *,
        stats: Stats,
        train: bool,
        labels: LabelChoice = "any",
        profile: Profile = "paper",
        **settings: Any,
    ) -> None:
        """`settings`: frames, people, starts, seed and mask_ratio of EgoDataset."""
        assembly, self.appearance_width = assembly_of(profile, train), appearance_width(tracklets)
        chosen: Any = {"width": self.appearance_width, "labels": labels, "assembly": assembly}
        self.prepared = [prepare(tracklet, stats, **chosen) for tracklet in tracklets]
        labelled = [bool(prepared.label_weight.any()) for prepared in self.prepared]
        scenes, lengths = [t.scene for t in tracklets], [len(t) for t in tracklets]
        super().__init__(scenes, lengths, labelled, train=train, assembly=assembly, **settings)

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


Records = NDArray[Any]  # of RECORD


@dataclass(frozen=True, eq=False)
class Seat:
    """A tracklet of the store in a slot of a sample."""

    number: int
    records: NDArray[Any]  # (T,) of RECORD
    frame: NDArray[np.int64]  # (T,)
    detected: NDArray[np.bool_]  # (T,)

    def __len__(self) -> int:
        return len(self.frame)


Seated = list[tuple[Seat, NDArray[np.intp], NDArray[np.intp]]]  # seat, frames of the window, their rows


class StoreDataset(EgoDataset):
    """An EgoDataset of a Store: TrackletDataset's items, without holding the tracklets in memory.

    A whole batch is made at once.
    """

    def __init__(
        self,
        store: Store,
        *,
        stats: Stats,
        train: bool,
        labels: LabelChoice = "any",
        profile: Profile = "paper",
        **settings: Any,
    ) -> None:
        """`settings`: frames, people, starts, seed and mask_ratio of EgoDataset."""
        self.store, self.labels, self.appearance_width = store, labels, store.appearance_width
        self.mean, self.std = (torch.from_numpy(part) for part in (stats.mean, stats.std + np.float32(1e-10)))
        self.units = store.index["depth_unit"].to_numpy().astype(np.float32)
        columns = store.columns
        labelled = columns["ground_truth"] + (columns["pseudo"] if labels == "any" else 0) > 0
        scenes, lengths = store.index["scene"].to_list(), columns["length"].tolist()
        assembly = assembly_of(profile, train)
        super().__init__(scenes, lengths, labelled.tolist(), train=train, assembly=assembly, **settings)

    def __getitem__(self, index: int) -> TokenBatch:
        return self._assemble([self.draw(index)], self.people)

    def batch(self, draws: Sequence[Draw]) -> TokenBatch:
        """As EgoDataset's."""
        return self._assemble(draws, None)

    def _assemble(self, draws: Sequence[Draw], people: int | None) -> TokenBatch:
        samples = [self._seats(draw) for draw in draws]
        records, filled = _copied(samples, self.people, self.frames)
        detected = records["detected"] != 0  # (B, P, T)
        masks = [self.mask(torch.from_numpy(d[None]), draw) for d, draw in zip(detected, draws, strict=True)]
        present = detected.any(axis=2)
        present[:, 0] = True
        if people is None:
            people = int(np.flatnonzero(present.any(axis=0))[-1]) + 1
            records, filled, detected, present = (
                array[:, :people] for array in (records, filled, detected, present)
            )
            samples = [sample[:people] for sample in samples]
        source = records["label_source"]
        labelled = detected & (
            source == GROUND_TRUTH if self.labels == "ground truth" else source != NO_LABEL
        )
        kept = self.assembly.undetected == "kept"
        shown, told = (filled, filled) if kept else (detected, labelled)
        tensors = {
            "pose": self._pose(records, samples, shown),
            "present": torch.from_numpy(present.copy()),
            "detected": torch.from_numpy(detected.copy()),
            "labels": self._labels(records, samples, told),
            "label_weight": torch.from_numpy(labelled.astype(np.float32)),
        }
        if self.assembly.joints:
            tensors["joints"] = _joints(records, shown)
        if self.appearance_width:
            tensors |= self._appearance(records, samples, shown)
        if self.train:
            tensors["masked"] = torch.cat([mask[:, :people] for mask in masks if mask is not None])
        return TokenBatch(**tensors)

    def _pose(self, records: Records, samples: Sequence[Seated], shown: NDArray[np.bool_]) -> Tensor:
        units = np.ones(shown.shape[:2], np.float32)
        for row, sample in zip(units, samples, strict=True):
            row[: len(sample)] = self.units[[seat.number for seat, _, _ in sample]]
        pose = torch.empty(*shown.shape, VECTOR_WIDTH)
        pose[..., :-3] = _numbers(records, "pose", VECTOR_WIDTH - 3)  # betas lie behind
        pose[..., -3:] = _numbers(records, "translation", 3)
        pose[..., -1] /= torch.from_numpy(units)[..., None]
        return pose.sub_(self.mean).div_(self.std).mul_(torch.from_numpy(shown)[..., None])

    def _labels(self, records: Records, samples: Sequence[Seated], told: NDArray[np.bool_]) -> Tensor:
        first = np.zeros(told.shape[:2], np.int64)
        tables, count = [np.zeros((1, ava.CLASS_COUNT), np.float16)], 1  # row 0: no class
        for b, sample in enumerate(samples):
            for p, (seat, _, _) in enumerate(sample):
                tables.append(self.store.labels(seat.number))
                first[b, p], count = count, count + len(tables[-1])
        table = ava.to_evaluated(np.concatenate(tables)).astype(np.float32)
        index = records["label_index"]
        rows = np.where(told & (index >= 0), index + first[..., None], 0)
        return F.embedding(torch.from_numpy(rows), torch.from_numpy(table))

    def _appearance(
        self, records: Records, samples: Sequence[Seated], shown: NDArray[np.bool_]
    ) -> dict[str, Tensor]:
        index = np.where(shown, records["appearance_index"], -1).astype(np.int64)
        vectors: dict[tuple[int, int], HalfArray] = {}
        for b, sample in enumerate(samples):
            for p, (seat, _, _) in enumerate(sample):
                used, index[b, p] = used_entries(index[b, p])
                if len(used):
                    vectors[b, p] = self.store.appearance(seat.number)[used]
        most = max(map(len, vectors.values()), default=0)
        table = np.zeros((*shown.shape[:2], most, self.appearance_width), np.float16)
        for slot, rows in vectors.items():
            table[slot][: len(rows)] = rows
        appearance = torch.from_numpy(table).float()
        return {"appearance": appearance, "appearance_index": torch.from_numpy(index)}

    def _seats(self, draw: Draw) -> Seated:
        return seats(
            self._seat(draw.ego),
            (self._seat(other) for other in draw.others),
            frames=self.frames,
            people=self.people,
            assembly=self.assembly,
            start=draw.start,
        )

    def _seat(self, number: int) -> Seat:
        records = self.store.records(number)
        return Seat(number, records, records["frame"].astype(np.int64), records["detected"] != 0)


def _copied(samples: Sequence[Seated], people: int, frames: int) -> tuple[Records, NDArray[np.bool_]]:
    """The samples' records (B, P, T), zero where nobody sits, and where somebody does."""
    records = np.zeros((len(samples), people, frames), RECORD)
    filled = np.zeros(records.shape, np.bool_)
    # As plain bytes: numpy would copy structured records field by field.
    target = records.view(np.uint8).reshape(*records.shape, RECORD.itemsize)
    for b, sample in enumerate(samples):
        for p, (seat, slots, rows) in enumerate(sample):
            to, of = _run(slots), _run(rows)
            target[b, p, to] = seat.records.view(np.uint8).reshape(-1, RECORD.itemsize)[of]
            filled[b, p, to] = True
    return records, filled


def _run(rows: NDArray[np.intp]) -> NDArray[np.intp] | slice:
    """The same rows, as a slice where they have no gaps: that is one copy instead of one for each."""
    gapless = len(rows) > 0 and rows[-1] - rows[0] + 1 == len(rows)
    return slice(rows[0], rows[-1] + 1) if gapless else rows


def _numbers(records: Records, field: str, count: int) -> Tensor:
    """`count` numbers of each record from a field on (B, P, T, count), as they lie there."""
    assert RECORD.fields is not None
    dtype, offset = RECORD.fields[field][:2]
    number = dtype.base
    plain = records.view(number).reshape(*records.shape, -1)
    first = offset // number.itemsize
    return torch.from_numpy(plain)[..., first : first + count]


def _joints(records: Records, shown: NDArray[np.bool_]) -> Tensor:
    joints = _numbers(records, "joints", JOINTS_WIDTH).float()
    joints.unflatten(-1, (-1, 3)).add_(_numbers(records, "camera", 3)[..., None, :])
    return joints.mul_(torch.from_numpy(shown)[..., None])
