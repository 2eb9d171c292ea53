"""What the networks have to beat: on boxes the class prior and a linear model on one key frame, on videos
with one label multinomial linear models, of everybody's own motion (blind) or of pairs of people (pairwise).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit, softmax
from torch.nn import functional as F

from lart_mini import ava
from lart_mini.data.labelled_videos import Actors
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
    weight, bias = fit_logistic(_vectors(tracklets, boxes, stats)[known], labels[known], decay)
    return KeyframeLinear(weight, bias, stats)


def fit_logistic(
    features: NDArray[np.float32],
    labels: NDArray[np.floating],
    decay: float = 1e-2,
    iterations: int = 200,
    offset: NDArray[np.floating] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weight (F, C) and bias (C,) of one logistic regression for each column of labels (N, C) in 0–1.

    L-BFGS to the optimum of mean binary cross-entropy, summed over classes, + `decay`·|weight|², or for so
    many iterations; features (N, F) should be of spread 1 or so, since one decay holds for all. `offset`
    (N, C): logits to which those of the features are added.
    """
    inputs, targets = torch.from_numpy(features), torch.from_numpy(labels).float()
    given = torch.zeros_like(targets) if offset is None else torch.from_numpy(offset).float()
    weight = torch.zeros(inputs.shape[1], targets.shape[1], requires_grad=True)
    bias = torch.zeros(targets.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=iterations, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        logits = given + inputs @ weight + bias
        loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(0).sum()
        loss = loss + decay * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return weight.detach().numpy(), bias.detach().numpy()


def _labels(tracklets: list[Tracklet], boxes: KeyBoxes) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Labels (N, 60) at the key boxes, and which of them have ground truth (N,)."""
    pairs = list(zip(boxes.tracklet, boxes.t, strict=True))
    labels = ava.to_evaluated(np.stack([tracklets[i].labels[t] for i, t in pairs]))
    return labels, np.array([tracklets[i].label_source[t] == GROUND_TRUTH for i, t in pairs])


def _vectors(tracklets: list[Tracklet], boxes: KeyBoxes, stats: Stats) -> NDArray[np.float32]:
    vectors = np.stack([tracklets[i].vector()[t] for i, t in zip(boxes.tracklet, boxes.t, strict=True)])
    return stats.normalise(vectors)


# ------------------------------------------------------------------------------- videos with one label each


@dataclass(frozen=True)
class Multinomial:
    """Multinomial logistic regression on standardised features."""

    weight: NDArray[np.float64]  # (F, C)
    bias: NDArray[np.float64]  # (C,)
    mean: NDArray[np.float64]  # (F,)
    std: NDArray[np.float64]  # (F,)

    def scores(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Probabilities (N, C) of the classes for features (N, F)."""
        return softmax((features - self.mean) / self.std @ self.weight + self.bias, axis=1)


def fit_multinomial(
    features: NDArray[np.floating], labels: NDArray[np.int64], classes: int, decay: float = 1e-2
) -> Multinomial:
    """L-BFGS to the optimum of mean cross-entropy + `decay`·|weight|²; convex, so without a seed.

    features (N, F), labels (N,) of `classes` classes. What hardly varies is not scaled up.
    """
    mean, std = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    std = np.where(std < 1e-4, 1, std)
    inputs, targets = torch.from_numpy((features - mean) / std), torch.from_numpy(labels)
    weight = torch.zeros(inputs.shape[1], classes, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=500, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(inputs @ weight + bias, targets) + decay * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return Multinomial(weight.detach().numpy(), bias.detach().numpy(), mean, std)


def blind_features(actors: Actors) -> NDArray[np.float64]:
    """How everybody moves, wherever they are: of each video mean, spread, least and most over its people.

    (N, 4·MOTION). A model of these knows nothing of who stands where.
    """
    return np.stack([_summary(actors.motion[own].astype(np.float64)) for own in _people(actors)])


def pairwise_features(actors: Actors) -> NDArray[np.float64]:
    """Distances, bearings and headings of all pairs of people at three moments (N, F); `pair_features`."""
    found = [pair_features(actors.place[own], actors.facing[own]) for own in _people(actors)]
    return np.stack(found)


def pair_features(place: NDArray[np.floating], facing: NDArray[np.floating]) -> NDArray[np.float64]:
    """Relations (F,) of P ≥ 2 people, from places (P,T,2), x and z in metres, and headings (P,T), radians.

    In the first, the middle and the last frame, of each person and another: the distance, cosines of the
    bearing (0: the other is straight ahead) and of the difference of headings, of twice these, and whether
    both look at each other; and how the distance changes. Of all pairs mean, spread, least and most, the mean
    of everybody's nearest besides. Turning, moving or mirroring the world changes none of it, nor does
    another order of people.
    """
    people, frames = facing.shape
    first, second = np.nonzero(~np.eye(people, dtype=bool))  # ordered pairs, by the first
    told, distances = [np.array([people], np.float64)], []
    for t in (0, frames // 2, frames - 1):
        way = (place[second, t] - place[first, t]).astype(np.float64)
        distance = np.linalg.norm(way, axis=1)
        bearing = np.arctan2(way[:, 0], way[:, 1]) - facing[first, t]
        back = np.arctan2(-way[:, 0], -way[:, 1]) - facing[second, t]
        turned = facing[second, t].astype(np.float64) - facing[first, t]
        angles = [np.cos(bearing), np.cos(2 * bearing), np.cos(turned), np.cos(2 * turned)]
        pairs = np.stack([distance, *angles, np.cos(bearing) * np.cos(back)], axis=1)
        nearest = distance.reshape(people, -1).argmin(axis=1)
        by_person = pairs.reshape(people, people - 1, -1)
        told += [_summary(pairs), by_person[np.arange(people), nearest].mean(axis=0)]
        distances.append(distance)
    changes = np.stack([distances[1] - distances[0], distances[2] - distances[1]], axis=1)
    return np.concatenate([*told, _summary(changes)])


def _summary(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean, standard deviation, least and most (4·F,) of rows (K, F)."""
    return np.concatenate([rows.mean(axis=0), rows.std(axis=0), rows.min(axis=0), rows.max(axis=0)])


def _people(actors: Actors) -> list[NDArray[np.int64]]:
    """Rows of the actors of each video."""
    return [np.flatnonzero(actors.video == video) for video in np.unique(actors.video)]
