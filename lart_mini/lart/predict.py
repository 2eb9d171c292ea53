"""From dense scores to AVA rows: what a model says of every frame, pooled at the key frames' boxes.

A tracklet's logits are read for all of its frames at once; at a key frame the mean over the 12 frames centred
on it counts (section 4). The boxes are the tracker's, the same for every model and baseline that is compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lart_mini import ava
from lart_mini.evaluation.key_boxes import KeyBoxes, pooled
from lart_mini.files import BadInput
from lart_mini.lart.config import Assembly, LARTConfig, Profile
from lart_mini.lart.datasets import EgoDataset, TrackletDataset
from lart_mini.lart.model import LART
from lart_mini.lart.rows import Draw
from lart_mini.lart.store_dataset import StoreDataset
from lart_mini.lart.tokens import Stats
from lart_mini.progress import progress as progress_bar
from lart_mini.tracklets.store import Store
from lart_mini.tracklets.tracklet import Tracklet

AT_ONCE = 256  # tracklets whose dense scores are in memory together, in box_scores


def samples_of(
    members: Store | Sequence[Tracklet], config: LARTConfig, stats: Stats, profile: Profile
) -> EgoDataset:
    """The data set to score tracklets with, each as ego, in their order.

    Raises BadInput where the tracklets have no appearance, or another, than the model reads.
    """
    kind: Any = StoreDataset if isinstance(members, Store) else TrackletDataset
    samples = kind(
        members,
        frames=config.frames,
        people=config.people,
        stats=stats,
        train=False,
        profile=profile,
    )
    width = samples.appearance_width
    if config.appearance and width != config.appearance:
        found = f"width {width}" if width else "none"
        raise BadInput("tracklets", "appearance", f"width {config.appearance}, which the model reads", found)
    return samples


def windows(length: int, frames: int, assembly: Assembly) -> tuple[list[int], NDArray[np.int64]]:
    """Where windows of `frames` begin in a tracklet, and for each of its frames (T,) whose score counts.

    Windows overlap by half, and the one counts in which the frame is most central. Where windows start at
    the first row (the released code, which reads no other) the first one counts for all of its frames.
    """
    last = max(length - frames, 0)
    starts = np.append(np.arange(0, last, max(frames // 2, 1)), last)
    centres = starts + (min(frames, length) - 1) / 2
    owner = np.abs(np.arange(length)[:, None] - centres).argmin(axis=1)
    if assembly.start == "first":
        owner[:frames] = 0
    return starts.tolist(), owner


@torch.no_grad()
def dense_scores(
    model: LART,
    samples: EgoDataset,
    batch_size: int = 16,
    progress: bool = True,
    only: Sequence[int] | None = None,
) -> list[NDArray[np.float32]]:
    """Scores (T, 60) in 0–1 of every tracklet, or of those in `only`, as ego once (test semantics).

    Tracklets of more frames than a sample has are scored in several `windows`.
    """
    device = next(model.parameters()).device
    model.eval()
    tracklets = range(len(samples.others)) if only is None else only
    cuts = {i: windows(samples.lengths[i], samples.frames, samples.assembly) for i in tracklets}
    scores = {i: np.zeros((samples.lengths[i], len(ava.EVALUATED)), np.float32) for i in tracklets}
    todo = [(i, number) for i, (starts, _) in cuts.items() for number in range(len(starts))]
    # Batches of tracklets with equally many people waste nothing on empty slots.
    todo.sort(key=lambda window: min(len(samples.others[window[0]]) + 1, samples.people))
    batches = [todo[i : i + batch_size] for i in range(0, len(todo), batch_size)]
    for batch in progress_bar(batches, desc="predicting", disable=not progress):
        draws = [Draw(i, samples.others[i], cuts[i][0][number], None) for i, number in batch]
        found = model(samples.place(samples.loaded(draws), device))[:, 0].sigmoid().float().cpu().numpy()
        if found.shape[-1] != len(ava.EVALUATED):  # a model of all 80 classes
            found = ava.to_evaluated(found)
        for (i, number), rows in zip(batch, found, strict=True):
            starts, owner = cuts[i]
            t = np.flatnonzero(owner == number)
            scores[i][t] = rows[t - starts[number]]
    return [scores[i] for i in tracklets]


def box_scores(
    model: LART, samples: EgoDataset, boxes: KeyBoxes, batch_size: int = 16, progress: bool = True
) -> NDArray[np.float32]:
    """Pooled scores (N, 60) of the key boxes; only tracklets that have any are scored, some at a time."""
    owners = np.unique(boxes.tracklet)
    chunks = [owners[i : i + AT_ONCE].tolist() for i in range(0, len(owners), AT_ONCE)]
    rows = np.zeros((len(boxes.table), len(ava.EVALUATED)), np.float32)
    for chunk in progress_bar(chunks, desc="predicting", disable=not progress):
        dense = dense_scores(model, samples, batch_size, progress=False, only=chunk)
        scores = dict(zip(chunk, dense, strict=True))
        for row in np.flatnonzero(np.isin(boxes.tracklet, chunk)):
            rows[row] = pooled(scores[int(boxes.tracklet[row])], int(boxes.t[row]))
    return rows
