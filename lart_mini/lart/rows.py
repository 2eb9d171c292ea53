"""Tracklets in memory as one table of rows, from which whole batches are taken at once.

What `assembly.assemble` does for one sample, person by person, is done here for all samples of a batch: first
the number of the row that fills each slot and frame, (B, P, T), then one copy of those rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lart_mini.lart.assembly import ROW_FIELDS, PreparedTracklet, used_entries
from lart_mini.lart.config import Assembly

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Draw:
    """What chance, or the order of the tracklets, decides about one item."""

    ego: int  # index of the tracklet
    others: Sequence[int]  # of its scene, in the order in which they are offered a slot
    start: int  # row of the ego at which the window begins
    lots: NDArray[np.float64] | None  # (P, T): the tokens with the lowest are masked; None at test


@dataclass(frozen=True, eq=False)
class Rows:
    """The frames of all tracklets, one row each; row 0 is nobody: zero, not detected."""

    first: Numbers  # (K,) row of each tracklet's first frame
    length: Numbers  # (K,)
    moment: Numbers  # (R,) equal for rows of one scene and frame, and growing with the frame
    detected: NDArray[np.bool_]  # (R,)
    fields: dict[str, Tensor]  # (R, …) of what a batch holds of a row
    vectors: Tensor | None  # (1 + V, D) appearance of all tracklets, below a first one of zeros
    vector: Numbers  # (R,) into vectors, -1 where there is none
    # Moments to rows, without a search: row[place[k] + moment - moment[first[k]]], 0 where k has none.
    place: Numbers  # (K,)
    row: Numbers  # (spans of all,)
    copies: dict[torch.device, dict[str, Tensor]] = field(default_factory=dict)  # see `on`

    @classmethod
    def of(cls, prepared: Sequence[PreparedTracklet], scenes: Sequence[str]) -> Rows:
        """The table of prepared tracklets, each of at least one frame, and the scene of each."""
        length = np.array([len(one) for one in prepared], np.int64)
        first = 1 + np.cumsum(length) - length
        moment = _moments([one.frame for one in prepared], scenes)
        span = moment[first + length - 1] - moment[first] + 1
        place = np.cumsum(span) - span
        row = np.zeros(span.sum(), np.int64)
        before = 1 + np.cumsum([0, *(len(one.appearance) for one in prepared)])
        vector = []
        for k, one in enumerate(prepared):
            own = first[k] + np.arange(length[k])
            row[place[k] + moment[own] - moment[first[k]]] = own
            vector.append(np.where(one.appearance_index >= 0, one.appearance_index + before[k], -1))
        given = {name: [getattr(one, name) for one in prepared] for name in ROW_FIELDS}
        width = prepared[0].appearance.shape[1]
        return cls(
            first=first,
            length=length,
            moment=moment,
            detected=_stacked([one.detected for one in prepared]),
            fields={n: torch.from_numpy(_stacked(of)) for n, of in given.items() if of[0] is not None},
            vectors=torch.from_numpy(_stacked([one.appearance for one in prepared])) if width else None,
            vector=_stacked(vector, -1),
            place=place,
            row=row,
        )

    def seated(
        self, draws: Sequence[Draw], *, frames: int, people: int, assembly: Assembly
    ) -> NDArray[np.int64]:
        """Row of each slot and frame (B, P, T), ego first; 0 where there is nobody. As `assembly.seats`."""
        egos = np.array([draw.ego for draw in draws])
        starts = np.array([draw.start for draw in draws])
        usable = self.length[egos] - (assembly.last_frame == "dropped")
        at = starts[:, None] + np.arange(frames)  # (B, T) of the ego
        inside = at < usable[:, None]
        ego = np.where(inside, self.first[egos][:, None] + at, 0)
        window = self.moment[ego]  # (B, T)

        most = max((len(draw.others) for draw in draws), default=0)
        others = np.array([[*draw.others, *[-1] * (most - len(draw.others))] for draw in draws], np.int64)
        others = others.reshape(len(draws), most)  # (B, C), -1 for none
        rows = self._at(others, window, inside)  # (B, C, T)
        if assembly.spanning == "dropped":
            rows[self._spanning(others, window, inside)] = 0
        there = others >= 0
        if assembly.slots == "seen":
            there &= self.detected[rows].any(axis=2)
        slot = np.cumsum(there, axis=1)  # of an other who is there; the ego's is 0
        there &= slot < people
        seats = np.zeros((len(draws), people, frames), np.int64)
        seats[:, 0] = ego
        sample, other = np.nonzero(there)
        seats[sample, slot[sample, other]] = rows[sample, other]
        return seats

    def _at(self, others: Numbers, window: Numbers, inside: NDArray[np.bool_]) -> Numbers:
        """Rows (B, C, T) of the others at the frames of a window (B, T), 0 where they have none."""
        begins, ends = self._ends(others)
        known = (begins[..., None] <= window[:, None]) & (window[:, None] <= ends[..., None])
        known &= inside[:, None] & (others >= 0)[..., None]
        at = self.place[others][..., None] + window[:, None] - begins[..., None]
        return np.where(known, self.row[np.where(known, at, 0)], 0)

    def _ends(self, others: Numbers) -> tuple[Numbers, Numbers]:
        """First and last moment of tracklets."""
        first = self.first[others]
        return self.moment[first], self.moment[first + self.length[others] - 1]

    def _spanning(self, others: Numbers, window: Numbers, inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which others (B, C) begin before a window and end after it."""
        begins, ends = self._ends(others)
        last = np.take_along_axis(window, inside.sum(axis=1, keepdims=True) - 1, axis=1)
        return (begins < window[:, :1]) & (ends > last) & inside[:, :1]

    def taken(self, rows: Tensor, workspace: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
        """What a batch holds of these rows (B, P, T), on their device: tensors (B, P, T, …) by name.

        A CPU takes longer to get new memory than to fill it: with a `workspace` it is the same each time.
        """
        flat, found = rows.flatten(), {}
        for name in self.fields:
            own = self.on(rows.device)[name]
            out = None
            if workspace is not None and rows.device.type == "cpu":
                out = _room(workspace, name, len(flat), own)
            chosen = torch.index_select(own, 0, flat, out=out)
            found[name] = chosen.view(*rows.shape, *own.shape[1:])
        return found

    def on(self, device: torch.device) -> dict[str, Tensor]:
        """The fields and the vectors on a device, brought there once."""
        if device not in self.copies:
            vectors = {} if self.vectors is None else {"vectors": self.vectors}
            self.copies[device] = {name: own.to(device) for name, own in {**self.fields, **vectors}.items()}
        return self.copies[device]

    def used_vectors(self, rows: Numbers) -> dict[str, Tensor]:
        """Appearance of these rows (B, P, T): each slot's vectors (B, P, K), and an index into them."""
        if self.vectors is None:
            return {}
        used, index = used_vectors(self.vector[rows])
        return {"vectors": torch.from_numpy(used), "appearance_index": torch.from_numpy(index)}

    def appearance(self, used: Tensor) -> dict[str, Tensor]:
        """Appearance vectors (B, P, K, D) by the numbers (B, P, K) that used_vectors gave."""
        return {"appearance": self.on(used.device)["vectors"][used.clamp(min=0)]}


def used_vectors(index: Numbers) -> tuple[Numbers, Numbers]:
    """Each slot's vectors that differ (B, P, K), filled up with -1, and the index (B, P, T) into them."""
    index = index.copy()
    found = {}
    for slot in np.ndindex(*index.shape[:2]):
        found[slot], index[slot] = used_entries(index[slot])
    used = np.full((*index.shape[:2], max(map(len, found.values()))), -1)
    for slot, numbers in found.items():
        used[slot][: len(numbers)] = numbers
    return used, index


def _room(workspace: dict[str, Tensor], name: str, count: int, like: Tensor) -> Tensor:
    """The first `count` rows of a piece of memory, made larger where it has fewer."""
    if name not in workspace or len(workspace[name]) < count:
        workspace[name] = like.new_empty(count, *like.shape[1:])
    return workspace[name][:count]


def _moments(frames: Sequence[NDArray], scenes: Sequence[str]) -> Numbers:
    """Number of each row's scene and frame among all that occur, in order; -1 for the row of nobody.

    Frame numbers themselves may be far apart, and would make long tables.
    """
    numbers, frame = np.unique(np.concatenate(frames), return_inverse=True)
    scene = np.unique(np.asarray(scenes), return_inverse=True)[1].repeat([len(one) for one in frames])
    return _stacked([np.unique(scene * len(numbers) + frame, return_inverse=True)[1]], -1)


def _stacked(parts: Sequence[NDArray], nobody: float = 0) -> NDArray:
    """The rows of all parts, one above another, below a first one that stands for nobody."""
    none = np.full_like(parts[0][:1], nobody)
    return np.concatenate([none, *parts])
