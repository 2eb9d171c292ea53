"""The teacher: a single-window, Eulerian classifier that gives pseudo labels and appearance vectors at 1 Hz.

The paper runs MViT on a clip with the person's box at its middle frame and keeps, for every second of a
track, its scores (pseudo labels, section 4) and the features before its last layer (appearance U, section
3.2). Here the same part is played by a small network trained on the labelled tracklets. It is Eulerian as
MViT is: it watches the *place* where the person stands at the middle frame, for one second, and sees whoever
is there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from lart_mini import ava
from lart_mini.boxes import overlap
from lart_mini.lart.datasets import group_others
from lart_mini.tracklets.tracklet import GROUND_TRUTH, Tracklet, middles

OFFSETS = (-14, -9, -5, 0, 5, 9, 14)  # frames of the window that the teacher looks at
LOOKED_AT = 44  # joints; the forty-fifth row of the released format is zero
APPEARANCE = 64  # numbers of its appearance vector


@dataclass(frozen=True)
class Glimpses:
    """What the teacher saw: one row a tracklet and second.

    features (N, 7·133): at each offset 44 joints about the pelvis (m, camera frame) of whoever is in the
    middle frame's box, and whether anybody was. tracklet (N,) and middle (N,) are indices of tracklet and its
    frame.
    """

    features: NDArray[np.float32]
    tracklet: NDArray[np.int64]
    middle: NDArray[np.int64]


def look(tracklets: list[Tracklet]) -> Glimpses:
    """Watch one place for a second, for every tracklet and every second in which it has a detection."""
    features, owners, times = [], [], []
    for index, others in enumerate(group_others(tracklets)):
        scene = [tracklets[index], *(tracklets[other] for other in others)]
        middle = middles(tracklets[index])
        features.append(_glimpses(scene, middle))
        owners.append(np.full(len(middle), index))
        times.append(middle)
    return Glimpses(*(np.concatenate(part) for part in (features, owners, times)))


def _glimpses(scene: list[Tracklet], middle: NDArray[np.int64]) -> NDArray[np.float32]:
    """(M, 7·133): whoever best fills the boxes that scene[0] has at `middle`, seen OFFSETS frames away."""
    at = scene[0].frame[middle, None] + np.array(OFFSETS)  # (M,7)
    found = np.zeros((*at.shape, LOOKED_AT * 3 + 1), np.float32)
    best, place = np.full(at.shape, 0.1, np.float32), scene[0].box[middle, None]
    for person in scene:
        t = np.minimum(np.searchsorted(person.frame, at), len(person) - 1)
        share = np.where(person.detected[t] & (person.frame[t] == at), overlap(place, person.box[t]), 0)
        better = share > best
        joints = person.joints[t[better], :LOOKED_AT]
        found[better, :-1] = (joints - joints[:, 8:9]).reshape(-1, LOOKED_AT * 3)
        found[better, -1] = 1
        best = np.maximum(best, share)
    return found.reshape(len(middle), len(OFFSETS) * (LOOKED_AT * 3 + 1))


class Teacher(nn.Module):
    """Features of a glimpse → 60 logits, by one hidden layer whose activations are the appearance vector."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        inputs = len(OFFSETS) * (LOOKED_AT * 3 + 1)
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("std", torch.ones(inputs))
        self.hidden = nn.Linear(inputs, APPEARANCE)
        self.out = nn.Linear(APPEARANCE, len(ava.EVALUATED))

    def features(self, glimpses: torch.Tensor) -> torch.Tensor:
        """Appearance (N, D) of glimpses (N, 931)."""
        return F.relu(self.hidden((glimpses - self.mean) / self.std))

    def forward(self, glimpses: torch.Tensor) -> torch.Tensor:
        return self.out(F.dropout(self.features(glimpses), 0.5, self.training))


def fit_teacher(labelled: list[Tracklet], seed: int = 0, epochs: int = 40) -> Teacher:
    """Train a teacher on the ground truth of `labelled`, training takes only: AdamW, binary cross-entropy."""
    seen = look(labelled)
    at = list(zip(seen.tracklet, seen.middle, strict=True))
    truth = [labelled[i].label_source[t] == GROUND_TRUTH for i, t in at]
    labels = np.stack([labelled[i].labels[t] for i, t in at])[truth]
    inputs = torch.from_numpy(seen.features[truth])
    targets = torch.from_numpy(ava.to_evaluated(labels)).float()
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        teacher = Teacher()
        teacher.mean, teacher.std = inputs.mean(0), inputs.std(0) + 1e-2
        optimizer = torch.optim.AdamW(teacher.parameters(), lr=2e-3, weight_decay=0.05)
        for _ in range(epochs):
            for rows in torch.randperm(len(inputs), generator=generator).split(64):
                loss = F.binary_cross_entropy_with_logits(teacher(inputs[rows]), targets[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return teacher.eval()


@torch.no_grad()
def teach(teacher: Teacher, tracklets: list[Tracklet], labels: bool = True) -> list[Tracklet]:
    """Give each second of each tracklet the teacher's appearance vector, and with `labels` its pseudo labels.

    Every frame of a second shares both, as in section 3.2; frames of a second without any detection get
    zeros, and label_source 0. With `labels` ground truth is replaced, so that pre-training sees pseudo labels
    only.
    """
    seen = look(tracklets)
    inputs = torch.from_numpy(seen.features)
    # Row −1, of zeros, is for seconds in which nobody was detected.
    appearance = np.pad(teacher.features(inputs).numpy(), ((0, 1), (0, 0)))
    scores = np.pad(ava.to_all(teacher(inputs).sigmoid().numpy()).astype(np.float32), ((0, 1), (0, 0)))
    taught = []
    for index, tracklet in enumerate(tracklets):
        rows = np.flatnonzero(seen.tracklet == index)
        key = ava.nearest_keyframe(tracklet.frame)
        row_of = dict(zip(key[seen.middle[rows]].tolist(), rows.tolist(), strict=True))
        at = np.array([row_of.get(number, -1) for number in key.tolist()])
        changed = replace(tracklet, appearance=appearance[at])
        if labels:
            changed = replace(changed, labels=scores[at], label_source=(at >= 0).astype(np.int8))
        taught.append(changed)
    return taught
