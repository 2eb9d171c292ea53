"""What training draws beyond the paper: masks in bursts, windows in a mirror, windows faster or slower.

All of it is decided by an item's own chance (seed, epoch, index), as its window and masks are, and for all
people of the item alike. No class of AVA names a side or a speed, so labels stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lart_mini.lart.assembly import window_starts
from lart_mini.lart.datasets import TrackletDataset
from lart_mini.lart.rows import Draw, Rows
from lart_mini.people.clips import FLIP, mirror_pose
from lart_mini.tracklets.tracklet import Tracklet

# A tracklet's 45 joints in a mirror: OpenPose's 25, the 19 others, the row of zeros.
MIRRORED_45 = np.array([
    0, 1, 5, 6, 7, 2, 3, 4, 8, 12, 13, 14, 9, 10, 11, 16, 15, 18, 17, 22, 23, 24, 19, 20, 21,
    30, 29, 28, 27, 26, 25, 36, 35, 34, 33, 32, 31, 37, 38, 39, 40, 41, 42, 43, 44,
])  # fmt: skip


def mirrored(tracklet: Tracklet) -> Tracklet:
    """The tracklet as a camera's picture turned over shows it; of a video of its own.

    Shape and appearance stay: a body's two sides are taken for alike.
    """
    box = tracklet.box.copy()
    box[:, 0] = tracklet.frame_size[1] - box[:, 0] - box[:, 2]
    return replace(
        tracklet,
        name=tracklet.name.replace("-", "mirrored-", 1),
        pose=mirror_pose(tracklet.pose),
        translation=tracklet.translation * FLIP,
        joints=tracklet.joints[:, MIRRORED_45] * FLIP,
        camera=None if tracklet.camera is None else tracklet.camera * FLIP,
        box=box,
    )


class BurstDataset(TrackletDataset):
    """A TrackletDataset that masks bursts of `burst` frames of a person instead of single tokens."""

    def __init__(self, *given: Any, burst: int = 1, **settings: Any) -> None:
        super().__init__(*given, **settings)
        self.burst = burst

    def draw(self, index: int) -> Draw:
        """As TrackletDataset's, but for the lots."""
        drawn = super().draw(index)
        if drawn.lots is None or self.burst == 1:
            return drawn
        return replace(drawn, lots=in_bursts(drawn.lots, self.burst))


def in_bursts(lots: NDArray[np.float64], burst: int) -> NDArray[np.float64]:
    """Lots (P, T) in [0, 1) that are alike in pieces of `burst` frames, so that `tokens.lowest` masks pieces.

    Each person's frames are cut from a frame drawn on; of the last piece masked it is the first tokens.
    """
    frames = np.arange(lots.shape[1])
    piece = (frames + (lots[:, :1] * burst).astype(np.int64)) // burst  # (P, T)
    first = np.take_along_axis(lots, np.minimum(piece * burst, frames[-1]), axis=1)  # its own
    return first * (1 - 1e-6) + 1e-6 * frames / len(frames)


@dataclass(frozen=True)
class Played(Draw):
    """A Draw whose window is played at another speed."""

    rate: float  # frames of the video from one token to the next


class PlayedRows(Rows):
    """Rows of `Played` draws: token t is the frame nearest to rate · t.

    Nothing is put between two frames: a mean of two noisy poses would be less noisy than any that is scored.
    """

    def seated(self, draws: Sequence[Draw], *, frames: int, **how: Any) -> NDArray[np.int64]:
        """As Rows', each item by itself, so that it does not depend on who stands beside it in a batch."""
        found = []
        for draw in draws:
            at = np.rint(getattr(draw, "rate", 1.0) * np.arange(frames)).astype(np.int64)
            found.append(super().seated([draw], frames=int(at[-1]) + 1, **how)[0][:, at])
        return np.stack(found)


class AugmentedDataset(BurstDataset):
    """A BurstDataset for training: items are played at rates of their own, and half of them in a mirror.

    speed: rates are drawn from 1 / (1 + speed) to 1 + speed, evenly in their logarithm. mirror: the second
    half of the tracklets given are the first half's `mirrored`; an item is of the one or of the other.
    """

    def __init__(
        self, tracklets: Sequence[Tracklet], *, mirror: bool = False, speed: float = 0.0, **settings: Any
    ) -> None:
        super().__init__(tracklets, **settings)
        self.mirror, self.speed = mirror, speed
        self.originals = len(tracklets) // 2 if mirror else len(tracklets)
        self.egos = [ego for ego in self.egos if ego < self.originals]
        if self.rows is not None:
            self.rows = PlayedRows(**vars(self.rows))

    def draw(self, index: int) -> Draw:
        """As BurstDataset's, then the rate, with a start for so long a window, and whether in the mirror."""
        drawn, rate = super().draw(index), 1.0
        generator, ego, start = self.chance.generator, drawn.ego, drawn.start  # still the item's own
        if self.speed:
            rate = float((1 + self.speed) ** generator.uniform(-1, 1))
            span = int(np.rint(rate * (self.frames - 1))) + 1
            start = int(generator.integers(window_starts(self.lengths[ego], span, self.assembly)))
        by = self.originals if self.mirror and generator.random() < 0.5 else 0
        return Played(ego + by, [other + by for other in drawn.others], start, drawn.lots, rate)
