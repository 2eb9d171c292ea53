"""Samples for training and test: who is ego, who is beside them, which window, and how batches are cut."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from lart_mini.lart.assembly import appearance_width, prepare, window_starts
from lart_mini.lart.config import Assembly, Profile, assembly_of
from lart_mini.lart.rows import Draw, Rows
from lart_mini.lart.tokens import LabelChoice, Stats, TokenBatch, lowest
from lart_mini.tracklets.tracklet import Tracklet


def group_others(tracklets: Sequence[Tracklet]) -> list[list[int]]:
    """For each tracklet the indices of the others of its scene: same `<dataset>_<video>_<keyframe>`."""
    return _together([tracklet.scene for tracklet in tracklets])


def _together(scenes: Sequence[str]) -> list[list[int]]:
    members: dict[str, list[int]] = {}
    for index, scene in enumerate(scenes):
        members.setdefault(scene, []).append(index)
    return [[other for other in members[scene] if other != index] for index, scene in enumerate(scenes)]


class Chance:
    """A generator for each item of an epoch, from (seed, epoch, index) alone.

    Philox makes its numbers of a counter: to begin at an item's is cheap, where a new generator is not.
    """

    def __init__(self, seed: int, epoch: int) -> None:
        philox = np.random.Philox(key=[seed, epoch])
        self.philox, self.state, self.generator = philox, philox.state, np.random.Generator(philox)

    def of(self, index: int) -> np.random.Generator:
        """The item's generator, until another's is asked for."""
        self.state["state"]["counter"][2] = index  # 2^128 numbers each
        self.philox.state = self.state
        return self.generator


class EgoDataset(Dataset[TokenBatch], ABC):
    """Every tracklet once as the ego of a sample; where the tracklets' content is kept, subclasses say.

    Training: the others come in random order and, where the profile wants it, the window starts at random;
    this and the masked tokens are drawn anew each epoch from (seed, epoch, index). Tracklets without any
    label of the wanted source are no egos. Test: every tracklet, in order, its first rows, others in order,
    nothing masked. `mask_ratio`: the share of a training item's detected tokens that is masked.
    """

    appearance_width: int  # of the tracklets' vectors, 0 where there are none

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
        seed: int = 0,
        mask_ratio: float = 0.0,
    ) -> None:
        """scenes, lengths (frames) and labelled (has it a wanted label) of each tracklet."""
        self.frames, self.people, self.train, self.seed = frames, people, train, seed
        self.chance = Chance(seed, 0)
        self.assembly, self.mask_ratio = assembly, mask_ratio
        self.lengths, self.others = list(lengths), _together(scenes)
        self.egos = [i for i, wanted in enumerate(labelled) if not train or wanted]

    @abstractmethod
    def assemble(self, draws: Sequence[Draw], people: int | None = None) -> TokenBatch:
        """The samples of these draws in `people` slots; None: no more than the last present person needs."""

    def batch(self, draws: Sequence[Draw]) -> TokenBatch:
        """The samples of these draws, with no more slots than the last present person needs."""
        return self.assemble(draws)

    def load(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """What a loading process hands over for these items: enough to `place` their batch."""
        return self.loaded([self.draw(index) for index in indices])

    def loaded(self, draws: Sequence[Draw]) -> dict[str, Tensor]:
        """The same for draws."""
        return self.batch(draws).tensors()

    def place(self, loaded: dict[str, Tensor], device: torch.device) -> TokenBatch:
        """The batch of what was loaded, on a device; it may be overwritten when the next one is placed."""
        return TokenBatch(**{name: t.to(device, non_blocking=True) for name, t in loaded.items()})

    def __getitem__(self, index: int) -> TokenBatch:
        return self.assemble([self.draw(index)], self.people)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose random windows, orders and masks the items have."""
        self.chance = Chance(self.seed, epoch)

    def __len__(self) -> int:
        return len(self.egos)

    def __getitems__(self, indices: Sequence[int]) -> TokenBatch:
        """The items, collated."""
        return self.batch([self.draw(index) for index in indices])

    def draw(self, index: int) -> Draw:
        """What item `index` is made of."""
        ego = self.egos[index]
        if not self.train:
            return Draw(ego, self.others[ego], 0, None)
        generator = self.chance.of(index)
        start = int(generator.integers(window_starts(self.lengths[ego], self.frames, self.assembly)))
        others = generator.permutation(self.others[ego]).tolist()
        return Draw(ego, others, start, generator.random((self.people, self.frames)))

    def masks(self, draws: Sequence[Draw], detected: Tensor) -> dict[str, Tensor]:
        """Mask 2 of the items with these detections (B, P, T) by its name in a batch; none at test."""
        lots = [draw.lots[: detected.shape[1]] for draw in draws if draw.lots is not None]
        if not lots:
            return {}
        return {"masked": lowest(torch.from_numpy(np.stack(lots)), detected, self.mask_ratio)}

    def size(self, index: int) -> int:
        """About how many slots item `index` fills: items of one size are batched together."""
        return min(1 + len(self.others[self.egos[index]]), self.people)


class TrackletDataset(EgoDataset):
    """An EgoDataset of a list of Tracklets in memory; an item is a TokenBatch of one sample (B = 1)."""

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
        """`settings`: frames, people, seed and mask_ratio of EgoDataset."""
        assembly, self.appearance_width = assembly_of(profile, train), appearance_width(tracklets)
        chosen: Any = {"width": self.appearance_width, "labels": labels, "assembly": assembly}
        prepared = [prepare(tracklet, stats, **chosen) for tracklet in tracklets]
        labelled = [bool(one.label_weight.any()) for one in prepared]
        scenes, lengths = [t.scene for t in tracklets], [len(t) for t in tracklets]
        self.rows = Rows.of(prepared, scenes) if prepared else None
        self.workspace: dict[str, Tensor] = {}  # memory that batches are placed in, one after another
        super().__init__(scenes, lengths, labelled, train=train, assembly=assembly, **settings)

    def assemble(self, draws: Sequence[Draw], people: int | None = None) -> TokenBatch:
        """As EgoDataset's."""
        return self._filled(self.seated(draws, people))

    def loaded(self, draws: Sequence[Draw]) -> dict[str, Tensor]:
        """Not the rows, but their numbers: the rows themselves lie on the device."""
        return self.seated(draws)

    def place(self, loaded: dict[str, Tensor], device: torch.device) -> TokenBatch:
        """As EgoDataset's."""
        placed = {name: tensor.to(device, non_blocking=True) for name, tensor in loaded.items()}
        return self._filled(placed, self.workspace)

    def _filled(self, seated: dict[str, Tensor], workspace: dict[str, Tensor] | None = None) -> TokenBatch:
        """The batch whose rows and vectors these numbers name; what they are is taken from `seated`."""
        assert self.rows is not None
        taken = self.rows.taken(seated.pop("rows"), workspace)
        vectors = self.rows.appearance(seated.pop("vectors")) if "vectors" in seated else {}
        return TokenBatch(**seated, **taken, **vectors)

    def seated(self, draws: Sequence[Draw], people: int | None = None) -> dict[str, Tensor]:
        """Of a batch of these draws: rows (B, P, T), present, detected and masked, which vectors are used."""
        assert self.rows is not None
        rows = self.rows.seated(draws, frames=self.frames, people=self.people, assembly=self.assembly)
        detected: NDArray[np.bool_] = np.take(self.rows.detected, rows)
        present: NDArray[np.bool_] = np.any(detected, axis=2)
        present[:, 0] = True
        people = people or slots_needed(present)
        shown = torch.from_numpy(detected[:, :people].copy())
        return {
            "rows": torch.from_numpy(rows[:, :people].copy()),
            "present": torch.from_numpy(present[:, :people].copy()),
            "detected": shown,
            **self.masks(draws, shown),
            **self.rows.used_vectors(rows[:, :people]),
        }


def slots_needed(present: NDArray[np.bool_]) -> int:
    """How many slots the last present person of a batch needs: present (B, P)."""
    return int(np.flatnonzero(present.any(axis=0))[-1]) + 1
