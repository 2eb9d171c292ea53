"""Blanks of 03_detections_to_tracklets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lart_mini.course.check import Blank, Slip, gives
from lart_mini.tracking import kalman
from lart_mini.tracking.tracker import _distance_cost, _may_fail, least_cost

HERE = "03_detections_to_tracklets"

Array = NDArray[np.float64]
Belief = tuple[Array, Array]  # state (2,) and covariance (2, 2)
Pairs = list[tuple[int, int]]


# ----------------------------------------------------------------------------------------------- the filter


def _packed(s: Array, P: Array) -> Array:
    """A belief as the package's filter has it, five numbers."""
    return np.array([s[0], s[1], P[0, 0], P[0, 1], P[1, 1]])


def _unpacked(state: Array) -> Belief:
    return state[:2], np.array([[state[2], state[3]], [state[3], state[4]]])


def _predict(s: Array, P: Array, change: float, damping: float) -> Belief:
    """`kalman.predict` of one number."""
    return _unpacked(kalman.predict(_packed(s, P), np.asarray(change), damping))


def _update(s: Array, P: Array, measured: float, noise: float) -> Belief:
    """`kalman.update` of one number."""
    return _unpacked(kalman.update(_packed(s, P), np.asarray(measured), np.asarray(noise)))


STILL = np.array([2.0, 0.0]), np.diag([0.04, 0.09])
MOVING = np.array([1.0, 0.5]), np.array([[0.5, 0.2], [0.2, 0.3]])


def _in_rows(s: Array, P: Array, change: float, damping: float) -> Belief:
    """What comes of an F that is turned over."""
    F, q = np.array([[1, 0], [1, damping]]), change * np.array([0.5, 1])
    return F @ s, F @ P @ F.T + np.outer(q, q)


def _transposed(s: Array, P: Array, change: float, damping: float) -> Belief:
    F, q = np.array([[1, 1], [0, damping]]), change * np.array([0.5, 1])
    return F @ s, F.T @ P @ F + np.outer(q, q)


def _apart(s: Array, P: Array, change: float, damping: float) -> Belief:
    """Value and speed each with an unrest of its own."""
    own, wide = _predict(s, P, 0.0, damping)
    return own, wide + np.diag((change * np.array([0.5, 1])) ** 2)


# ------------------------------------------------------------------------------------------------ the costs


def _cost(squared: Array, same: float, other: float, freedom: float, failure: float) -> Array:
    """The tracker's cost of a squared distance (n,), as of poses and of colours."""
    squared = np.maximum(squared, 1e-9)
    return _may_fail(_distance_cost(squared, np.asarray(same), other, freedom), failure)


def _unbounded(squared: Array, same: float, other: float, freedom: float, failure: float) -> Array:
    """The same without the chance that somebody looks like a stranger."""
    squared = np.maximum(squared, 1e-9)
    return _distance_cost(squared, np.asarray(same), other, freedom) - np.log1p(-failure)


def _distances() -> list[tuple[Array, float, float, float, float]]:
    """The second example has a distance of nothing, and one beyond all measure."""
    return [
        (np.array([0.5, 2.0, 8.0]), 1.0, 10.0, 4.0, 0.1),
        (np.array([0.0, 0.3, 3.0, 90.0]), 0.27, 1.9, 3.0, 0.02),
    ]


# ------------------------------------------------------------------------------------------------ the pairs


def _assign(cost: Array, gate: float) -> Pairs:
    """The tracker's pairs, by track."""
    tracks, detections = least_cost(cost - gate)
    return list(zip(tracks.tolist(), detections.tolist(), strict=True))


def _tables() -> list[tuple[Array, float]]:
    """The cheapest pair first is dear in the first; in the second, a pair beyond the gate would decide."""
    return [
        (np.array([[1.0, 2.0], [2.0, 9.0]]), 10.0),
        (np.array([[1.0, 8.0, 20.0], [8.5, 100.0, 90.0], [40.0, 50.0, 60.0]]), 9.0),
    ]


def _each_its_cheapest(cost: Array, gate: float) -> Pairs:
    return [(k, int(n)) for k, n in enumerate(cost.argmin(axis=1)) if cost[k, n] < gate]


def _cheapest_first(cost: Array, gate: float) -> Pairs:
    left, pairs = cost.copy(), []
    while left.min() < gate:
        k, n = map(int, np.unravel_index(left.argmin(), left.shape))
        pairs.append((k, n))
        left[k], left[:, n] = np.inf, np.inf
    return sorted(pairs)


def _gate_last(cost: Array, gate: float) -> Pairs:
    everybody = _assign(cost, cost.max() + 1)
    return [(k, n) for k, n in everybody if cost[k, n] < gate]


BLANKS = (
    Blank(
        "kalman_predict",
        HERE,
        _predict,
        lambda: [(*STILL, 0.3, 1.0), (*MOVING, 0.2, 0.8)],
        (
            Slip(
                "the unrest is not there: what happens to a speed adds q qᵀ to the covariance",
                gives(lambda s, P, change, damping: _predict(s, P, 0.0, damping)),
            ),
            Slip(
                "the speed keeps all of itself: δ stands in F",
                gives(lambda s, P, c, _: _predict(s, P, c, 1.0)),
            ),
            Slip("F is on the wrong sides of P: it is F P Fᵀ", gives(_transposed)),
            Slip("F is turned over: the value takes the speed, not the speed the value", gives(_in_rows)),
            Slip(
                "q qᵀ is a matrix (np.outer): one unrest moves value and speed together",
                gives(_apart),
            ),
        ),
    ),
    Blank(
        "kalman_update",
        HERE,
        _update,
        lambda: [(*STILL, 2.5, 0.2), (*MOVING, -1.0, 0.5)],
        (
            Slip(
                "the noise is a standard deviation: the gain has its square",
                gives(lambda s, P, measured, noise: _update(s, P, measured, noise**0.5)),
            ),
            Slip(
                "the measurement is taken for the truth: the gain has P00 + σ² below",
                gives(lambda s, P, measured, noise: _update(s, P, measured, 0.0)),
            ),
            Slip(
                "the surprise is turned round: it is measured minus predicted",
                gives(
                    lambda s, P, measured, noise: (
                        2 * s - _update(s, P, measured, noise)[0],
                        _update(s, P, measured, noise)[1],
                    )
                ),
            ),
            Slip(
                "the covariance stays as it was: whoever measures is surer afterwards",
                gives(lambda s, P, measured, noise: (_update(s, P, measured, noise)[0], P)),
            ),
        ),
    ),
    Blank(
        "distance_cost",
        HERE,
        _cost,
        _distances,
        (
            Slip(
                "same and other have changed places: a likely detection has to cost less",
                gives(lambda d, same, other, k, e: _cost(d, other, same, k, e)),
            ),
            Slip(
                "the scale: a χ² with k degrees of freedom has the mean k, so it is mean / k",
                gives(lambda d, same, other, k, e: _cost(d, same * k, other * k, k, e)),
            ),
            Slip(
                "ε is not there: however far the distance is, the cost stays below −ln ε",
                gives(_unbounded),
            ),
        ),
    ),
    Blank(
        "assign_pairs",
        HERE,
        _assign,
        _tables,
        (
            Slip(
                "the cheapest pair is taken first: the total counts",
                gives(_cheapest_first),
            ),
            Slip(
                "two tracks have one detection: a row's least cost may be another row's, too",
                gives(_each_its_cheapest),
            ),
            Slip(
                "the gate comes after the choice: a pair beyond it has a say in who gets whom",
                gives(_gate_last),
            ),
            Slip(
                "a pair beyond the gate is made",
                lambda got, wanted, cost, gate: any(cost[k, n] >= gate for k, n in got),
            ),
            Slip(
                "nobody is paired: costs are compared with 0, not with the gate",
                gives(lambda cost, gate: _assign(cost, 0.0)),
            ),
        ),
    ),
)
