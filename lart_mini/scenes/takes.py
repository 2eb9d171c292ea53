"""Which takes a split may use: labelled stretches of clips, and the actions that they show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lart_mini import ava
from lart_mini.people.clips import Clip

Array = NDArray[np.float32]

TALK_TO, LISTEN_TO, WATCH, STAND = 79, 74, 80, 12
GUARD_FRAMES = 30  # either side of a time split: two seconds apart in all


@dataclass(frozen=True)
class Segment:
    """Frames [first, last) of a clip, every one of them labelled."""

    clip: Clip
    first: int
    last: int

    @property
    def actions(self) -> frozenset[int]:
        """AVA ids that occur in the segment."""
        return frozenset((np.flatnonzero(self.clip.labels[self.first : self.last].any(axis=0)) + 1).tolist())


# ---------------------------------------------------------------------------------------------- performances


def segments(library: dict[str, Clip], split: str) -> list[Segment]:
    """Labelled stretches of at least half a second that `split` ("train", "val" or "test") may use.

    A clip whose split is "time" gives its earlier part to train and its later part to val, a guard between
    them. Val and test leave out what shows an action that train never does: it could be scored, but not
    learnt.
    """
    learnt = np.ones(80, dtype=bool)
    if split != "train":
        shown = [s.clip.labels[s.first : s.last].any(axis=0) for s in segments(library, "train")]
        learnt = np.any(shown, axis=0)
    found = []
    for clip in library.values():
        first, last = 0, len(clip.pose)
        if clip.split == "time" and clip.split_frame is not None and split in ("train", "val"):
            if split == "train":
                last = clip.split_frame - GUARD_FRAMES
            else:
                first = clip.split_frame + GUARD_FRAMES
        elif clip.split != split:
            continue
        labelled = np.zeros(len(clip.pose) + 2, dtype=bool)
        labelled[1:-1] = clip.labels.any(axis=1) & ~clip.labels[:, ~learnt].any(axis=1)
        labelled[: first + 1] = labelled[last + 1 :] = False
        starts, ends = np.flatnonzero(np.diff(labelled.astype(np.int8))).reshape(-1, 2).T
        found += [Segment(clip, int(a), int(b)) for a, b in zip(starts, ends, strict=True) if b - a >= 15]
    return found


def scored_actions(pool: list[Segment]) -> list[int]:
    """AVA ids that segments of `pool` show and AVA evaluates, ascending."""
    return sorted(frozenset().union(*(segment.actions for segment in pool)) & set(ava.EVALUATED))
