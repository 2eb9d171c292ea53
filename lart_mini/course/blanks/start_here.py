"""Blanks of 00_start_here."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from lart_mini.course.check import Blank, Slip, gives

HERE = "00_start_here"
Array = NDArray[Any]


def _share_inside(places: Array, centre: Any, half: float) -> float:
    """Share of the frames whose place (T,) is less than `half` from the window's centre, a number or (T,)."""
    return float((np.abs(places - centre) < half).mean())


def _walks() -> list[tuple[Array, Any, float]]:
    """A walk past a window that stands, a window that goes along, and a walk to the left."""
    walk = np.linspace(-3, 3, 31)
    return [(walk, 0.5, 0.75), (walk, walk + 0.2 * np.sin(walk), 0.15), (-walk[:20], 2.0, 0.5)]


def _above(scores: Array, names: list[str], least: float) -> list[str]:
    order = np.argsort(-scores, kind="stable")
    return [names[i] for i in order if scores[i] >= least]


def _named_actions(logits: Array, names: list[str], least: float) -> list[str]:
    """Names of the classes whose score, the sigmoid of the logit (C,), is `least` or more, surest first."""
    return _above(expit(logits), names, least)


def _people() -> list[tuple[Array, list[str], float]]:
    """One who does a single thing; one who does three at once; one of whom nothing is sure."""
    names = ["stand", "walk", "talk to", "watch"]
    logits = ([3.0, -2.0, -4.0, -1.0], [0.4, -3.0, 2.0, 1.0], [-1.0, -2.0, 0.1, -1.5])
    return [(np.array(each), names, least) for each, least in zip(logits, (0.5, 0.5, 0.6), strict=True)]


def _class_shares(labels: Array, known: Array) -> Array:
    """Share of the labelled boxes (N,) bool at which each class of labels (N, C) is true, (C,)."""
    return labels[known].mean(axis=0)


def _boxes() -> list[tuple[Array, Array]]:
    """Boxes of people who do one or two things at once; the second time one has no ground truth."""
    labels = np.array([[1, 0, 1], [1, 0, 0], [0, 1, 0], [1, 0, 1], [0, 0, 0]], float)
    everyone, some = np.ones(5, bool), np.array([1, 1, 0, 1, 1], bool)
    return [(labels, everyone), (labels, some)]


BLANKS = (
    Blank(
        "share_inside",
        HERE,
        _share_inside,
        _walks,
        (
            Slip(
                "the distance has a sign: to the left of the window it is negative, and always below half",
                gives(lambda places, centre, half: (places - centre < half).mean()),
            ),
            Slip(
                "half is taken for the whole width; the window reaches that far to each side",
                gives(lambda places, centre, half: _share_inside(places, centre, half / 2)),
            ),
            Slip(
                "this is the number of frames, not their share",
                gives(lambda places, centre, half: _share_inside(places, centre, half) * len(places)),
            ),
            Slip(
                "these are the frames outside the window",
                gives(lambda places, centre, half: 1 - _share_inside(places, centre, half)),
            ),
        ),
    ),
    Blank(
        "named_actions",
        HERE,
        _named_actions,
        _people,
        (
            Slip(
                "the classes share one sum (softmax), as if a person did one thing only; each is asked alone",
                gives(lambda logits, names, least: _above(softmax(logits), names, least)),
            ),
            Slip(
                "logits are compared with `least`; a logit becomes a score by the sigmoid first",
                gives(lambda logits, names, least: _above(logits, names, least)),
            ),
            Slip(
                "the right names in another order: the highest score comes first",
                lambda got, wanted, logits, names, least: sorted(got) == sorted(wanted),
            ),
            Slip(
                "the sigmoid is turned round: it is 1 / (1 + exp(−logit))",
                gives(lambda logits, names, least: _above(expit(-logits), names, least)),
            ),
        ),
    ),
    Blank(
        "class_shares",
        HERE,
        _class_shares,
        _boxes,
        (
            Slip(
                "boxes without ground truth are counted: what stands there means nothing",
                gives(lambda labels, known: labels.mean(axis=0)),
            ),
            Slip(
                "the labels of boxes without ground truth are in the sum: what stands there means nothing",
                gives(lambda labels, known: labels.sum(axis=0) / known.sum()),
            ),
            Slip(
                "the shares are made to add up to 1; a person may do several things at once",
                gives(lambda labels, known: labels[known].sum(axis=0) / labels[known].sum()),
            ),
            Slip(
                "the mean is over the classes of a box; it is wanted over the boxes of a class",
                lambda got, wanted, labels, known: got.shape == (int(known.sum()),),
            ),
            Slip(
                "this is how often, not in which share of the boxes",
                gives(lambda labels, known: labels[known].sum(axis=0)),
            ),
        ),
    ),
)
