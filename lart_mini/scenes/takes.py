"""Which takes a split may use: labelled stretches of clips, and the actions that they show."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lart_mini import ava
from lart_mini.people.clips import Clip

Array = NDArray[np.float32]

TALK_TO, LISTEN_TO, WATCH, STAND, RUN, WALK, WAVE = 79, 74, 80, 12, 10, 14, 69
GUARD_FRAMES = 30  # either side of a time split: two seconds apart in all
SHORTEST = 15  # frames of a segment: half a second


@dataclass(frozen=True)
class Segment:
    """Frames [first, last) of a clip, every one of them labelled."""

    clip: Clip
    first: int
    last: int

    @cached_property
    def actions(self) -> frozenset[int]:
        """AVA ids that occur in the segment."""
        return frozenset((np.flatnonzero(self.clip.labels[self.first : self.last].any(axis=0)) + 1).tolist())


def segments(library: dict[str, Clip], split: str) -> list[Segment]:
    """Labelled stretches of at least half a second that `split` ("train", "val" or "test") may use.

    A clip whose split is "time" gives its earlier part to train and its later part to val, a guard between
    them. Val and test leave out what shows an action that train never does: it could be scored, but not
    learnt.
    """
    learnt = np.ones(ava.CLASS_COUNT, dtype=bool)
    if split != "train":
        shown = [s.clip.labels[s.first : s.last].any(axis=0) for s in segments(library, "train")]
        learnt = np.asarray(np.any(shown, axis=0))
        if learnt[TALK_TO - 1]:  # scenes place listeners before who talks
            learnt[[LISTEN_TO - 1, WATCH - 1]] = True
    found = []
    for clip in library.values():
        first, last = part(clip, split)
        labels = clip.labels[first:last]
        usable = np.asarray(labels.any(axis=1) & ~labels[:, ~learnt].any(axis=1))
        for start, end in runs(usable):
            if end - start >= SHORTEST:
                found.append(Segment(clip, first + start, first + end))
    return found


def part(clip: Clip, split: str) -> tuple[int, int]:
    """Frames [first, last) of a clip that belong to `split`; none if first = last."""
    if clip.split == split:
        return 0, len(clip)
    if clip.split == "time" and clip.split_frame is not None:
        if split == "train":
            return 0, clip.split_frame - GUARD_FRAMES
        if split == "val":
            return clip.split_frame + GUARD_FRAMES, len(clip)
    return 0, 0


def runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and last + 1 of every run of True in a mask (T,)."""
    walled = np.concatenate([[False], mask, [False]])
    edges = np.flatnonzero(walled[1:] != walled[:-1]).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))


def scored_actions(pool: list[Segment]) -> list[int]:
    """AVA ids that segments of `pool` show and AVA evaluates, ascending."""
    return sorted(frozenset().union(*(segment.actions for segment in pool)) & set(ava.EVALUATED))
