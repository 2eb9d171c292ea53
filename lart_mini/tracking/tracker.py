"""The tracker: detections linked into tracks by place, pose and appearance, as PHALP does (section C.1).

A track predicts where its person will be, in which pose, and how the person looks. Each pair of a track and a
detection costs −ln of how much better the track explains the detection than a stranger would:

    cost = −ln p(detection | track) + ln p(detection | stranger)        a sum over place, pose and appearance

The Hungarian method picks the pairs of least total cost, and no pair that costs more than the gate. One
pass, frame by frame. Every switch of `TrackerConfig` takes one term away; `TrackerConfig.iou()` keeps
overlap alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from lart_mini.boxes import centre_ln_from_xywh, overlap, xywh_from_centre_ln
from lart_mini.files import BadInput
from lart_mini.tracking import kalman
from lart_mini.tracking.detections import Detections
from lart_mini.tracking.kalman import SPREAD, VALUE


@dataclass(frozen=True)
class TrackerConfig:
    """What the tracker looks at, and what it expects.

    The amounts come from scenes of training takes alone: distances as `benchmarks/tracking.py measure` prints
    them; gate, damping, noises, pose_freedom and iou_needed by trying a few values.
    """

    use_place: bool = True  # the term of the place in 3D
    use_pose: bool = True  # the term of the pose
    use_appearance: bool = True  # the term of the appearance
    use_iou: bool = False  # the term of the boxes' overlap
    gate: float = 9.0  # a pair that costs more is never made: strangers are that much rarer, −ln
    place_noise: float = 0.0006  # of x/z and y/z as measured, standard deviation
    place_change: float = 0.0008  # of their speed in a frame
    depth_noise: float = 0.0056  # the same two of ln z
    depth_change: float = 0.0042
    place_stranger: float = -2.1  # mean −ln density of somebody else's x/z, y/z, ln z
    tails: float = 4.0  # degrees of freedom of Student's t: people turn quicker than any Gaussian allows
    pose_same: float = 0.7  # mean squared distance to the predicted pose: the same person
    pose_fades: float = 0.45  # what a frame without a detection adds to it
    pose_other: float = 30.0  # another person
    pose_freedom: float = 4.0  # degrees of freedom of these distances
    pose_kept: float = 0.95  # share of what is unusual in a pose that is still there a frame later
    appearance_same: float = 0.27  # mean squared distance to the track's mean colours: the same person
    appearance_other: float = 1.9  # another person
    appearance_freedom: float = 3.0
    failure: float = 0.02  # chance that pose or colours are as a stranger's: a mean pose, somebody in front
    memory: float = 0.05  # share of the newest detection in the running means of pose and appearance
    iou_weight: float = 10.0  # cost of one unit of overlap
    iou_needed: float = 0.1  # overlap that costs nothing
    box_noise: float = 0.02  # of the box's height, standard deviation
    box_change: float = 0.01
    damping: float = 0.8  # share of a speed that is kept for another frame
    max_age: int = 50  # frames a track lives on without a detection
    n_init: int = 5  # detections in a row that confirm a track; a ground-truth box does so at once
    shot: str = "end"  # at a cut: "end" every track, or "reset" what it knows of place, pose and box

    def __post_init__(self) -> None:
        if self.shot not in ("end", "reset"):
            raise BadInput("TrackerConfig", "shot", "end | reset", self.shot)

    @classmethod
    def lart(cls) -> TrackerConfig:
        """The 3D tracker: place, pose and appearance, as PHALP."""
        return cls()

    @classmethod
    def iou(cls) -> TrackerConfig:
        """The baseline in the image plane, as SORT: boxes at constant velocity and their overlap."""
        return cls(use_place=False, use_pose=False, use_appearance=False, use_iou=True, gate=0.0)


@dataclass
class Tracks:
    """The state of K tracks, one row each."""

    id: NDArray[np.int64]  # (K,)
    hits: NDArray[np.int64]  # (K,) detections so far
    missed: NDArray[np.int64]  # (K,) frames since the last one
    confirmed: NDArray[np.bool_]  # (K,)
    cut: NDArray[np.bool_]  # (K,) not seen since a cut: place, pose and box mean nothing
    place: NDArray[np.float64]  # (K,3,5) filter states of x/z, y/z, ln z
    box: NDArray[np.float64]  # (K,4,5) the same of the centre's x, y and ln width, ln height
    pose: NDArray[np.float64]  # (K,216) rotation matrices
    usual: NDArray[np.float64]  # (K,216) running mean of the poses
    appearance: NDArray[np.float64]  # (K,A)

    def __len__(self) -> int:
        return len(self.id)

    def __getitem__(self, rows: Any) -> Tracks:
        return Tracks(*(array[rows] for array in vars(self).values()))

    def and_(self, others: Tracks) -> Tracks:
        """These tracks, then the others."""
        return Tracks(
            *(np.concatenate(pair) for pair in zip(vars(self).values(), vars(others).values(), strict=True))
        )


@dataclass(frozen=True)
class Measured:
    """What a frame's n detections say of the terms."""

    place: NDArray[np.float64]  # (n,3) x/z, y/z, ln z: noise of depth then moves one number only
    box: NDArray[np.float64]  # (n,4) the centre's x, y, ln width, ln height
    pose: NDArray[np.float64]  # (n,216)
    appearance: NDArray[np.float64]  # (n,A)

    @classmethod
    def of(cls, detections: Detections) -> Measured:
        """Take the measurements from detections."""
        depth = detections.translation[:, 2:].astype(float)
        return cls(
            place=np.concatenate([detections.translation[:, :2] / depth, np.log(depth)], axis=1),
            box=centre_ln_from_xywh(detections.box.astype(float)),
            pose=detections.pose.reshape(len(depth), 216).astype(float),
            appearance=detections.appearance.astype(float),
        )

    def __getitem__(self, rows: Any) -> Measured:
        return Measured(*(array[rows] for array in vars(self).values()))


# ------------------------------------------------------------------------------------------------------ costs


def place_cost(tracks: Tracks, seen: Measured, config: TrackerConfig) -> NDArray[np.float64]:
    """(K,n): Student's t about the predicted place, as wide as the prediction is uncertain."""
    spread = tracks.place[..., SPREAD] + _place_noise(config) ** 2  # (K,3)
    off = seen.place[None] - tracks.place[:, None, :, VALUE]  # (K,n,3)
    squared = (off**2 / spread[:, None]).sum(axis=-1)  # Mahalanobis
    tails = config.tails
    norm = math.lgamma(tails / 2) - math.lgamma((tails + 3) / 2) + 1.5 * math.log(tails * math.pi)
    own = norm + np.log(spread).sum(axis=1)[:, None] / 2 + (tails + 3) / 2 * np.log1p(squared / tails)
    return own - config.place_stranger


def pose_cost(tracks: Tracks, seen: Measured, config: TrackerConfig) -> NDArray[np.float64]:
    """(K,n): squared distance of rotation matrices; what is known of a pose fades while nobody is seen.

    A pose is predicted to stay, and to go back, slowly, to what is usual in the track: on training takes that
    is nearer than turning on at the last speed.
    """
    same = np.minimum(config.pose_same + config.pose_fades * (tracks.missed - 1), config.pose_other)
    squared = ((seen.pose[None] - tracks.pose[:, None]) ** 2).sum(axis=-1)
    cost = _distance_cost(squared, same[:, None], config.pose_other, config.pose_freedom)
    return _may_fail(cost, config.failure)


def appearance_cost(tracks: Tracks, seen: Measured, config: TrackerConfig) -> NDArray[np.float64]:
    """(K,n): squared distance of the colours from the track's running mean."""
    squared = ((seen.appearance[None] - tracks.appearance[:, None]) ** 2).sum(axis=-1)
    same = np.full((len(tracks), 1), config.appearance_same)
    cost = _distance_cost(squared, same, config.appearance_other, config.appearance_freedom)
    return _may_fail(cost, config.failure)


def iou_cost(tracks: Tracks, seen: Measured, config: TrackerConfig) -> NDArray[np.float64]:
    """(K,n): how much the overlap with the predicted box lacks of what is needed."""
    predicted, measured = xywh_from_centre_ln(tracks.box[..., VALUE]), xywh_from_centre_ln(seen.box)
    shared = overlap(predicted[:, None], measured[None])
    return config.iou_weight * (config.iou_needed - shared)


def _distance_cost(
    squared: NDArray[np.float64], same: NDArray[np.float64], other: float, freedom: float
) -> NDArray[np.float64]:
    """−ln of the likelihood ratio of a squared distance whose mean is `same` or `other`.

    Both are taken for multiples of χ² with `freedom` degrees.
    """
    return freedom / 2 * (squared / same - squared / other + np.log(same / other))


def _may_fail(cost: NDArray[np.float64], failure: float) -> NDArray[np.float64]:
    """The cost where the same person looks like a stranger with the chance `failure`: −ln of it at most."""
    return -np.logaddexp(np.log1p(-failure) - cost, np.log(failure))


def costs(tracks: Tracks, seen: Measured, config: TrackerConfig) -> dict[str, NDArray[np.float64]]:
    """The terms that are switched on, each (K,n). After a cut a track knows of the appearance alone."""
    terms = {
        "place": (config.use_place, place_cost),
        "pose": (config.use_pose, pose_cost),
        "appearance": (config.use_appearance, appearance_cost),
        "iou": (config.use_iou, iou_cost),
    }
    found = {name: term(tracks, seen, config) for name, (used, term) in terms.items() if used}
    for name in found:
        if name != "appearance":
            found[name][tracks.cut] = 0
    return found


def least_cost(total: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of least total (K,n), rows and columns; one of 0 or more is worth as much as none: never made."""
    rows, columns = linear_sum_assignment(np.minimum(total, 0))
    made = total[rows, columns] < 0
    return rows[made], columns[made]


def _place_noise(config: TrackerConfig) -> NDArray[np.float64]:
    return np.array([config.place_noise, config.place_noise, config.depth_noise])


def _new_places(seen: Measured, config: TrackerConfig) -> NDArray[np.float64]:
    return kalman.start(seen.place, np.broadcast_to(_place_noise(config), seen.place.shape))


def _place_change(config: TrackerConfig) -> NDArray[np.float64]:
    return np.array([config.place_change, config.place_change, config.depth_change])


def _box_scale(box: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a share of the height means for the four numbers of boxes (K,4): pixels, pixels, 1, 1."""
    scale = np.ones_like(box)
    scale[:, :2] = np.exp(box[:, 3:])
    return scale


# ---------------------------------------------------------------------------------------------------- tracker


class Tracker:
    """Online: `update` takes one frame's detections after another."""

    def __init__(self, config: TrackerConfig) -> None:
        self.config = config
        self.confirmed: set[int] = set()  # ids of all tracks that were ever confirmed
        self.tracks: Tracks | None = None  # alive; None before the first detection
        self._frame: int | None = None
        self._next_id = 1

    def update(self, frame: int, detections: Detections, shot: bool = False) -> NDArray[np.int64]:
        """Track id (n,) of each of a frame's n detections; tracks not yet in `confirmed` are tentative.

        `shot` says that the frame is the first of a new shot. Frames may be left out, but not fall.
        Raises BadInput for a frame that does not rise and for detections of another frame.
        """
        if self._frame is not None and frame <= self._frame:
            raise BadInput("tracker", "frame", f"a number above {self._frame}", frame)
        if (detections.frame != frame).any():
            raise BadInput("tracker", "detections", f"of frame {frame}", detections.frame.tolist())
        passed = 1 if self._frame is None else frame - self._frame
        self._frame = frame
        seen = Measured.of(detections)
        if self.tracks is None:
            self.tracks = self._born(seen[:0], detections[:0])
        if shot:
            self._cut()
        for _ in range(passed if len(self.tracks) else 0):
            self._predict()
        if passed > 1:  # of the frames that were left out, those before this one
            self.tracks = self.tracks[self._alive(self.tracks.missed - 1)]
        pairs, new = self._assigned(seen)
        ids = np.empty(len(detections), np.int64)
        ids[pairs[1]] = self.tracks.id[pairs[0]]
        self._correct(pairs, seen, detections)
        if len(new):
            born = self._born(seen[new], detections[new])
            ids[new] = born.id
            self.tracks = self.tracks.and_(born)
        self.confirmed.update(self.tracks.id[self.tracks.confirmed].tolist())
        return ids

    def _cut(self) -> None:
        assert self.tracks is not None
        if self.config.shot == "end":
            self.tracks = self.tracks[:0]
        self.tracks.cut[:] = True

    def _predict(self) -> None:
        tracks, config = self.tracks, self.config
        assert tracks is not None
        tracks.missed += 1
        tracks.place = kalman.predict(tracks.place, _place_change(config), config.damping)
        change = config.box_change * _box_scale(tracks.box[..., VALUE])
        tracks.box = kalman.predict(tracks.box, change, config.damping)
        tracks.pose += (1 - config.pose_kept) * (tracks.usual - tracks.pose)

    def _assigned(
        self, seen: Measured
    ) -> tuple[tuple[NDArray[np.int64], NDArray[np.int64]], NDArray[np.int64]]:
        """Pairs (rows of tracks, rows of detections) of least total cost, and the detections left over."""
        assert self.tracks is not None
        shape = len(self.tracks), len(seen.place)
        total = sum(costs(self.tracks, seen, self.config).values(), np.zeros(shape)) - self.config.gate
        rows, columns = least_cost(total)
        left = np.ones(shape[1], np.bool_)
        left[columns] = False
        return (rows, columns), np.flatnonzero(left)

    def _correct(
        self, pairs: tuple[NDArray[np.int64], NDArray[np.int64]], seen: Measured, detections: Detections
    ) -> None:
        """Tell the paired tracks what was seen; end those missed too long, or before they counted."""
        tracks, config = self.tracks, self.config
        assert tracks is not None
        rows, columns = pairs
        fresh, measured = tracks.cut[rows], seen[columns]
        place = kalman.update(tracks.place[rows], measured.place, _place_noise(config))
        noise = config.box_noise * _box_scale(measured.box)
        box = kalman.update(tracks.box[rows], measured.box, noise)
        if fresh.any():
            place[fresh] = _new_places(measured, config)[fresh]
            box[fresh] = kalman.start(measured.box, noise)[fresh]
        tracks.place[rows], tracks.box[rows] = place, box
        tracks.hits[rows] += 1
        gain = np.maximum(config.memory, 1 / tracks.hits[rows])[:, None]
        tracks.usual[rows] += gain * (measured.pose - tracks.usual[rows])
        tracks.appearance[rows] += gain * (measured.appearance - tracks.appearance[rows])
        tracks.pose[rows] = measured.pose
        tracks.missed[rows], tracks.cut[rows] = 0, False
        tracks.confirmed[rows] |= detections.given[columns] | (tracks.hits[rows] >= config.n_init)
        alive = self._alive(tracks.missed)
        if not alive.all():
            self.tracks = tracks[alive]

    def _alive(self, missed: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which tracks (K,) live on after `missed` (K,) frames without a detection."""
        assert self.tracks is not None
        return (missed <= 0) | (self.tracks.confirmed & (missed <= self.config.max_age))

    def _born(self, seen: Measured, detections: Detections) -> Tracks:
        count, config = len(detections), self.config
        ids = np.arange(self._next_id, self._next_id + count)
        self._next_id += count
        return Tracks(
            id=ids,
            hits=np.ones(count, np.int64),
            missed=np.zeros(count, np.int64),
            confirmed=detections.given | (config.n_init <= 1),
            cut=np.zeros(count, np.bool_),
            place=_new_places(seen, config),
            box=kalman.start(seen.box, config.box_noise * _box_scale(seen.box)),
            pose=seen.pose.copy(),
            usual=seen.pose.copy(),
            appearance=seen.appearance.copy(),
        )


def track(
    detections: Detections, config: TrackerConfig | None = None, shots: Iterable[int] = ()
) -> NDArray[np.int64]:
    """Track id (N,) of each detection of a video, −1 for those whose track was never confirmed.

    `shots` are the first frames of new shots. Raises BadInput for detections that are none, out of order or
    broken.
    """
    if len(detections.validate()) == 0:
        raise BadInput("detections", "frame", "a video with a detection in it", "none")
    tracker = Tracker(config or TrackerConfig.lart())
    frames = np.arange(detections.frame[0], detections.frame[-1] + 1)
    starts, cuts = np.searchsorted(detections.frame, [*frames, frames[-1] + 1]), set(shots)
    ids = np.empty(len(detections), np.int64)
    for frame, first, last in zip(frames.tolist(), starts[:-1], starts[1:], strict=True):
        ids[first:last] = tracker.update(frame, detections[first:last], frame in cuts)
    ids[~np.isin(ids, list(tracker.confirmed))] = -1
    return ids
