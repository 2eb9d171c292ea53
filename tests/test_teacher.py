"""The teacher: it watches a place and not a person, and tells nothing that it could not know."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lart_mini import ava
from lart_mini.data.mini_ava import MiniAva
from lart_mini.lart.teacher import LOOKED_AT, OFFSETS, Teacher, fit_teacher, look, teach
from lart_mini.tracklets.tracklet import FRAME_FIELDS, Tracklet

FRAMES = 121
HERE, THERE = (100, 100, 80, 200), (700, 100, 80, 200)


def somebody(
    track: int, mark: float, places: list[tuple[int, int, tuple]], video: str = "0123456789a"
) -> Tracklet:
    """Seen in frames [first, last) of `places`, in its box; joints are `mark` metres off the pelvis."""
    box = np.tile(np.float32([1, 1, 1, 1]), (FRAMES, 1))
    detected = np.zeros(FRAMES, bool)
    for first, last, place in places:
        box[first:last] = place
        detected[first:last] = True
    joints = np.full((FRAMES, 45, 3), mark, np.float32)
    joints[:, 8] = 0
    return Tracklet(
        name=f"ava-train_{video}_000060_{track}_{FRAMES}",
        video=video,
        track=track,
        keyframe=60,
        frame=np.arange(FRAMES),
        pose=np.tile(np.eye(3, dtype=np.float32), (FRAMES, 24, 1, 1)),
        betas=np.zeros((FRAMES, 10), np.float32),
        translation=np.tile(np.float32([0, 0, 5]), (FRAMES, 1)),
        joints=joints,
        detected=detected,
        box=box,
        frame_size=np.array([720, 1280]),
        confidence=detected.astype(np.float32),
        labels=np.zeros((FRAMES, 80), np.float32),
        label_source=np.zeros(FRAMES, np.int8),
    ).validate()


def seen_at(tracklets: list[Tracklet], owner: int, middle: int) -> list[float]:
    """For each offset the mark of who was seen about frame `middle` of a tracklet; 0 for nobody."""
    seen = look(tracklets)
    (row,) = np.flatnonzero((seen.tracklet == owner) & (seen.middle == middle))
    windows = seen.features[row].reshape(len(OFFSETS), LOOKED_AT * 3 + 1)
    for window in windows:
        assert window[-1] in (0, 1) and (window[-1] == 1) == window[:-1].any()
    return [float(window[0]) for window in windows]


def test_the_place_is_watched_and_not_the_person() -> None:
    leaves = somebody(0, 1.0, [(0, 64, HERE), (64, FRAMES, THERE)])
    comes = somebody(1, 2.0, [(70, FRAMES, HERE)])
    # Frames 46, 51, 55, 60 show the first person; 65 and 69 nobody; 74 shows whoever came.
    assert seen_at([leaves, comes], 0, 60) == [1, 1, 1, 1, 0, 0, 2]
    assert seen_at([leaves], 0, 60) == [1, 1, 1, 1, 0, 0, 0]
    # A second later the first person is watched at the other place, where nobody else is.
    assert seen_at([leaves, comes], 0, 90) == [1] * 7
    assert seen_at([leaves, comes], 1, 90) == [2] * 7


def test_whoever_fills_the_box_best_is_seen() -> None:
    beside = (140, 100, 80, 200)
    people = [somebody(0, 1.0, [(0, FRAMES, HERE)]), somebody(1, 2.0, [(0, FRAMES, beside)])]
    assert seen_at(people, 0, 60) == [1] * 7 and seen_at(people, 1, 60) == [2] * 7
    gone = [somebody(0, 1.0, [(0, 61, HERE)]), people[1]]
    assert seen_at(gone, 0, 60) == [1, 1, 1, 1, 2, 2, 2]


def test_other_videos_and_missed_frames_are_not_seen() -> None:
    here = somebody(0, 1.0, [(50, 61, HERE)])
    elsewhere = somebody(1, 2.0, [(0, FRAMES, HERE)], video="another_one")
    assert seen_at([here, elsewhere], 0, 60) == [0, 1, 1, 1, 0, 0, 0]


def test_frames_are_told_by_their_numbers() -> None:
    whole = somebody(0, 1.0, [(0, FRAMES, HERE)])
    rows = np.delete(np.arange(FRAMES), [20, 21, 51])
    gaps = replace(whole, **{field: getattr(whole, field)[rows] for field in FRAME_FIELDS})
    assert seen_at([gaps], 0, 57) == [1, 0, 1, 1, 1, 1, 1], "frames 46 to 74, of which 51 is not there"


def test_each_second_with_a_detection_is_seen_once_near_its_middle() -> None:
    seen = look([somebody(0, 1.0, [(12, 31, HERE), (80, 90, HERE), (112, 116, HERE)])])
    # Seconds are centred on 0, 30, 60, 90, 120; in that about 60 nobody is detected.
    assert seen.middle.tolist() == [12, 30, 89, 115]


# --------------------------------------------------------------------------------------------------- teaching


@pytest.fixture(scope="module")
def labelled(tiny: MiniAva) -> list[Tracklet]:
    return tiny.tracklets("ava-train")


@pytest.fixture(scope="module")
def teacher(labelled: list[Tracklet]) -> Teacher:
    return fit_teacher(labelled)


def test_the_teacher_learns(labelled: list[Tracklet], teacher: Teacher) -> None:
    seen = look(labelled)
    truth = np.stack([labelled[i].labels[t] for i, t in zip(seen.tracklet, seen.middle, strict=True)])
    known = [labelled[i].label_source[t] == 2 for i, t in zip(seen.tracklet, seen.middle, strict=True)]
    targets = torch.from_numpy(ava.to_evaluated(truth[known])).float()
    prior = targets.mean(0).clamp(1e-6, 1 - 1e-6).logit().expand_as(targets)
    loss = F.binary_cross_entropy_with_logits(teacher(torch.from_numpy(seen.features[known])), targets)
    assert loss < 0.5 * F.binary_cross_entropy_with_logits(prior, targets)


def test_fitting_is_the_same_twice_and_leaves_the_global_chance_alone(labelled: list[Tracklet]) -> None:
    state = torch.get_rng_state()
    a, b = (fit_teacher(labelled, epochs=2).state_dict() for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_fitting_reads_ground_truth_only(labelled: list[Tracklet]) -> None:
    wrong = [replace(t, labels=np.where((t.label_source == 2)[:, None], t.labels, 1)) for t in labelled]
    assert any((a.labels != b.labels).any() for a, b in zip(labelled, wrong, strict=True))
    a, b = (fit_teacher(members, epochs=2).state_dict() for members in (labelled, wrong))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_pseudo_labels_hold_for_a_second_and_say_so(tiny: MiniAva, teacher: Teacher) -> None:
    clips = tiny.tracklets("kinetics-train")
    for before, after in zip(clips, teach(teacher, clips), strict=True):
        after.validate()
        assert after.appearance is not None and after.appearance.shape == (len(after), 64)
        second = (after.frame + 15) // 30
        for number in np.unique(second):
            rows = second == number
            shown = before.detected[rows].any()
            assert (after.label_source[rows] == int(shown)).all()
            for array in (after.labels[rows], after.appearance[rows]):
                assert (array == array[0]).all() and array.any() == shown
        assert not ava.to_all(ava.to_evaluated(after.labels) == 0)[after.label_source == 1].all()
        for field in ("pose", "box", "detected", "frame"):
            np.testing.assert_array_equal(getattr(after, field), getattr(before, field))


def test_labels_of_what_is_taught_are_never_read(labelled: list[Tracklet], teacher: Teacher) -> None:
    nothing = {"labels": np.zeros((128, 80), np.float32), "label_source": np.zeros(128, np.int8)}
    blank = [replace(t, **nothing) for t in labelled]
    for a, b in zip(teach(teacher, labelled), teach(teacher, blank), strict=True):
        np.testing.assert_array_equal(a.labels, b.labels)
        np.testing.assert_array_equal(a.label_source, b.label_source)
        np.testing.assert_array_equal(a.appearance, b.appearance)
        assert set(a.label_source.tolist()) <= {0, 1}, "no ground truth in pre-training"


def test_appearance_alone_leaves_the_labels(labelled: list[Tracklet], teacher: Teacher) -> None:
    for before, after in zip(labelled, teach(teacher, labelled, labels=False), strict=True):
        np.testing.assert_array_equal(after.labels, before.labels)
        np.testing.assert_array_equal(after.label_source, before.label_source)
        assert after.appearance is not None and after.appearance.any()


def test_who_is_never_detected_is_taught_nothing(teacher: Teacher) -> None:
    seen, unseen = somebody(0, 1.0, [(0, FRAMES, HERE)]), somebody(1, 2.0, [])
    for members in ([seen, unseen], [unseen]):
        taught = teach(teacher, members)[-1]
        assert not taught.labels.any() and not taught.label_source.any()
        assert taught.appearance is not None and not taught.appearance.any()
