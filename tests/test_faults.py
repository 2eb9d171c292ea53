"""The simulated tracker: without faults it gives the truth back, and each fault does what its name says."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from lart_mini import faults
from lart_mini.faults import Faults, Track
from lart_mini.scenes import Camera, Filmed

FRAMES = 400
NOBODY = np.zeros(0, np.int64)
STILL = np.tile(np.eye(3, dtype=np.float32), (FRAMES, 1, 1))
CAMERA = Camera(STILL, np.zeros(3, np.float32), 900.0, (720, 1280))


def person(seed: int = 0, left: np.ndarray | float = 100.0, visible: float | np.ndarray = 1.0) -> Filmed:
    """Somebody of random poses in a box of 80 x 300 pixels whose left side is at `left`."""
    rng = np.random.default_rng(seed)
    low = np.stack([np.broadcast_to(left, FRAMES), np.full(FRAMES, 200.0)], axis=1)
    return Filmed(
        pose=Rotation.random(FRAMES * 24, rng).as_matrix().reshape(FRAMES, 24, 3, 3).astype(np.float32),
        translation=rng.uniform([-2, -1, 3], [2, 1, 8], (FRAMES, 3)).astype(np.float32),
        box=np.concatenate([low, np.add(low, [80, 300])], axis=1).astype(np.float32),
        visible=np.broadcast_to(np.float32(visible), FRAMES).copy(),
        labels=np.zeros((FRAMES, 80), np.uint8),
        betas=rng.normal(size=10).astype(np.float32),
    )


def track(filmed: list[Filmed], amounts: Faults, seed: int = 0, given: np.ndarray = NOBODY) -> list[Track]:
    return faults.track(np.random.default_rng(seed), filmed, CAMERA, amounts, given)


def corners(box: np.ndarray) -> np.ndarray:
    return np.concatenate([box[:, :2], box[:, :2] + box[:, 2:]], axis=1)


def test_without_faults_a_track_is_the_truth() -> None:
    visible = np.linspace(0, 1, FRAMES)
    people = [person(seed, left, visible) for seed, left in ((0, 100.0), (1, 150.0))]
    tracks = track(people, Faults.none())
    assert len(tracks) == 2
    for index, (one, truth) in enumerate(zip(tracks, people, strict=True)):
        np.testing.assert_allclose(one.pose, truth.pose, atol=1e-6)
        np.testing.assert_array_equal(one.translation, truth.translation)
        np.testing.assert_array_equal(one.betas, np.tile(truth.betas, (FRAMES, 1)))
        np.testing.assert_array_equal(corners(one.box), truth.box)
        np.testing.assert_array_equal(one.detected, truth.visible > 0.05)
        assert (one.actor == index).all()


def test_equal_seeds_give_equal_tracks() -> None:
    a, b, c = (track([person()], Faults(), seed)[0] for seed in (1, 1, 2))
    for field in fields(Track):
        np.testing.assert_array_equal(getattr(a, field.name), getattr(b, field.name))
    assert (a.pose != c.pose).any()


def test_who_is_hidden_is_missed_more() -> None:
    def missed(visible: float) -> float:
        people = [person(0, 100.0, visible)]
        return 1 - np.mean([track(people, Faults(), seed)[0].detected.mean() for seed in range(20)])

    clear, hidden, gone = missed(1.0), missed(0.3), missed(0.0)
    # A burst begins and ends by chance in each frame: the share of time spent in one.
    amounts = Faults()
    share = amounts.miss_start / (amounts.miss_start + amounts.miss_stop)
    assert clear == pytest.approx(share, abs=0.4 * share)
    assert hidden == pytest.approx(0.9, abs=0.03)
    assert gone == 1


def test_misses_come_in_bursts() -> None:
    detected = [track([person()], Faults(), seed)[0].detected for seed in range(40)]
    gaps = [np.diff(np.flatnonzero(np.diff(np.r_[False, ~d, False]))).tolist()[::2] for d in detected]
    assert np.mean([gap for part in gaps for gap in part]) == pytest.approx(1 / Faults().miss_stop, rel=0.2)


def test_confidence_is_of_detections_only() -> None:
    one = track([person(visible=np.linspace(0, 1, FRAMES))], Faults())[0]
    assert (one.confidence[~one.detected] == 0).all() and (one.confidence[one.detected] > 0).all()
    assert one.confidence.max() <= 1
    parts = slice(150, 250), slice(300, 400)
    early, late = (one.confidence[part][one.detected[part]].mean() for part in parts)
    assert early < late, "who is seen better is more certain"


def test_given_frames_have_the_true_box_and_are_detected() -> None:
    visible = np.ones(FRAMES)
    visible[90], visible[120] = 0.2, 0.05
    truth, given = person(visible=visible), np.array([60, 90, 120, 150])
    for seed in range(5):
        one = track([truth], Faults(miss_start=0.3), seed, given)[0]
        shown = given[truth.visible[given] > 0.1]
        assert one.detected[shown].all() and shown.tolist() == [60, 90, 150]
        np.testing.assert_array_equal(corners(one.box)[shown], truth.box[shown])
        others = np.setdiff1d(np.arange(FRAMES), given)
        assert (corners(one.box)[others] != truth.box[others]).any(axis=1).all()


def test_noise_has_the_stated_size_and_drifts() -> None:
    noise = faults.drift(np.random.default_rng(0), 0.3, 20000, 4)
    assert noise.shape == (20000, 4)
    np.testing.assert_allclose(noise.std(axis=0), 0.3, rtol=0.05)
    kept = [np.corrcoef(column[:-1], column[1:])[0, 1] for column in noise.T]
    np.testing.assert_allclose(kept, 0.8, atol=0.02)
    truth = person()
    one = track([truth], Faults())[0]
    turned = Rotation.from_matrix((np.swapaxes(truth.pose, -1, -2) @ one.pose).reshape(-1, 3, 3)).as_rotvec()
    turned = turned.reshape(FRAMES, 24, 3)
    assert turned[:, 1:].std() == pytest.approx(Faults().pose_noise, rel=0.1)
    assert turned[:, 0].std() == pytest.approx(Faults().orientation_noise, rel=0.3)
    depth = one.translation[:, 2] / truth.translation[:, 2]
    assert abs(depth - 1).max() < 6 * Faults().depth_noise


def test_boxes_stay_inside_the_frame() -> None:
    truth = person(left=np.linspace(0, 1200, FRAMES))
    box = corners(track([truth], Faults(box_jitter=0.5))[0].box)
    assert (box[:, :2] >= 0).all() and (box[:, 2:] <= [1280, 720]).all()
    assert (box[:, 2:] - box[:, :2] >= 0.99).all()


def test_overlap_by_hand() -> None:
    a = np.array([[0, 0, 2, 2], [0, 0, 2, 2], [0, 0, 2, 2], [0, 0, 1, 1]], np.float32)
    b = np.array([[0, 0, 2, 2], [1, 0, 2, 2], [2, 2, 1, 1], [5, 5, 1, 1]], np.float32)
    np.testing.assert_allclose(faults.overlap(a, b), [1, 1 / 3, 0, 0], atol=1e-6)


def test_tracks_of_people_who_meet_are_exchanged_whole() -> None:
    meeting = np.abs(np.linspace(-500, 500, FRAMES))  # the second comes, covers the first, and goes
    people = [person(0, 300.0), person(1, 300.0 + meeting)]
    calm = Faults(switch=0, false_track=0)
    apart, swapped = track(people, calm), track(people, Faults(switch=1, false_track=0))
    assert all((one.actor == index).all() for index, one in enumerate(apart))
    changes = [np.flatnonzero(np.diff(one.actor)) for one in swapped]
    assert len(changes[0]) >= 1
    np.testing.assert_array_equal(changes[0], changes[1])
    np.testing.assert_array_equal(swapped[0].actor, 1 - swapped[1].actor)
    first = changes[0][0] + 1
    assert faults.overlap(apart[0].box[first : first + 1], apart[1].box[first : first + 1]) > 0.5
    for one in swapped:
        for field in fields(Track):
            options = np.stack([getattr(other, field.name) for other in apart])
            chosen = options[one.actor, np.arange(FRAMES)]
            np.testing.assert_array_equal(getattr(one, field.name), chosen, err_msg=field.name)


def test_who_never_meets_never_swaps() -> None:
    tracks = track([person(0, 100.0), person(1, 600.0)], Faults(switch=1, false_track=0))
    assert [set(one.actor.tolist()) for one in tracks] == [{0}, {1}]


def test_a_false_track_is_a_thing_that_stands_still() -> None:
    for seed in range(10):
        real, false = track([person()], Faults(false_track=1), seed)
        assert (real.actor == 0).all() and (false.actor == -1).all()
        for array in (false.pose, false.translation, false.box, false.betas):
            assert (array == array[0]).all()
        assert 10 < false.detected.sum() <= 90
        assert (false.confidence[false.detected] >= 0.4).all()
        assert not false.confidence[~false.detected].any()
        low, high = np.split(corners(false.box)[0], 2)
        assert (low >= 0).all() and (high <= [1280, 720]).all()


def test_nobody_filmed_means_no_track() -> None:
    assert track([], Faults(false_track=1)) == []
