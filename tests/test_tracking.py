"""The tracker: its sums against literal ones, what must not matter, crossings, cuts, files and bad input."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import tracking as literal
from scipy.spatial.transform import Rotation

from lart_mini.cli import main
from lart_mini.files import BadInput
from lart_mini.people.body import Body
from lart_mini.tracking import kalman
from lart_mini.tracking import tracker as tracking
from lart_mini.tracking import tracks as tracking_files
from lart_mini.tracking.detections import Detections
from lart_mini.tracking.kalman import SPEED, SPREAD, VALUE
from lart_mini.tracking.mot import from_mot
from lart_mini.tracking.phalp import from_phalp
from lart_mini.tracking.tracker import Measured, Tracker, TrackerConfig, Tracks, costs, track
from lart_mini.tracking.tracks import follow, to_tracklets, video_id
from lart_mini.tracklets.released import write_released

LART, IOU = TrackerConfig.lart(), TrackerConfig.iou()
FOCAL, HEIGHT = 900.0, 1.7


def turns(seed: int) -> np.ndarray:
    """A pose (24,3,3) of moderate turns."""
    return Rotation.random(24, np.random.default_rng(seed)).as_matrix().astype(np.float32)


def person(
    x: np.ndarray, depth: float = 5.0, pose: int = 0, colour: float = 0.5, first: int = 0, actor: int = 0
) -> Detections:
    """Somebody at x (T,) metres to the right, in one pose and colour; a frame in which x is NaN is none."""
    seen = np.flatnonzero(~np.isnan(x))
    count, scale = len(seen), FOCAL / depth
    translation = np.stack([x[seen], np.zeros(count), np.full(count, depth)], axis=1).astype(np.float32)
    size = np.array([0.5, HEIGHT]) * scale
    centre = translation[:, :2] * scale + [640, 360]
    return Detections(
        frame=seen + first,
        box=np.concatenate([centre - size / 2, np.tile(size, (count, 1))], axis=1).astype(np.float32),
        confidence=np.full(count, 0.9, np.float32),
        pose=np.tile(turns(pose), (count, 1, 1, 1)),
        betas=np.zeros((count, 10), np.float32),
        translation=translation,
        appearance=np.full((count, 24), colour, np.float32),
        given=np.zeros(count, np.bool_),
        actor=np.full(count, actor),
    )


def still(frames: int, gap: slice = slice(0, 0), x: float = 0.0) -> np.ndarray:
    path = np.full(frames, x)
    path[gap] = np.nan
    return path


def meeting(hidden: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Paths of two people who meet after 40 frames, are both hidden, and go back where they came from."""
    there = np.linspace(-1.2, -0.03, 40)
    path = np.concatenate([there, np.full(hidden, np.nan), there[::-1]])
    return path, -path


def jumbled(detections: Detections, seed: int) -> tuple[Detections, np.ndarray]:
    """The same in another order within the frames, and where each row came from."""
    order = np.lexsort((np.random.default_rng(seed).random(len(detections)), detections.frame))
    return detections[order], order


def crowd(seed: int, frames: int = 40, people: int = 4) -> Detections:
    """People who wander and are missed now and then."""
    rng = np.random.default_rng(seed)
    members = []
    for i in range(people):
        x = rng.uniform(-2, 2) + np.cumsum(rng.normal(0, 0.03, frames))
        x[rng.random(frames) < 0.15] = np.nan
        members.append(person(x, rng.uniform(3, 8), pose=i, colour=rng.uniform(0.2, 0.8), actor=i))
    return jumbled(Detections.joined(members), seed)[0]


def switches(detections: Detections, ids: np.ndarray) -> int:
    """How often an actor's id changes."""
    kept = ids >= 0
    return sum(
        int((np.diff(ids[kept & (detections.actor == actor)]) != 0).sum())
        for actor in np.unique(detections.actor)
    )


# ------------------------------------------------------------------------------------------------- arithmetic


def test_filters_are_kalman_filters() -> None:
    rng = np.random.default_rng(0)
    noise, change, damping = np.full(3, 0.1), np.full(3, 0.05), 0.8
    filtered = kalman.start(rng.normal(size=3), noise)
    states = [(m[:2].copy(), np.diag(m[[2, 4]])) for m in filtered]
    for _ in range(6):
        filtered, measured = kalman.predict(filtered, change, damping), rng.normal(size=3)
        filtered = kalman.update(filtered, measured, noise)
        for axis in range(3):
            state, covariance = literal.kalman(*states[axis][0], states[axis][1], change[axis], damping)
            state, covariance = literal.kalman_update(state, covariance, measured[axis], noise[axis])
            states[axis] = state, covariance
            np.testing.assert_allclose(filtered[axis, :2], state)
            np.testing.assert_allclose(filtered[axis, 2:], covariance[[0, 0, 1], [0, 1, 1]])


def test_costs_equal_the_literal_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    config, compared, fast = replace(LART, use_iou=True, shot="reset"), [], costs

    def both(tracks: Tracks, seen: Measured, config: TrackerConfig) -> dict:
        quick, slow = fast(tracks, seen, config), literal.costs(tracks, seen, config)
        assert quick.keys() == slow.keys() == {"place", "pose", "appearance", "iou"}
        for name in quick:
            np.testing.assert_allclose(quick[name], slow[name], rtol=1e-6, atol=1e-9)
        compared.append(quick["place"].size)
        return quick

    monkeypatch.setattr(tracking, "costs", both)
    detections, rng = crowd(3, frames=14), np.random.default_rng(0)
    noisy = {
        field: array + rng.normal(0, 0.02, array.shape).astype(np.float32)
        for field, array in (("appearance", detections.appearance), ("pose", detections.pose))
    }
    track(replace(detections, **noisy), config, shots=[7])
    assert sum(compared) > 50


def test_a_better_explained_detection_costs_less() -> None:
    tracker = Tracker(LART)
    for t in range(10):
        tracker.update(t, person(np.array([0.0]), first=t))
    near, far = (person(np.array([x]), first=10) for x in (0.01, 0.4))
    other = person(np.array([0.01]), pose=1, first=10)
    red = person(np.array([0.01]), colour=0.9, first=10)
    seen = Measured.of(Detections.joined([near, far, other, red]))
    assert tracker.tracks is not None
    tracker.tracks.missed += 1
    terms = costs(tracker.tracks, seen, LART)
    assert terms["place"][0, 0] < terms["place"][0, 1]
    assert terms["pose"][0, 0] < 0 < terms["pose"][0, 2]
    assert terms["appearance"][0, 0] < 0 < terms["appearance"][0, 3]


def test_uncertainty_grows_while_nobody_is_seen() -> None:
    tracker = Tracker(LART)
    for t in range(10):
        tracker.update(t, person(np.array([0.0]), first=t))
    spreads = []
    for t in range(10, 30):
        tracker.update(t, person(np.array([]), first=t))
        assert tracker.tracks is not None
        spreads.append(tracker.tracks.place[0, :, SPREAD])
    assert (np.diff(spreads, axis=0) > 0).all()


def followed(*looks: Detections, config: TrackerConfig = LART) -> Tracks:
    """The tracks after one frame's detections after another."""
    tracker = Tracker(config)
    for frame, one in enumerate(looks):
        tracker.update(frame, replace(one, frame=np.full(len(one), frame)))
    assert tracker.tracks is not None
    return tracker.tracks


@settings(max_examples=20)
@given(seen=st.integers(1, 30), gap=st.integers(1, 12), kept=st.floats(0.5, 1))
def test_an_unusual_pose_goes_back_to_the_usual_one_by_a_share_a_frame(
    seen: int, gap: int, kept: float
) -> None:
    config = replace(LART, pose_kept=kept, n_init=1, gate=1e6)
    stand, crouch = person(np.array([0.0])), person(np.array([0.0]), pose=1)
    tracks = followed(*[stand] * seen, crouch, *[crouch[:0]] * gap, config=config)
    unusual = crouch.pose.reshape(216) - tracks.usual[0]
    assert np.abs(unusual).max() > 0.1
    np.testing.assert_allclose(tracks.pose[0] - tracks.usual[0], unusual * kept**gap, atol=1e-6)


@settings(max_examples=20)
@given(colours=st.lists(st.floats(0, 1), min_size=1, max_size=30), poses=st.integers(0, 99))
def test_what_is_usual_is_the_mean_at_first_and_a_fading_one_later(colours: list, poses: int) -> None:
    looks = [person(np.array([0.0]), pose=poses + i, colour=c) for i, c in enumerate(colours)]
    tracks = followed(*looks, config=replace(LART, gate=1e6, memory=0.1))
    assert tracks.hits.tolist() == [len(colours)]
    for field, width in (("appearance", 24), ("pose", 216)):
        told = np.stack([getattr(one, field).reshape(width).astype(float) for one in looks])
        mean = told[: min(len(told), 10)].mean(axis=0)
        for later in told[10:]:
            mean = 0.9 * mean + 0.1 * later
        found = tracks.appearance if field == "appearance" else tracks.usual
        np.testing.assert_allclose(found[0], mean, atol=1e-6)


def test_who_is_found_after_a_cut_starts_anew_where_they_are() -> None:
    config = replace(LART, shot="reset", use_iou=True)
    tracker, ages = Tracker(config), 20
    for frame, x in enumerate(np.linspace(-1, 1, ages)):  # on the way to the right
        tracker.update(frame, person(np.array([x]), first=frame))
    elsewhere = person(np.array([-0.7]), depth=9.0, first=ages)
    assert tracker.update(ages, elsewhere, shot=True).tolist() == [1], "known by the colours"
    assert tracker.tracks is not None
    measured = Measured.of(elsewhere)
    for state, place in ((tracker.tracks.place, measured.place), (tracker.tracks.box, measured.box)):
        np.testing.assert_array_equal(state[..., VALUE], place)
        assert (state[..., SPEED] == 0).all(), "what moved before the cut says nothing"
    noise = np.array([config.place_noise, config.place_noise, config.depth_noise])
    np.testing.assert_allclose(tracker.tracks.place[0, :, SPREAD], noise**2)


# ---------------------------------------------------------------------------- what must not matter, must hold


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), config=st.sampled_from([LART, IOU]), start=st.integers(-5, 9000))
def test_order_names_and_the_count_of_frames_do_not_matter(
    seed: int, config: TrackerConfig, start: int
) -> None:
    detections = crowd(seed)
    ids = track(detections, config)
    shuffled, order = jumbled(detections, seed + 1)
    renamed = replace(shuffled, actor=-shuffled.actor, frame=shuffled.frame + start)
    again = track(renamed, config)
    # The same rows belong together; which number a track gets may depend on the order.
    assert len(set(zip(ids[order].tolist(), again.tolist(), strict=True))) == len(set(ids.tolist()))
    np.testing.assert_array_equal(ids[order] < 0, again < 0)


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), scale=st.sampled_from([0.25, 2.0, 16.0]))
def test_the_unit_of_length_does_not_matter(seed: int, scale: float) -> None:
    detections = crowd(seed)
    larger = replace(detections, translation=detections.translation * np.float32(scale))
    np.testing.assert_array_equal(track(larger, LART), track(detections, LART))
    finer = replace(detections, box=detections.box * np.float32(scale))
    np.testing.assert_array_equal(track(finer, IOU), track(detections, IOU))


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), config=st.sampled_from([LART, IOU]), age=st.integers(0, 6))
def test_an_id_is_of_one_detection_a_frame_and_never_used_again(
    seed: int, config: TrackerConfig, age: int
) -> None:
    detections = crowd(seed)
    ids = track(detections, replace(config, max_age=age, n_init=3))
    for one in np.unique(ids[ids >= 0]):
        frame = detections.frame[ids == one]
        assert len(frame) >= 3 and (np.diff(frame) >= 1).all()
        assert np.diff(frame).max() <= age + 1, "a track that died stays dead"


def test_frames_are_taken_one_after_another_without_looking_ahead() -> None:
    detections = crowd(5)
    whole, early = track(detections, LART), track(detections.window(0, 25), LART)
    kept = early >= 0
    np.testing.assert_array_equal(whole[: len(early)][kept], early[kept])


# -------------------------------------------------------------------------------------------- life of a track


@pytest.mark.parametrize("config", [LART, IOU])
@pytest.mark.parametrize("gap", [1, 12, 30])
def test_an_occlusion_is_bridged(config: TrackerConfig, gap: int) -> None:
    ids = track(person(still(80, slice(20, 20 + gap))), config)
    assert set(ids.tolist()) == {1}


@pytest.mark.parametrize("config", [LART, IOU])
def test_who_is_away_too_long_comes_back_as_another(config: TrackerConfig) -> None:
    config = replace(config, max_age=10)
    assert set(track(person(still(60, slice(20, 30))), config).tolist()) == {1}
    assert set(track(person(still(60, slice(20, 31))), config).tolist()) == {1, 2}


def test_a_track_counts_after_n_init_detections_or_a_ground_truth_box() -> None:
    brief = Detections.joined([person(still(30)), person(still(4, x=1.5), first=10, pose=1, colour=0.9)])
    assert set(track(brief, LART).tolist()) == {1, -1}
    assert set(track(brief, replace(LART, n_init=4)).tolist()) == {1, 2}
    handed = brief.given | ((brief.frame == 11) & (brief.translation[:, 0] > 1))
    assert set(track(replace(brief, given=handed), LART).tolist()) == {1, 2}
    blinking = person(np.where(np.arange(30) % 4 == 3, np.nan, 0.0))
    assert set(track(blinking, LART).tolist()) == {-1}, "detections in a row"


def test_people_who_meet_and_turn_keep_their_identity_by_any_term_of_theirs() -> None:
    left, right = meeting()

    def count(config: TrackerConfig, **other: Any) -> int:
        pair = Detections.joined([person(left, actor=0), person(right, actor=1, **other)])
        return switches(*(lambda d: (d, track(d, config)))(jumbled(pair, 0)[0]))

    blind = dict(use_pose=False, use_appearance=False)
    assert count(IOU) == count(replace(LART, **blind)) == 2, "straight on is what constant velocity expects"
    assert count(replace(LART, **blind), depth=6.0) == 0
    assert count(replace(LART, use_place=False, use_appearance=False), pose=1) == 0
    assert count(replace(LART, use_place=False, use_pose=False), colour=0.9) == 0
    assert count(LART, pose=1, colour=0.9) == 0


def test_a_cut_ends_every_track_or_leaves_the_appearance_to_find_them_again() -> None:
    def shot(frames: int, places: tuple[float, float], first: int) -> list[Detections]:
        looks = ((0, 0.2), (1, 0.8))
        return [
            person(still(frames, x=x), pose=i, colour=c, first=first, actor=i)
            for x, (i, c) in zip(places, looks, strict=True)
        ]

    video = Detections.joined([*shot(20, (-1.0, 1.0), 0), *shot(20, (1.0, -1.0), 20)])
    after = video.frame >= 20
    ended = track(video, LART, shots=[20])
    assert not set(ended[after].tolist()) & set(ended[~after].tolist()) and (ended > 0).all()
    found = track(video, replace(LART, shot="reset"), shots=[20])
    assert switches(video, found) == 0 and set(found.tolist()) == {1, 2}
    blind = replace(LART, shot="reset", use_appearance=False, gate=0.0)
    lost = track(video, blind, shots=[20])
    assert not set(lost[after].tolist()) & set(lost[~after].tolist())


def test_pairs_beyond_the_gate_have_no_say(monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = Tracker(replace(LART, gate=0.0))
    pair = [Detections.joined([person(still(1), first=t), person(still(1, x=1.0), first=t)]) for t in (0, 1)]
    assert tracker.update(0, pair[0]).tolist() == [1, 2]
    # The second track's costs are out of the question; they must not talk the first out of its best pair.
    monkeypatch.setattr(tracking, "costs", lambda *_: {"place": np.array([[-5.0, -1.0], [900.0, 1000.0]])})
    assert tracker.update(1, pair[1]).tolist() == [1, 3]


def test_frames_left_out_count_as_empty_ones() -> None:
    both = Detections.joined([crowd(4).window(0, 12), person(still(1, x=0.3), first=20)])
    jumps, steps = Tracker(LART), Tracker(LART)
    for tracker, frames in ((jumps, [*range(12), 20]), (steps, range(21))):
        for frame in frames:
            tracker.update(frame, both.window(frame, 1))
    assert jumps.tracks is not None and steps.tracks is not None
    for a, b in zip(vars(jumps.tracks).values(), vars(steps.tracks).values(), strict=True):
        np.testing.assert_allclose(a, b)


@pytest.mark.parametrize("config", [LART, IOU])
@pytest.mark.parametrize("seen", [1, 10])
@pytest.mark.parametrize("gap", [1, 2, 50, 51, 52, 1000])
def test_who_is_away_while_frames_are_left_out_is_as_long_away(
    config: TrackerConfig, seen: int, gap: int
) -> None:
    """Tentative (seen once) and confirmed tracks end after left-out frames as they do after empty ones."""
    back = seen - 1 + gap
    both = Detections.joined([person(still(seen)), person(still(1), first=back)])
    jumps, steps = Tracker(config), Tracker(config)
    told = [
        [tracker.update(frame, both.window(frame, 1)).tolist() for frame in frames]
        for tracker, frames in ((jumps, [*range(seen), back]), (steps, range(back + 1)))
    ]
    same = gap <= (1 if seen == 1 else config.max_age + 1)
    assert told[0][-1] == told[1][-1] == [1 if same else 2]
    assert jumps.confirmed == steps.confirmed and jumps.tracks is not None and steps.tracks is not None
    for a, b in zip(vars(jumps.tracks).values(), vars(steps.tracks).values(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_empty_frames_are_no_error() -> None:
    tracker, nobody = Tracker(LART), person(np.array([]))
    assert len(tracker.update(0, nobody)) == 0
    ids = [tracker.update(t, person(np.array([0.0]), first=t)).tolist() for t in range(1, 7)]
    assert len(tracker.update(7, nobody)) == 0 and ids == [[1]] * 6 and tracker.confirmed == {1}


# -------------------------------------------------------------------------------------------------- bad input


def test_bad_input_is_named() -> None:
    good = crowd(0)
    with pytest.raises(BadInput, match="frame: expected numbers that never fall"):
        track(good[::-1], LART)
    box = good.box.copy()
    box[3, 0] = np.nan
    with pytest.raises(BadInput, match="box: expected finite numbers, found NaN or infinity at row 3"):
        track(replace(good, box=box), LART)
    with pytest.raises(BadInput, match="expected a video with a detection in it"):
        track(good[:0], LART)
    with pytest.raises(BadInput, match=r"shot: expected end \| reset"):
        TrackerConfig(shot="keep")
    tracker = Tracker(LART)
    tracker.update(4, good.window(4, 1))
    with pytest.raises(BadInput, match="frame: expected a number above 4, found 4"):
        tracker.update(4, good.window(4, 1))
    with pytest.raises(BadInput, match="detections: expected of frame 5"):
        tracker.update(5, good.window(6, 1))


def test_two_detections_of_a_frame_with_one_id_are_refused(free_body: Body) -> None:
    pair = Detections.joined([person(still(9)), person(still(9, x=1.0))])
    with pytest.raises(BadInput, match="id 5 twice in frame 0"):
        follow(pair, np.full(18, 5), 0, 9)
    with pytest.raises(BadInput, match="ids: expected a detection in a track"):
        to_tracklets(pair, np.full(18, -1), free_body, dataset="a-b", video="x" * 11, frame_size=(720, 1280))


# -------------------------------------------------------------------------------------------------- tracklets


def test_tracklets_hold_what_was_seen_and_repeat_it_in_gaps(free_body: Body) -> None:
    path = np.linspace(-1, 1, 30)
    path[10:14] = np.nan
    seen = person(path, first=100)
    made = to_tracklets(
        seen,
        np.full(len(seen), 4),
        free_body,
        dataset="ava-val",
        video="video_00001",
        frame_size=(720, 1280),
        span=(98, 40),
        keyframe=120,
    )
    (one,) = made
    assert one.name == "ava-val_video_00001_000120_4_40" and one.frame.tolist() == list(range(98, 138))
    np.testing.assert_array_equal(one.frame[one.detected], seen.frame)
    for field in ("pose", "betas", "translation", "box", "confidence"):
        np.testing.assert_array_equal(getattr(one, field)[one.detected], getattr(seen, field))
    np.testing.assert_array_equal(one.translation[12:16], one.translation[[11] * 4])
    np.testing.assert_array_equal(one.box[:2], one.box[[2, 2]])
    assert (one.confidence[~one.detected] == 0).all() and not one.label_source.any()
    np.testing.assert_allclose(one.joints, free_body.joints45(one.pose, one.betas), atol=1e-6)


def test_the_documented_example_makes_files_that_validate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = str(tracking_files.__doc__).split("\n\n", 2)[2]
    lines = [line[4:] for line in text.splitlines()]
    assert len([line for line in lines if line.strip()]) <= 26
    monkeypatch.chdir(tmp_path)
    exec("\n".join(lines), {})
    with pytest.raises(SystemExit) as ended:
        main(["validate", str(tmp_path)])
    assert ended.value.code == 0 and "own-val" in capsys.readouterr().out


# ---------------------------------------------------------------------------------------------- PHALP's files


def phalp_entry(detections: Detections, row: int) -> dict[str, Any]:
    """One tracked person of a frame, as PHALP's result has it; the box reaches out of the picture."""
    return {
        "bbox": detections.box[row].astype(float),
        "conf": np.float32(detections.confidence[row]),
        "size": [720, 1280],
        "camera": detections.translation[row] * np.float32(20),
        "3d_joints": np.full((45, 3), row, np.float32),
        "smpl": {
            "global_orient": detections.pose[row, :1],
            "body_pose": detections.pose[row, 1:],
            "betas": detections.betas[row],
        },
    }


def phalp_content(detections: Detections, ids: np.ndarray, frames: int) -> dict[str, Any]:
    content: dict[str, Any] = {}
    keys = ("tid", "tracked_time", "bbox", "conf", "size", "camera", "3d_joints", "smpl")
    latest: dict[int, int] = {}
    for t in range(frames):
        frame: dict[str, Any] = {key: [] for key in keys} | {"time": t, "shot": 0, "mask": []}
        now = {int(ids[row]): row for row in np.flatnonzero(detections.frame == t)}
        latest |= now
        for one, row in latest.items():  # a track that is not seen repeats its last detection
            entry = phalp_entry(detections, row)
            entry |= {"tid": one, "tracked_time": 0 if one in now else t - int(detections.frame[row])}
            for key in keys:
                frame[key].append(entry[key])
        content[f"_DEMO/img/{t:06d}.jpg"] = frame
    return content


@pytest.mark.parametrize("compress", [0, 3])
def test_from_phalp_reads_what_was_detected(tmp_path: Path, compress: int, free_body: Body) -> None:
    detections = crowd(1)
    ids = detections.actor + 3
    path = tmp_path / "demo_my_gym.pkl"
    joblib.dump(phalp_content(detections, ids, 45), path, compress=compress)
    made = from_phalp(path)
    assert [one.track for one in made] == [3, 4, 5, 6]
    for one in made:
        rows = detections[ids == one.track]
        assert one.name.startswith("phalp-video_my_gym______000000_") and one.detected[[0, -1]].all()
        np.testing.assert_array_equal(one.frame[one.detected], rows.frame)
        np.testing.assert_array_equal(one.pose[one.detected], rows.pose)
        np.testing.assert_array_equal(one.translation[one.detected], rows.translation * np.float32(20))
        np.testing.assert_allclose(one.vector()[one.detected, 228], rows.translation[:, 2] / 10, rtol=1e-6)
        assert (one.confidence > 0).tolist() == one.detected.tolist()
    write_released(made[0], tmp_path / f"{made[0].name}.pkl")


def test_from_phalp_cuts_boxes_to_the_picture(tmp_path: Path) -> None:
    content = phalp_content(person(still(6)), np.full(6, 1), 6)
    for frame in content.values():
        frame["bbox"] = [np.array([-40.0, 300.0, 140.0, 600.0])]
    joblib.dump(content, tmp_path / "x.pkl")
    np.testing.assert_array_equal(from_phalp(tmp_path / "x.pkl")[0].box, np.tile([0, 300, 100, 420], (6, 1)))


def test_of_an_id_that_stands_twice_the_first_entry_counts(tmp_path: Path) -> None:
    """PHALP records the frames before a track is confirmed a second time; its own tools take the first."""
    content = phalp_content(person(still(6)), np.full(6, 4), 6)
    for name in list(content)[1:3]:
        again = phalp_entry(person(still(6), depth=9), 0) | {"tid": 4, "tracked_time": 0}
        for key, value in again.items():
            content[name][key].append(value)
    later = content["_DEMO/img/000004.jpg"]
    for key, value in (phalp_entry(person(still(6)), 0) | {"tid": 4, "tracked_time": 0}).items():
        later[key].append(value)
    later["tracked_time"][0] = 2  # the first entry says that nobody was seen
    joblib.dump(content, tmp_path / "demo_gym.pkl")
    (one,) = from_phalp(tmp_path / "demo_gym.pkl")
    assert one.frame.tolist() == [0, 1, 2, 3, 4, 5] and one.detected.tolist() == [1, 1, 1, 1, 0, 1]
    assert set(one.translation[:, 2].tolist()) == {100.0}


@pytest.mark.parametrize(("second", "third"), [(3, 4), (1, 2), (9, 5)])
def test_times_fall_no_more_across_a_frame_without_people(tmp_path: Path, second: int, third: int) -> None:
    content = phalp_content(person(still(3)), np.full(3, 1), 3)
    for frame, time in zip(content.values(), (5, second, third), strict=True):
        frame["time"] = time
    for entries in list(content.values())[1].values():
        if isinstance(entries, list):
            entries.clear()
    joblib.dump(content, tmp_path / "falling.pkl")
    with pytest.raises(BadInput, match=r"time: expected a number above \d in .*000002"):
        from_phalp(tmp_path / "falling.pkl")


def laughs() -> list:
    """A list of lists that hold each other: two to the thirtieth entries if written out."""
    value: list = [1.0]
    for _ in range(30):
        value = [value, value]
    return value


class Evil:
    def __reduce__(self) -> tuple:
        return print, ("this must not run",)


def test_from_phalp_runs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "evil.pkl"
    path.write_bytes(pickle.dumps({"frame": Evil()}))
    with pytest.raises(BadInput, match=r"evil.pkl: pickle: .*print"):
        from_phalp(path)
    assert "must not run" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda c: c.clear(), "pickle: expected a dict of frames, found an empty dict"),
        (lambda c: c["_DEMO/img/000002.jpg"].update(time=1), "time: expected a number above 1"),
        (lambda c: c["_DEMO/img/000002.jpg"].update(time=2**70), "000002.jpg: expected a dict with"),
        (lambda c: c["_DEMO/img/000004.jpg"].update(time=10**9), "frame: .* for 5 detections, found 1,000,"),
        (lambda c: c["_DEMO/img/000002.jpg"]["tid"].__setitem__(0, 2**40), "tid: expected whole numbers"),
        (lambda c: c["_DEMO/img/000002.jpg"]["tracked_time"].__setitem__(0, "0"), "tracked_time: expected"),
        (lambda c: c["_DEMO/img/000002.jpg"]["camera"].__setitem__(0, laughs()), "pickle: .*nested deeper"),
        (lambda c: c["_DEMO/img/000002.jpg"]["tid"].__setitem__(0, laughs()), "pickle: .*nested deeper"),
        (lambda c: c["_DEMO/img/000002.jpg"]["bbox"].__setitem__(0, [[1, 2], [3]]), "bbox of track 1"),
        (lambda c: c["_DEMO/img/000002.jpg"]["bbox"].clear(), "000002.jpg: bbox: expected a list"),
        (lambda c: c["_DEMO/img/000002.jpg"]["bbox"][0].fill(np.nan), "box: expected finite numbers"),
        (lambda c: c["_DEMO/img/000002.jpg"]["tid"].__setitem__(0, "a"), "tid: expected whole numbers"),
        (lambda c: c["_DEMO/img/000002.jpg"]["smpl"][0].clear(), "smpl global_orient of track 1"),
        (lambda c: c["_DEMO/img/000002.jpg"].pop("time"), "000002.jpg: expected a dict with"),
        (lambda c: [f["tracked_time"].__setitem__(0, 3) for f in c.values()], "expected a tracked person"),
    ],
)  # fmt: skip
def test_from_phalp_refuses_broken_files(tmp_path: Path, change: Any, told: str) -> None:
    content = phalp_content(person(still(5)), np.full(5, 1), 5)
    change(content)
    path = tmp_path / "broken.pkl"
    joblib.dump(content, path)
    with pytest.raises(BadInput, match=rf"broken.pkl: .*{told}"):
        from_phalp(path)


# ----------------------------------------------------------------------------------------------- MOTChallenge


def write_mot(folder: Path, detections: Detections, ids: np.ndarray) -> tuple[Path, Path]:
    lines = [
        f"{frame + 1},{one},{x},{y},{w},{h},{confidence},-1,-1,-1"
        for frame, one, (x, y, w, h), confidence in zip(
            detections.frame, ids, detections.box.astype(float), detections.confidence, strict=True
        )
    ]
    (folder / "MOT17-02.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    arrays = {field: getattr(detections, field) for field in ("pose", "betas", "translation")}
    np.savez(folder / "poses.npz", **arrays)
    return folder / "MOT17-02.txt", folder / "poses.npz"


def test_from_mot_reads_text_and_poses(tmp_path: Path, free_body: Body) -> None:
    detections = crowd(2)
    paths = write_mot(tmp_path, detections, detections.actor)
    made = from_mot(*paths, frame_size=(720, 1280), body=free_body)
    assert [one.track for one in made] == [0, 1, 2, 3] and made[0].video == "MOT17-02___"
    for one in made:
        rows = detections[detections.actor == one.track]
        np.testing.assert_array_equal(one.frame[one.detected], rows.frame)
        np.testing.assert_array_equal(one.pose[one.detected], rows.pose)
        np.testing.assert_allclose(one.box[one.detected][:, 3], rows.box[:, 3], rtol=1e-5)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "file: expected lines"),
        ("1,1,0,0,9,9,1\n1,1,5,5,9,9,1\n", "id: expected one line of an id a frame, .*twice in frame 1"),
        ("1,1,nan,0,9,9,1\n2,1,5,5,9,9,1\n", "line 1, numbers: expected 7 finite numbers"),
        ("1,1,0,0,9,9,1\n2,1,5,5,1e300,9,1\n", "line 2, numbers: expected 7 finite numbers"),
        ("1,1,0,0,9,9\n2,1,5,5,9,9\n", "line 1: expected 7 finite numbers, found 6"),
        ("1,1,0,0,9,9,1\n\n2,1,5,5\n", "line 3: expected 7 finite numbers, found 4"),
        ("frame,id,x,y,w,h,c\n2,1,5,5,9,9,1\n", "line 1: expected 7 numbers divided by commas, found 'frame"),
        ("1,1,0,0,9,0,1\n2,1,5,5,9,9,1\n", "line 1, w, h: expected numbers above 0"),
        ("-1,1,0,0,9,9,1\n1,1,5,5,9,9,1\n", "line 1, frame: expected a whole number from 1, or from 0"),
        ("1.5,1,0,0,9,9,1\n2,1,5,5,9,9,1\n", "line 1, frame: .*found 1.5"),
        ("1,1,0,0,9,9,1\n1,-2,5,5,9,9,1\n", "line 2, id: expected a whole number from 0, or -1 for nobody"),
        ("1,-1,0,0,9,9,1\n1,-1,5,5,9,9,1\n", "id: expected a line with an id from 0, found none"),
        ("1,1,0,0,9,9,1\n2,1,5,5,9,9,87.5\n", r"line 2, confidence: expected a number in \[0, 1\], or -1"),
        ("1,1,0,0,9,9,1\n1000000000,1,5,5,9,9,1\n", "frame: expected at most 200,000 frames .* 2 detections"),
    ],
)
def test_from_mot_refuses_broken_texts(tmp_path: Path, free_body: Body, text: str, told: str) -> None:
    path, poses = write_mot(tmp_path, person(still(2)), np.full(2, 1))
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadInput, match=told):
        from_mot(path, poses, frame_size=(720, 1280), body=free_body)


@given(seed=st.integers(0, 2**32), first=st.sampled_from([0, 1, 7]), unsure=st.booleans())
@settings(derandomize=True, max_examples=20)
def test_lines_of_a_text_come_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, free_body: Body, seed: int, first: int, unsure: bool
) -> None:
    """Shuffled, sorted by id, ids as decimals, among lines of nobody, in UTF-16: the same tracklets."""
    rng = np.random.default_rng(seed)
    folder = tmp_path_factory.mktemp("mot")
    detections = crowd(3, frames=12, people=3)
    ids = np.where(rng.random(len(detections)) < 0.2, -1, detections.actor)
    ids[:3] = detections.actor[:3]
    kept = detections[ids >= 0]
    order = rng.permutation(len(detections)) if seed % 2 else np.argsort(ids, kind="stable")
    lines = []
    for row in order:
        box, sure = detections.box[row].astype(float).tolist(), float(detections.confidence[row])
        sure = (-1 if unsure else sure) if ids[row] >= 0 else 17.5  # a raw score, of nobody
        frame = detections.frame[row] - detections.frame.min() + first
        lines.append(f"{frame},{float(ids[row])},{','.join(map(str, box))},{sure},-1,-1,-1\n")
    (folder / "det.txt").write_text("".join(lines) + "\n \n", encoding="utf-16")
    arrays = {field: getattr(detections, field)[order] for field in ("pose", "betas", "translation")}
    np.savez(folder / "poses.npz", **arrays)
    where: dict[str, Any] = {"frame_size": (720, 1280), "body": free_body}
    made = from_mot(folder / "det.txt", folder / "poses.npz", **where)
    start = first - min(1, first) - int(detections.frame.min())
    for one in made:
        rows = kept[kept.actor == one.track]
        np.testing.assert_array_equal(one.frame[one.detected], rows.frame + start)
        np.testing.assert_array_equal(one.pose[one.detected], rows.pose)
        np.testing.assert_array_equal(one.translation[one.detected], rows.translation)
        expected = np.float32(1) if unsure else rows.confidence
        np.testing.assert_array_equal(one.confidence[one.detected], expected)
    assert [one.track for one in made] == np.unique(ids[ids >= 0]).tolist()


names = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Z"]), min_size=1, max_size=30)


@given(st.lists(names, max_size=20), st.text("ab_", max_size=14))
@settings(derandomize=True, max_examples=300)
def test_no_two_names_become_one_video(several: list[str], stem: str) -> None:
    several += [stem, stem + "_", stem + "__", *(stem * 4 + str(i) for i in range(9))]
    several = [name for name in dict.fromkeys(several) if name]
    made = [video_id(name) for name in several]
    assert len(set(made)) == len(several) and all(len(one) == 11 for one in made)
    assert all(video_id(name) == one for name, one in zip(several, made, strict=True))


def test_video_ids_tell_the_name_where_it_fits() -> None:
    assert video_id("MOT17-02") == "MOT17-02___" and video_id("053oq2xB3oU") == "053oq2xB3oU"
    assert video_id("dancetrack0004")[:5] == video_id("dancetrack0007")[:5] == "danc-"


def test_files_of_long_names_and_of_mots_folders_keep_their_own(tmp_path: Path, free_body: Body) -> None:
    where: dict[str, Any] = {"frame_size": (720, 1280), "body": free_body}
    text, poses = write_mot(tmp_path, person(still(3)), np.full(3, 1))
    names = ["ADL-Rundle-6.txt", "ADL-Rundle-8.txt", "MOT17-02/gt/gt.txt", "MOT17-04/gt/gt.txt"]
    scenes = []
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.read_bytes())
        scenes += [one.scene for one in from_mot(path, poses, **where)]
    assert len(set(scenes)) == 4 and scenes[2] == "mot-video_MOT17-02____000000"
    content = phalp_content(person(still(3)), np.full(3, 1), 3)
    for number in (1, 2):
        joblib.dump(content, tmp_path / f"demo_gymnastics_beam_{number}.pkl")
        scenes += [one.scene for one in from_phalp(tmp_path / f"demo_gymnastics_beam_{number}.pkl")]
    assert len(set(scenes)) == 6


def test_a_confidence_beyond_one_is_refused() -> None:
    with pytest.raises(BadInput, match=r"confidence: expected a number in \[0, 1\], found 1.5 at row 0"):
        replace(person(still(2)), confidence=np.full(2, 1.5, np.float32)).validate()


def test_from_mot_refuses_poses_that_do_not_fit(tmp_path: Path, free_body: Body) -> None:
    path, poses = write_mot(tmp_path, person(still(3)), np.full(3, 1))
    size: dict[str, Any] = {"frame_size": (720, 1280), "body": free_body}
    path.write_text("1,1,0,0,9,9,1\n2,1,5,5,9,9,1\n", encoding="utf-8")
    with pytest.raises(BadInput, match=r"pose: expected numbers of shape \(2, 24, 3, 3\)"):
        from_mot(path, poses, **size)
    poses.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(BadInput, match=r"file: expected an .npz"):
        from_mot(path, poses, **size)
    poses.write_bytes(b"PK" + bytes(40))
    with pytest.raises(BadInput, match=r"file: expected an .npz"):
        from_mot(path, poses, **size)
    np.savez(poses, pose=np.zeros((2, 24, 3, 3)))
    with pytest.raises(BadInput, match="betas: expected to be there"):
        from_mot(path, poses, **size)
