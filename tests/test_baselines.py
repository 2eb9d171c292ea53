"""The baselines: the prior counts, and the linear model stands at the optimum of its loss."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from reference.linear import fit_class
from scipy.special import expit

from lart_mini import ava
from lart_mini.baselines import KeyframeLinear, class_prior, fit_linear, fit_multinomial
from lart_mini.data.mini_ava import MiniAva
from lart_mini.evaluation import ava_csv
from lart_mini.evaluation.key_boxes import KeyBoxes, key_boxes
from lart_mini.lart.tokens import stats_of
from lart_mini.tracklets.tracklet import Tracklet

DECAY = 1e-2


@pytest.fixture(scope="module")
def learnt(tiny: MiniAva) -> list[Tracklet]:
    return tiny.tracklets("ava-train")


@pytest.fixture(scope="module")
def boxes(learnt: list[Tracklet]) -> KeyBoxes:
    return key_boxes(learnt)


@pytest.fixture(scope="module")
def model(learnt: list[Tracklet], boxes: KeyBoxes) -> KeyframeLinear:
    return fit_linear(learnt, boxes, stats_of(learnt), DECAY)


@pytest.fixture(scope="module")
def known(learnt: list[Tracklet], boxes: KeyBoxes, model: KeyframeLinear) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (N, 229) and targets (N, 60) of the labelled key boxes, one by one."""
    inputs, targets = [], []
    for i, t in zip(boxes.tracklet, boxes.t, strict=True):
        if learnt[i].label_source[t] == 2:
            inputs.append((learnt[i].vector()[t] - model.stats.mean) / model.stats.std)
            targets.append(ava.to_evaluated(learnt[i].labels[t]))
    return np.stack(inputs), np.stack(targets)


def test_the_prior_counts_the_labelled_boxes(tiny: MiniAva, learnt: list[Tracklet], boxes: KeyBoxes) -> None:
    prior = class_prior(learnt, boxes)
    truth = ava_csv.read_groundtruth(tiny.groundtruth("ava-train"))
    people = truth.select("video", "second", "person").n_unique()
    # In training every labelled box is given to the tracker, so that the CSV counts the same.
    for action, share in zip(ava.EVALUATED, prior, strict=True):
        assert share == pytest.approx((truth["action"] == action).sum() / people), ava.NAMES[action]
    assert prior.max() > 0.2 and (prior == 0).any()


def test_the_linear_model_is_at_its_optimum(
    model: KeyframeLinear, known: tuple[np.ndarray, np.ndarray]
) -> None:
    inputs, targets = (array.astype(np.float64) for array in known)
    chance = expit(inputs @ model.weight + model.bias)
    error = (chance - targets) / len(targets)
    start = (0.5 - targets) / len(targets)
    for gradient, at_start in (
        (inputs.T @ error + 2 * DECAY * model.weight, inputs.T @ start),
        (error.sum(axis=0), start.sum(axis=0)),
    ):
        assert np.abs(gradient).max() < 0.01 * np.abs(at_start).max()


def test_the_linear_model_is_the_literal_one(
    model: KeyframeLinear, known: tuple[np.ndarray, np.ndarray], learnt: list[Tracklet], boxes: KeyBoxes
) -> None:
    inputs, targets = known
    occurring = np.flatnonzero(targets.any(axis=0))
    assert len(occurring) > 8
    for column in occurring[::3]:
        weight, bias = fit_class(inputs, targets[:, column], DECAY)
        chance = expit(inputs @ weight + bias)
        ours = expit(inputs @ model.weight[:, column] + model.bias[column])
        np.testing.assert_allclose(ours, chance, atol=2e-3)
    scores = model.scores(learnt, boxes)
    assert scores.shape == (len(boxes.table), 60) and 0 <= scores.min() and scores.max() <= 1


def test_a_box_is_scored_by_its_own_frame_alone(
    model: KeyframeLinear, learnt: list[Tracklet], boxes: KeyBoxes
) -> None:
    scores = model.scores(learnt, boxes)
    for row in (0, len(scores) // 2, len(scores) - 1):
        vector = learnt[boxes.tracklet[row]].vector()[boxes.t[row]]
        logits = (vector - model.stats.mean) / model.stats.std @ model.weight + model.bias
        np.testing.assert_allclose(scores[row], expit(logits), atol=1e-5)


def test_pseudo_labels_are_no_truth(learnt: list[Tracklet], boxes: KeyBoxes) -> None:
    def prior(source: int) -> np.ndarray:
        """Of the tracklets with the first five's labels from that source, all classes true."""
        all_true = [replace(t, labels=np.ones_like(t.labels)) for t in learnt[:5]]
        told = [replace(t, label_source=np.full(len(t), source, np.int8)) for t in all_true]
        return class_prior([*told, *learnt[5:]], boxes)

    none, pseudo = prior(0), prior(1)
    np.testing.assert_array_equal(pseudo, none)
    assert (none != class_prior(learnt, boxes)).any()


def test_the_multinomial_model_is_at_its_optimum() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(3, [1, 20, 0.1, 0], (60, 4))  # the last never changes
    labels = (features[:, 1] > 3).astype(np.int64) + (features[:, 2] > 3.05)
    model = fit_multinomial(features, labels, 4, DECAY)  # nobody shows the fourth class
    chance = model.scores(features)
    np.testing.assert_allclose(chance.sum(axis=1), 1)
    assert (chance.argmax(axis=1) == labels).mean() > 0.7 and chance[:, 3].max() < 0.2
    inputs = (features - model.mean) / model.std
    error = (chance - np.eye(4)[labels]) / len(labels)
    np.testing.assert_allclose(inputs.T @ error + 2 * DECAY * model.weight, 0, atol=1e-4)
    np.testing.assert_allclose(error.sum(axis=0), 0, atol=1e-4)
    assert not model.weight[3].any()
    # Another unit is no other model: inputs are standardised.
    scaled = fit_multinomial(features * 100, labels, 4, DECAY)
    np.testing.assert_allclose(scaled.scores(features * 100), chance, atol=1e-3)
