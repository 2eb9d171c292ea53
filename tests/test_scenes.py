"""Scenes: who may be composed where, what a chain of takes keeps of them, and what the camera makes of it.

And the scene that keeps all of it: a stream of chance for each purpose, outfits, ground truth.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from lart_mini.files import BadInput
from lart_mini.people.body import FREE_BODY, Body, forward_kinematics, load_body
from lart_mini.people.clips import Clip
from lart_mini.scenes.camera import Camera, Filmed, film, look_at, shoot
from lart_mini.scenes.scene import PARTS, PURPOSES, Scene, compose, dress, stream
from lart_mini.scenes.staging import (
    SHOWN_FROM,
    SHOWN_TO,
    Performance,
    blended,
    cast,
    heading,
    passing,
    perform,
    placed,
    shaped,
    turned,
)
from lart_mini.scenes.takes import LISTEN_TO, TALK_TO, WATCH, Segment, segments

Library = dict[str, Clip]
FRAMES = 169  # of a video with one window
FASTEST = 20  # metres a second, above a punch, a kick or a backflip


@pytest.fixture(scope="module")
def pool(library: Library) -> list[Segment]:
    return segments(library, "train")


def casts(pool: list[Segment], body: Body, count: int = 8) -> list[list[Performance]]:
    actions = sorted(frozenset().union(*(s.actions for s in pool)))
    made = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        made.append(cast(rng, pool, FRAMES, 4, actions[seed * 3 % len(actions)], body)[0])
    return made


def actions_of(segments: list[Segment]) -> set[int]:
    return set().union(*(s.actions for s in segments))


# -------------------------------------------------------------------------------------------- who may be used


def test_segments_are_labelled_throughout_and_long_enough(library: Library) -> None:
    for split in ("train", "val", "test"):
        for segment in segments(library, split):
            assert segment.last - segment.first >= 15
            assert segment.clip.labels[segment.first : segment.last].any(axis=1).all()


def test_no_take_is_both_learnt_and_scored(library: Library) -> None:
    splits = ("train", "val", "test")
    takes = {split: {s.clip.take for s in segments(library, split)} for split in splits}
    assert not takes["test"] & (takes["train"] | takes["val"])
    halves = {clip.take for clip in library.values() if clip.split == "time"}
    assert takes["train"] & takes["val"] <= halves
    for take in halves:
        assert {clip.split for clip in library.values() if clip.take == take} == {"time"}


def test_halves_of_a_take_are_two_seconds_apart(library: Library) -> None:
    train, val = segments(library, "train"), segments(library, "val")
    shared = {s.clip.take for s in train} & {s.clip.take for s in val}
    assert shared
    for take in shared:
        last = max(s.last for s in train if s.clip.take == take)
        first = min(s.first for s in val if s.clip.take == take)
        assert first - last >= 60, take


def test_test_performers_never_train(library: Library) -> None:
    performers = {s.clip.performer for s in segments(library, "train")}
    assert not performers & {s.clip.performer for s in segments(library, "test")}


def test_nothing_is_scored_that_training_never_shows(library: Library, pool: list[Segment]) -> None:
    assert any(5 in np.flatnonzero(c.labels.any(axis=0)) + 1 for c in library.values()), "falling is captured"
    for split in ("val", "test"):
        assert actions_of(segments(library, split)) <= actions_of(pool)


# ----------------------------------------------------------------------------------------------- performances


def test_a_performance_shows_its_action_about_the_first_key_frames(pool: list[Segment]) -> None:
    for seed, target in enumerate(sorted(actions_of(pool))):
        actor = perform(np.random.default_rng(seed), pool, FRAMES, target)
        assert actor.labels[SHOWN_FROM:SHOWN_TO, target - 1].any(), target
        assert not actor.labels[~actor.present].any()
        # In the scene from one frame to another without a break.
        assert np.abs(np.diff(actor.present.astype(int))).sum() <= 2


@pytest.mark.parametrize("split", ("train", "val", "test"))
def test_no_joint_is_faster_than_people_are(split: str, library: Library, free_body: Body) -> None:
    pool, joins = segments(library, split), 0
    for seed, target in enumerate(sorted(actions_of(pool)) * 2):
        actor = perform(np.random.default_rng(seed), pool, FRAMES, target)
        joins += len(actor.takes) - 1
        joints = forward_kinematics(actor.pose, free_body.rest_joints(), actor.translation)[actor.present]
        speed = 30 * np.linalg.norm(np.diff(joints, axis=0), axis=-1)
        frame, joint = np.unravel_index(speed.argmax(), speed.shape)
        assert speed.max() < FASTEST, (actor.takes, frame, joint)
    assert joins > 10


def test_turning_keeps_the_motion_and_lands_on_its_place(pool: list[Segment]) -> None:
    clip = pool[0].clip
    about, to = clip.translation[3], np.array([2, 5, -1], np.float32)
    pose, translation = turned(clip.pose, clip.translation, 0.7, about, to)
    np.testing.assert_allclose(translation[3], [2, clip.translation[3, 1], -1], atol=1e-5)
    np.testing.assert_allclose(translation[:, 1], clip.translation[:, 1], atol=1e-6)
    np.testing.assert_array_equal(pose[:, 1:], clip.pose[:, 1:])
    turned_by = heading(pose[3, 0]) - heading(clip.pose[3, 0])
    assert np.isclose((turned_by + np.pi) % (2 * np.pi) - np.pi, 0.7, atol=1e-4)


def test_blending_walks_the_geodesic_from_one_pose_to_the_other() -> None:
    before = np.tile(np.eye(3, dtype=np.float32), (24, 1, 1))
    after = np.tile(Rotation.from_rotvec([0, 1.2, 0]).as_matrix().astype(np.float32), (3, 24, 1, 1))
    between = blended(before, after, np.array([0, 0.25, 1], np.float32))
    angles = Rotation.from_matrix(between[:, 7]).as_rotvec()[:, 1]
    np.testing.assert_allclose(angles, [0, 0.3, 1.2], atol=1e-6)


def test_longer_legs_make_longer_ways(pool: list[Segment], free_body: Body) -> None:
    actor = perform(np.random.default_rng(0), pool, 60, 14)
    betas = np.zeros(10, np.float32)
    betas[0] = 1.5
    tall = shaped(actor, betas, free_body)
    ratio = tall.translation / actor.translation
    assert np.ptp(ratio) < 1e-5 and abs(ratio.mean() - 1) > 0.02
    soles = []
    for performance in (actor, tall):
        motion = (performance.pose, performance.betas, performance.translation)
        points = free_body.points(*motion, free_body.spread())
        soles.append(np.median(points[performance.present, :, 1].min(axis=1)))
    assert abs(soles[1] - soles[0]) < 0.02, "both stand on the floor"


# ----------------------------------------------------------------------------------------------------- scenes


def test_nobody_walks_through_anybody(pool: list[Segment], free_body: Body) -> None:
    pairs = 0
    for actors in casts(pool, free_body):
        for a, b in combinations(actors, 2):
            together = a.present & b.present
            pairs += together.any()
            gap = np.linalg.norm(a.translation - b.translation, axis=1)[together]
            assert len(gap) == 0 or gap.min() > 0.6, (a.takes, b.takes)
    assert pairs > 20


def test_who_passes_somebody_does_so_at_arms_length(pool: list[Segment]) -> None:
    walks, stands = ([s for s in pool if s.actions == {action}] for action in (14, 12))
    for seed in range(20):
        rng = np.random.default_rng(seed)
        walker, stander = perform(rng, walks, FRAMES, 14), perform(rng, stands, FRAMES, 12)
        moved = passing(rng, walker, stander)
        np.testing.assert_array_equal(moved.pose, walker.pose)
        step = moved.translation - walker.translation
        np.testing.assert_allclose(step, np.broadcast_to(step[0], step.shape), atol=1e-5)
        np.testing.assert_array_equal(step[:, 1], 0)
        gap = moved.translation[:, [0, 2]] - stander.translation[:, [0, 2]]
        way = gap[60:] - gap[:-60]
        length = np.linalg.norm(way, axis=1)
        beside = abs(way[:, 0] * gap[30:-30, 1] - way[:, 1] * gap[30:-30, 0]) / np.maximum(length, 1e-6)
        at = abs((way * gap[30:-30]).sum(axis=1)) < 0.01 * length
        both = walker.present[30:-30] & stander.present[30:-30]
        met = at & both & (length > 0.99)
        assert met.any() and ((beside[met] > 0.69) & (beside[met] < 1.31)).any()
        assert passing(rng, stander, stander) is stander, "the two do not move against each other"


def test_people_cross_more_often_where_they_pass_each_other(
    pool: list[Segment], free_body: Body, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crossing() -> float:
        scenes = [compose(pool, (4, i), free_body, frames=FRAMES, people=3) for i in range(30)]
        return float(np.mean([scene.crossing for scene in scenes]))

    often = crossing()
    monkeypatch.setattr("lart_mini.scenes.staging.PASSING", 0.0)
    assert often > max(0.5, 1.4 * crossing())


def test_a_captured_pair_keeps_its_distance_and_sight(library: Library, free_body: Body) -> None:
    talk = [s for s in segments(library, "train") if s.clip.partner]
    clips = [library["gazebo_talk_a"], library["gazebo_talk_b"]]
    for seed in range(20):
        rng = np.random.default_rng(seed)
        actors, composited = cast(rng, talk, FRAMES, 2, LISTEN_TO, free_body)
        if {a.takes for a in actors} == {("gazebo_talk_a",), ("gazebo_talk_b",)}:
            break
    else:
        pytest.fail("no captured pair in twenty casts")
    assert not composited
    actors.sort(key=lambda actor: actor.takes)
    np.testing.assert_array_equal(actors[0].present, actors[1].present)
    present = actors[0].present
    # Where in the clips the scene was cut from: the pose tells.
    first = actors[0].pose[present][0, 1:]
    start = int(np.abs(clips[0].pose[:, 1:] - first).max(axis=(1, 2, 3)).argmin())
    span = slice(start, start + int(present.sum()))
    for measure in (_gap, _sight):
        captured = measure(*((c.pose[span], c.translation[span]) for c in clips))
        composed = measure(*((a.pose[present], a.translation[present]) for a in actors))
        np.testing.assert_allclose(composed, captured, atol=1e-4)


def _gap(a: tuple, b: tuple) -> np.ndarray:
    return np.linalg.norm(a[1] - b[1], axis=1)


def _sight(a: tuple, b: tuple) -> np.ndarray:
    """Where b stands, as a sees it."""
    return np.einsum("tji,tj->ti", a[0][:, 0], b[1] - a[1])


def test_a_listener_is_placed_before_who_talks_to_nobody_captured(library: Library, free_body: Body) -> None:
    pool = [s for s in segments(library, "train") if s.clip.partner is None]
    rng = np.random.default_rng(0)
    (talker, listener), composited = cast(rng, pool, FRAMES, 2, TALK_TO, free_body)
    assert composited
    talks = talker.labels[:, TALK_TO - 1].astype(bool)
    for action in (LISTEN_TO, WATCH):
        np.testing.assert_array_equal(listener.labels[:, action - 1], talks & listener.present)
    towards = listener.translation[0] - talker.translation[0]
    assert 1.0 < np.linalg.norm(towards[[0, 2]]) < 1.9
    for actor, sign in ((talker, 1), (listener, -1)):
        angle = heading(actor.pose[0, 0])
        assert sign * np.array([np.sin(angle), 0, np.cos(angle)]) @ towards > 0, "they face each other"


def test_what_is_shown_is_cut_from_anywhere_in_a_take(pool: list[Segment]) -> None:
    # Heights that count frames tell where a performance was cut from.
    count = np.arange(600, dtype=np.float32)
    heights = np.stack([0 * count, count, 0 * count], axis=1)
    labels = np.zeros((600, 80), np.uint8)
    labels[:, 11] = 1
    still = np.tile(np.eye(3, dtype=np.float32), (600, 24, 1, 1))
    clip = replace(pool[0].clip, pose=still, translation=heights, labels=labels)
    firsts, entries = [], []
    for seed in range(300):
        actor = perform(np.random.default_rng(seed), [Segment(clip, 0, 600)], FRAMES, 12)
        entries.append(int(actor.present.argmax()))
        firsts.append(int(actor.translation[entries[-1], 1]))
    # A moment drawn evenly from 0…599 is shown at 60…110: cuts begin evenly from 0 to nearly 540.
    assert np.histogram(firsts, 5, (0, 540))[0].min() > 30
    assert max(entries) > SHOWN_FROM and min(entries) == 0, "who shows a take's beginning enters late"


def test_a_captured_pair_is_cut_from_anywhere(library: Library, free_body: Body) -> None:
    talk = [s for s in segments(library, "train") if s.clip.partner]
    clip, begins, inside = library["gazebo_talk_a"], {s.first for s in talk}, []
    for seed in range(60):
        actors, _ = cast(np.random.default_rng(seed), talk, 40, 2, LISTEN_TO, free_body)
        for actor in actors:
            gap = np.abs(clip.pose[:, 1:] - actor.pose[0, 1:]).max(axis=(1, 2, 3))
            if actor.takes == ("gazebo_talk_a",) and actor.present.all() and gap.min() < 1e-6:
                inside.append(int(gap.argmin()) not in begins)
    assert len(inside) > 15 and np.mean(inside) > 0.5, "not always from where both begin to be labelled"


# ------------------------------------------------------------------------------------------------------ scene


def equal(a: object, b: object) -> bool:
    """Do two dataclasses, or lists of them, hold the same numbers?"""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in vars(a))


@pytest.fixture(scope="module")
def scene(pool: list[Segment], free_body: Body) -> Scene:
    return compose(pool, (1, 2), free_body, frames=120, people=3)


def test_a_scene_keeps_all_that_films_and_dresses_it(scene: Scene, free_body: Body) -> None:
    people = len(scene.actors)
    assert scene.frames == 120 and people == len(scene.filmed) == 3
    assert scene.outfits.shape == (people, len(PARTS), 3)
    assert scene.outfits.min() >= 0 and scene.outfits.max() <= 1
    assert equal(film(scene.actors, scene.camera, free_body), scene.filmed), "nothing was drawn in filming"


def test_a_seed_gives_one_scene_and_asks_for_people_and_action_are_kept(
    scene: Scene, pool: list[Segment], free_body: Body
) -> None:
    again = compose(pool, (1, 2), free_body, frames=120, people=3)
    assert equal(again.actors, scene.actors) and equal(again.filmed, scene.filmed)
    np.testing.assert_array_equal(again.outfits, scene.outfits)
    other = compose(pool, (1, 3), free_body, frames=120, people=3)
    assert not equal(other.camera, scene.camera) and not np.array_equal(other.outfits, scene.outfits)
    numbers = [len(compose(pool, (7, i), free_body, frames=110, people=(1, 2)).actors) for i in range(12)]
    assert set(numbers) == {1, 2}
    with pytest.raises(BadInput, match="compose: frames: expected 110 or more, found 109"):
        compose(pool, (1, 2), free_body, frames=109)
    running = compose(pool, (1, 2), free_body, frames=FRAMES, people=1, action=10)
    assert running.actors[0].labels[SHOWN_FROM:SHOWN_TO, 10 - 1].any()


def test_every_purpose_has_a_stream_of_its_own() -> None:
    assert len(set(PURPOSES.values())) == len(PURPOSES)
    seeds = [(0,), (1,), (0, 1), (1, 0, 1), (2, 0, 1)]
    firsts = {stream(seed, purpose).random() for seed in seeds for purpose in PURPOSES}
    assert len(firsts) == len(seeds) * len(PURPOSES)
    assert stream((3, 4), "cast").random() == stream((3, 4), "cast").random()
    with pytest.raises(KeyError):
        stream((3, 4), "weather")


@pytest.mark.parametrize("stage", ["camera", "outfits", "people"])
def test_one_stage_that_draws_more_moves_no_other(
    stage: str, scene: Scene, pool: list[Segment], free_body: Body, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spendthrift(seed: tuple[int, ...], purpose: str) -> np.random.Generator:
        rng = stream(seed, purpose)
        if purpose == stage:
            rng.random(5)
        return rng

    monkeypatch.setattr("lart_mini.scenes.scene.stream", spendthrift)
    after = compose(pool, (1, 2), free_body, frames=120, people=3, action=14)
    monkeypatch.undo()
    before = compose(pool, (1, 2), free_body, frames=120, people=3, action=14)
    assert equal(after.actors, before.actors)
    assert equal(after.camera, before.camera) == (stage != "camera")
    assert np.array_equal(after.outfits, before.outfits) == (stage != "outfits")


def test_some_dress_like_the_one_before_them() -> None:
    def gaps(alike: float) -> np.ndarray:
        found = [np.abs(np.diff(dress(np.random.default_rng(i), 4, alike), axis=0)) for i in range(50)]
        return np.stack(found).mean(axis=(2, 3))  # (50,3)

    assert gaps(1.0).max() < 0.1 < gaps(0.0).min()
    assert (gaps(0.5) < 0.1).mean() == pytest.approx(0.5, abs=0.1)
    first = [dress(np.random.default_rng(3), people, 0.5)[:2] for people in (2, 5)]
    np.testing.assert_array_equal(*first, "who comes later changes nobody's clothes")


def of_people(*people: Filmed) -> Scene:
    frames = len(people[0].box)
    rotation = np.tile(np.eye(3, dtype=np.float32), (frames, 1, 1))
    camera = Camera(rotation, np.zeros(3, np.float32), 900.0, (720, 1280))
    outfits = np.zeros((len(people), len(PARTS), 3), np.float32)
    return Scene((0,), load_body(FREE_BODY), [], outfits, camera, list(people), composited=False)


def standing(box: np.ndarray, visible: np.ndarray) -> Filmed:
    still = np.tile(np.eye(3, dtype=np.float32), (len(box), 24, 1, 1))
    nowhere, labels = np.zeros((len(box), 3), np.float32), np.zeros((len(box), 80), np.uint8)
    return Filmed(still, nowhere, box, visible, labels, np.zeros(10, np.float32))


def test_who_is_a_quarter_visible_is_ground_truth() -> None:
    box = np.tile(np.float32([100, 100, 200, 400]), (5, 1))
    made = of_people(
        standing(box, np.float32([0, 0.1, 0.24, 0.26, 1])), standing(box, np.ones(5, np.float32))
    )
    assert made.annotated.tolist() == [[False] * 3 + [True] * 2, [True] * 5]


def test_scenes_where_people_change_sides_are_known() -> None:
    box = np.tile(np.float32([100, 100, 200, 400]), (120, 1))
    path = np.linspace(-150, 150, 120, dtype=np.float32)[:, None] * np.float32([1, 0, 1, 0])
    visible = np.ones(120, np.float32)

    def of(*boxes: np.ndarray, seen: np.ndarray = visible) -> bool:
        return of_people(*(standing(one, seen) for one in boxes)).crossing

    assert of(box, box + path) and not of(box, box + path * 0 + 300)
    assert not of(box, box - np.abs(path)) and not of(box, box + path, seen=visible * 0)


# ----------------------------------------------------------------------------------------------------- camera


def test_a_camera_looks_at_its_target_upright() -> None:
    position = np.array([1, 2, -3], np.float32)
    target = np.array([[0, 1, 4], [2, 1, 2]], np.float32)
    rotation = look_at(position, target)
    identity = np.tile(np.eye(3), (2, 1, 1))
    np.testing.assert_allclose(rotation @ np.swapaxes(rotation, 1, 2), identity, atol=1e-6)
    np.testing.assert_allclose(np.linalg.det(rotation), 1, atol=1e-6)
    seen = np.einsum("tij,tj->ti", rotation, target - position)
    np.testing.assert_allclose(seen[:, :2], 0, atol=1e-5)
    assert (seen[:, 2] > 0).all()
    assert (rotation[:, 0, 1] == 0).all(), "the horizon is level"
    assert (rotation[:, 1, 1] < 0).all(), "y of the image points down"


def test_film_does_not_know_where_the_world_is(pool: list[Segment], free_body: Body) -> None:
    rng = np.random.default_rng(5)
    actors, _ = cast(rng, pool, FRAMES, 3, 14, free_body)
    camera = shoot(rng, actors, FRAMES)
    angle, to = 1.1, np.array([3, 0, -2], np.float32)
    turn = Rotation.from_rotvec([0, angle, 0]).as_matrix().astype(np.float32)
    moved_actors = []
    for actor in actors:
        origin = np.zeros(3, np.float32)
        pose, translation = turned(actor.pose, actor.translation, angle, origin, to)
        moved_actors.append(replace(actor, pose=pose, translation=translation))
    moved_camera = replace(camera, rotation=camera.rotation @ turn.T, position=turn @ camera.position + to)
    before = film(actors, camera, free_body)
    after = film(moved_actors, moved_camera, free_body)
    for a, b in zip(before, after, strict=True):
        np.testing.assert_allclose(b.pose, a.pose, atol=1e-5)
        np.testing.assert_allclose(b.translation, a.translation, atol=1e-4)
        np.testing.assert_allclose(b.box, a.box, atol=0.1)
        # A point on the very edge of a box or of the frame may fall on its other side.
        assert np.abs(b.visible - a.visible).max() <= 2 / 120 + 1e-6


def test_who_stands_before_another_hides_them(pool: list[Segment], free_body: Body) -> None:
    stand = perform(np.random.default_rng(0), [s for s in pool if s.actions == {12}], 40, 12)
    stand = replace(stand, present=np.ones(40, bool))
    places = [np.array([0, 0, z], np.float32) for z in (0, -2)]
    near, far = (placed(stand, 0.0, place) for place in places)
    position = np.array([0, 1, 4], np.float32)
    rotation = look_at(position, np.tile(np.array([0, 1, 0], np.float32), (40, 1)))
    camera = Camera(rotation, position, 900.0, (720, 1280))
    alone = film([far], camera, free_body)[0]
    front, behind = film([near, far], camera, free_body)
    assert alone.visible.min() == 1 and front.visible.min() == 1
    assert behind.visible.max() < 0.5
    np.testing.assert_array_equal(alone.box, behind.box)
    gone = film([replace(near, present=np.zeros(40, bool)), far], camera, free_body)
    assert gone[0].visible.max() == 0 and gone[1].visible.min() == 1


def test_boxes_hold_the_body_and_stay_inside_the_frame(pool: list[Segment], free_body: Body) -> None:
    rng = np.random.default_rng(1)
    actors, _ = cast(rng, pool, FRAMES, 3, 14, free_body)
    camera = shoot(rng, actors, FRAMES)
    height, width = camera.size
    for actor, seen in zip(actors, film(actors, camera, free_body), strict=True):
        assert (seen.box[:, :2] >= 0).all() and (seen.box[:, 2:] <= [width, height]).all()
        np.testing.assert_array_equal(seen.labels, actor.labels)
        joints = forward_kinematics(seen.pose, free_body.rest_joints(actor.betas), seen.translation)
        pixels = joints[..., :2] / joints[..., 2:] * camera.focal + [width / 2, height / 2]
        whole = seen.visible == 1
        low, high = pixels.min(axis=1)[whole], pixels.max(axis=1)[whole]
        assert (low >= seen.box[whole, :2] - 8).all() and (high <= seen.box[whole, 2:] + 8).all()
