"""Samples of a Store, made a batch at a time without holding the tracklets in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from lart_mini import ava
from lart_mini.lart.assembly import seats
from lart_mini.lart.config import Profile, assembly_of
from lart_mini.lart.datasets import EgoDataset, slots_needed
from lart_mini.lart.rows import Draw, used_vectors
from lart_mini.lart.tokens import JOINTS_WIDTH, LabelChoice, Stats, TokenBatch
from lart_mini.tracklets.records import RECORD
from lart_mini.tracklets.store import Store
from lart_mini.tracklets.tracklet import GROUND_TRUTH, NO_LABEL, VECTOR_WIDTH

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
        """`settings`: frames, people, seed and mask_ratio of EgoDataset."""
        self.store, self.labels, self.appearance_width = store, labels, store.appearance_width
        self.mean, self.std = (torch.from_numpy(part) for part in (stats.mean, stats.std + np.float32(1e-10)))
        self.units = store.index["depth_unit"].to_numpy().astype(np.float32)
        columns = store.columns
        labelled = columns["ground_truth"] + (columns["pseudo"] if labels == "any" else 0) > 0
        scenes, lengths = store.index["scene"].to_list(), columns["length"].tolist()
        assembly = assembly_of(profile, train)
        super().__init__(scenes, lengths, labelled.tolist(), train=train, assembly=assembly, **settings)

    def assemble(self, draws: Sequence[Draw], people: int | None = None) -> TokenBatch:
        """As EgoDataset's."""
        samples = [self._seats(draw) for draw in draws]
        records, filled = _copied(samples, self.people, self.frames)
        detected = records["detected"] != 0  # (B, P, T)
        present = detected.any(axis=2)
        present[:, 0] = True
        people = people or slots_needed(present)
        records, filled = records[:, :people], filled[:, :people]
        detected, present = detected[:, :people], present[:, :people]
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
        return TokenBatch(**tensors, **self.masks(draws, tensors["detected"]))

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

        used, index = used_vectors(index)
        table = torch.zeros(*used.shape, self.appearance_width)
        for b, sample in enumerate(samples):
            for p, (seat, _, _) in enumerate(sample):
                numbers = used[b, p][used[b, p] >= 0]
                if len(numbers):
                    vectors = self.store.appearance(seat.number)[numbers]
                    table[b, p, : len(numbers)] = torch.from_numpy(vectors).float()
        return {"appearance": table, "appearance_index": torch.from_numpy(index)}

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
