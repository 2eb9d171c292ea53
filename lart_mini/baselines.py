"""What LART has to beat, on the same boxes: the class prior and a linear model on one key frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch.nn import functional as F

from lart_mini import ava
from lart_mini.evaluation.key_boxes import KeyBoxes
from lart_mini.lart.tokens import Stats
from lart_mini.tracklets.tracklet import GROUND_TRUTH, Tracklet


def class_prior(tracklets: list[Tracklet], boxes: KeyBoxes) -> NDArray[np.float32]:
    """How often each evaluated class is true at the labelled key boxes (60,): a score blind to the person."""
    labels, known = _labels(tracklets, boxes)
    return labels[known].mean(axis=0).astype(np.float32)


@dataclass(frozen=True)
class KeyframeLinear:
    """Logistic regression on the normalised person-vector (229) of the key frame alone."""

    weight: NDArray[np.float32]  # (229, 60)
    bias: NDArray[np.float32]  # (60,)
    stats: Stats

    def scores(self, tracklets: list[Tracklet], boxes: KeyBoxes) -> NDArray[np.float32]:
        """Scores (N, 60) in 0–1 of the key boxes."""
        logits = _vectors(tracklets, boxes, self.stats) @ self.weight + self.bias
        return expit(logits).astype(np.float32)


def fit_linear(
    tracklets: list[Tracklet], boxes: KeyBoxes, stats: Stats, decay: float = 1e-2
) -> KeyframeLinear:
    """L-BFGS to the optimum of mean binary cross-entropy + `decay`·|weight|²; convex, so without a seed."""
    labels, known = _labels(tracklets, boxes)
    inputs = torch.from_numpy(_vectors(tracklets, boxes, stats)[known])
    targets = torch.from_numpy(labels[known]).float()
    weight = torch.zeros(inputs.shape[1], targets.shape[1], requires_grad=True)
    bias = torch.zeros(targets.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        logits = inputs @ weight + bias
        loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(0).sum()
        loss = loss + decay * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return KeyframeLinear(weight.detach().numpy(), bias.detach().numpy(), stats)


def _labels(tracklets: list[Tracklet], boxes: KeyBoxes) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Labels (N, 60) at the key boxes, and which of them have ground truth (N,)."""
    pairs = list(zip(boxes.tracklet, boxes.t, strict=True))
    labels = ava.to_evaluated(np.stack([tracklets[i].labels[t] for i, t in pairs]))
    return labels, np.array([tracklets[i].label_source[t] == GROUND_TRUTH for i, t in pairs])


def _vectors(tracklets: list[Tracklet], boxes: KeyBoxes, stats: Stats) -> NDArray[np.float32]:
    vectors = np.stack([tracklets[i].vector()[t] for i, t in zip(boxes.tracklet, boxes.t, strict=True)])
    return stats.normalise(vectors)
