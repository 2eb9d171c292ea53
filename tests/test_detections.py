"""The simulated detector: the truth without faults, each fault as stated, and broken tables refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import orthogonal_procrustes
from scipy.spatial.transform import Rotation

from lart_mini.boxes import corners_from_xywh, xywh_from_corners
from lart_mini.files import BadInput
from lart_mini.people.body import (
    FREE_BODY,
    JOINT_NAMES,
    forward_kinematics,
    global_rotations,
    load_body,
    local_rotations,
)
from lart_mini.people.clips import Clip
from lart_mini.scenes.camera import Camera, Filmed
from lart_mini.scenes.scene import PARTS, Scene, compose
from lart_mini.scenes.takes import segments
from lart_mini.tracking.detections import Detections
from lart_mini.tracking.detector import detect
from lart_mini.tracking.faults import Faults, bursts, drift
from lart_mini.tracking.reconstruction import ENDS, STARTS, mean_pose, misjudged, placed_on_sight

BODY = load_body(FREE_BODY)
FRAMES = 300
STILL = np.tile(np.eye(3, dtype=np.float32), (FRAMES, 1, 1))
FREE = Faults(false_track=0.0, false_positive=0.0)  # nobody who is not there
CAMERA = Camera(STILL, np.zeros(3, np.float32), 900.0, (720, 1280))


def person(
    seed: int = 0, left: float = 100.0, visible: float | np.ndarray = 1.0, depth: float = 5.0
) -> Filmed:
    """Somebody of random poses at `depth` metres in a box of 80 x 300 pixels whose left side is at `left`."""
    rng = np.random.default_rng(seed)
    box = np.tile(np.float32([left, 200, left + 80, 500]), (FRAMES, 1))
    return Filmed(
        pose=Rotation.random(FRAMES * 24, rng).as_matrix().reshape(FRAMES, 24, 3, 3).astype(np.float32),
        translation=np.tile(np.float32([0.2, 0.1, depth]), (FRAMES, 1)),
        box=box,
        visible=np.broadcast_to(np.float32(visible), FRAMES).copy(),
        labels=np.zeros((FRAMES, 80), np.uint8),
        betas=rng.normal(size=10).astype(np.float32),
    )


def scene(filmed: list[Filmed], seed: int = 0) -> Scene:
    """A scene of these people, each dressed in colours of their own."""
    outfits = np.random.default_rng(7).uniform(0.1, 0.9, (len(filmed), len(PARTS), 3)).astype(np.float32)
    return Scene((seed,), BODY, [], outfits, CAMERA, filmed, composited=False)


def seen(
    filmed: list[Filmed],
    faults: Faults = Faults.none(),  # noqa: B008
    seed: int = 0,
    given: Sequence[int] = (),
) -> Detections:
    return detect(scene(filmed, seed), faults, given).validate()


def test_without_faults_the_detections_are_the_truth() -> None:
    people = [person(0, 100.0), person(1, 600.0, np.linspace(0, 1, FRAMES))]
    found = seen(people)
    for index, truth in enumerate(people):
        rows = found[found.actor == index]
        shown = np.flatnonzero(truth.visible > 0.05)
        np.testing.assert_array_equal(rows.frame, shown)
        np.testing.assert_allclose(rows.pose, truth.pose[shown], atol=1e-6)
        np.testing.assert_allclose(rows.translation, truth.translation[shown], atol=3e-4)
        np.testing.assert_array_equal(corners_from_xywh(rows.box), truth.box[shown])
    assert set(found.actor.tolist()) == {0, 1} and not found.given.any()


def test_equal_seeds_give_equal_tables() -> None:
    people = [person(0), person(1, 600.0)]
    a, b, c = (seen(people, Faults(), seed) for seed in (1, 1, 2))
    for field in fields(Detections):
        np.testing.assert_array_equal(getattr(a, field.name), getattr(b, field.name))
    assert len(a) != len(c) or (a.box != c.box).any()


def test_who_is_hidden_is_missed_more() -> None:
    def missed(visible: float) -> float:
        people = [person(visible=visible)]
        return 1 - np.mean([len(seen(people, FREE, seed=seed)) for seed in range(20)]) / FRAMES

    clear, hidden, gone = missed(1.0), missed(0.3), missed(0.0)
    # A burst begins and ends by chance in each frame: the share of time spent in one.
    share = FREE.miss_start / (FREE.miss_start + FREE.miss_stop)
    assert clear == pytest.approx(share, abs=0.4 * share)
    assert hidden == pytest.approx(0.9, abs=0.03)
    assert gone == 1


def test_misses_come_in_bursts() -> None:
    gaps = [np.diff(seen([person()], FREE, seed=seed).frame) - 1 for seed in range(40)]
    lengths = np.concatenate(gaps)
    assert lengths[lengths > 0].mean() == pytest.approx(1 / FREE.miss_stop, rel=0.2)


def test_who_is_seen_better_is_more_certain() -> None:
    found = seen([person(visible=np.linspace(0, 1, FRAMES))], FREE)
    assert (found.confidence > 0).all() and found.confidence.max() <= 1
    early = (found.frame > 110) & (found.frame < 190)
    assert found.confidence[early].mean() < found.confidence[found.frame > 220].mean() - 0.1


def test_noise_has_the_stated_size_and_drifts() -> None:
    for memory in (0.8, 0.95):
        noise = drift(np.random.default_rng(0), 0.3, 40000, 4, memory=memory)
        assert noise.shape == (40000, 4)
        np.testing.assert_allclose(noise.std(axis=0), 0.3, rtol=0.05)
        alone = drift(np.random.default_rng(1), 0.3, 40000, memory=memory)
        kept = [np.corrcoef(one[:-1], one[1:])[0, 1] for one in (*noise.T, alone)]
        np.testing.assert_allclose(kept, memory, atol=0.02)


def test_bursts_begin_and_end_by_their_chances() -> None:
    rng = np.random.default_rng(0)
    may = np.arange(30000) % 1000 < 400
    inside = bursts(rng, 0.05 * may.astype(np.float32), 0.2)
    begins = inside & ~np.roll(inside, 1)
    assert may[begins].all() and inside[~may].any(), "one that has begun goes on"
    assert begins.sum() / (may & ~inside).sum() == pytest.approx(0.05, rel=0.1)
    assert inside.sum() / begins.sum() == pytest.approx(1 / 0.2, rel=0.1)
    assert not bursts(rng, np.zeros(100, np.float32), 0.2).any()


def off_by(faults: Faults) -> dict[str, np.ndarray]:
    """What one fault does to the places and shapes of 40 people at 5 m, (40,T) or (40,T,10)."""
    truth = person()
    found = [seen([truth], faults, seed) for seed in range(40)]
    place = np.stack([one.translation - truth.translation for one in found])
    shape = np.stack([one.betas - truth.betas for one in found])
    return dict(zip("xyz", np.moveaxis(place, -1, 0), strict=True)) | {"betas": shape}


def test_noise_across_the_view_is_as_stated_and_leaves_the_distance_alone() -> None:
    off = off_by(replace(Faults.none(), lateral_noise=0.1))
    for axis in "xy":
        assert off[axis].std() == pytest.approx(0.1, rel=0.05)
    assert abs(np.corrcoef(off["x"].ravel(), off["y"].ravel())[0, 1]) < 0.1
    sight = person().translation[0]
    np.testing.assert_allclose(sum(off[axis] * s for axis, s in zip("xyz", sight, strict=True)), 0, atol=1e-3)
    assert (off["betas"] == 0).all()


def test_noise_of_the_depth_moves_people_along_the_line_of_sight() -> None:
    off = off_by(replace(Faults.none(), depth_noise=0.1))
    assert off["z"].std() == pytest.approx(0.1 * 5, rel=0.1)
    for axis, slope in (("x", 0.2 / 5), ("y", 0.1 / 5)):
        np.testing.assert_allclose(off[axis], slope * off["z"], atol=3e-4)


def test_noise_of_shapes_is_of_the_person_and_never_changes() -> None:
    shape = off_by(replace(Faults.none(), betas_noise=0.6))["betas"]
    np.testing.assert_array_equal(shape, np.broadcast_to(shape[:, :1], shape.shape))
    assert shape[:, 0].std() == pytest.approx(0.6, rel=0.1)


@pytest.mark.parametrize("one", ["pose_noise", "orientation_noise"])
def test_limbs_turn_each_for_itself_or_all_together(one: str) -> None:
    """All noise kept, the one is that of joints, the other turns the body and bends no joint."""
    truth = person()
    found = seen([truth], replace(Faults.none(), across=1.0, **{one: 0.2}))
    turn = found.pose @ np.swapaxes(truth.pose, -1, -2)
    turned = Rotation.from_matrix(turn.reshape(-1, 3, 3)).as_rotvec().reshape(-1, 24, 3)
    assert turned[:, 0].std() == pytest.approx(0.2, rel=0.25), "joint 0 is as in the camera frame"
    assert (abs(turned[:, 1:]).max() < 1e-5) == (one == "orientation_noise")


def bone_of(rest: np.ndarray) -> np.ndarray:
    bones = rest[ENDS] - rest[STARTS]
    return bones / np.linalg.norm(bones, axis=1, keepdims=True)


def test_what_the_picture_shows_of_a_limb_is_kept() -> None:
    """Without noise across, a bone stays in the plane of itself and the line of sight; pointing, it stays."""
    rest = BODY.rest_joints()
    pose = Rotation.random(200 * 24, np.random.default_rng(1)).as_matrix().reshape(200, 24, 3, 3)
    sight = np.tile(np.float64([0.3, 0.1, 0.9]) / np.linalg.norm([0.3, 0.1, 0.9]), (200, 1))
    noise = replace(Faults.none(), pose_noise=1e-3, orientation_noise=1e-3)
    before = (global_rotations(pose)[:, STARTS] @ bone_of(rest)[..., None])[..., 0]
    # One that points at the camera: the left forearm of the first frame.
    elbow = JOINT_NAMES.index("left_elbow")
    facing, _ = Rotation.align_vectors(sight[:1], before[0, elbow][None])
    world = global_rotations(pose)
    world[0] = facing.as_matrix() @ world[0]
    pose = local_rotations(world)
    before = (world[:, STARTS] @ bone_of(rest)[..., None])[..., 0]
    made = misjudged(np.random.default_rng(0), pose, rest, sight, noise)
    after = (global_rotations(made)[:, STARTS] @ bone_of(rest)[..., None])[..., 0]
    aside = np.cross(sight[:, None], before)
    moved = after - before
    assert abs((moved * aside).sum(axis=-1)).max() < 2e-5, "the limb's angle in the picture"
    assert np.linalg.norm(moved[0, elbow]) < 2e-5, "a limb that points at the camera"
    assert np.median(np.linalg.norm(moved, axis=-1)) > 2e-4
    near = abs((moved * sight[:, None]).sum(axis=-1))
    assert np.median(near / np.linalg.norm(moved, axis=-1)) > 0.5, "most of it to and from the camera"


@settings(max_examples=30)
@given(
    seed=st.integers(0, 9999),
    size=st.floats(0.5, 2),
    shift=st.tuples(*[st.floats(-3, 3)] * 3),
    ahead=st.booleans(),
)
def test_a_body_is_put_where_its_picture_was(seed: int, size: float, shift: tuple, ahead: bool) -> None:
    """As large, it goes back where it was; twice as large, twice as far; and nowhere is it nearer."""
    rng = np.random.default_rng(seed)
    true = rng.normal(0, 0.4, (3, 24, 3)) + np.array([1, -0.5, 6 if ahead else -6])
    np.testing.assert_allclose(placed_on_sight(size * true - shift, true), np.tile(shift, (3, 1)), atol=1e-6)
    joints = true + rng.normal(0, 0.05, true.shape)
    ray = true / np.linalg.norm(true, axis=-1, keepdims=True)

    def off(place: np.ndarray) -> float:
        gap = joints + place[:, None]
        return float(((gap - (gap * ray).sum(-1, keepdims=True) * ray) ** 2).sum())

    best = placed_on_sight(joints, true)
    assert all(off(best) < off(best + step) for step in rng.normal(0, 0.01, (20, 3)))


def test_who_is_half_hidden_gets_a_mean_pose_in_bursts() -> None:
    visible = np.where(np.arange(FRAMES) < 150, 0.5, 1.0)
    truth = person(visible=visible)
    faults = replace(Faults.none(), mean_pose_start=0.1, mean_pose_stop=0.1, half_hidden=0.6)
    shares = []
    for seed in range(20):
        found = seen([truth], faults, seed)
        off = abs(found.pose - truth.pose)[:, 1:].max(axis=(1, 2, 3)) > 1e-4
        assert abs(found.pose[off, 1:] - mean_pose()).max() < 1e-5
        np.testing.assert_allclose(found.pose[:, 0], truth.pose[:, 0], atol=1e-5)
        shares.append([off[:150].mean(), off[200:].mean()])
    half, full = np.mean(shares, axis=0)
    assert half == pytest.approx(0.5, abs=0.12) and full < 0.01
    assert abs(mean_pose() - np.eye(3)).max() > 0.3, "arms down"


def errors(scene: Scene) -> dict[str, np.ndarray]:
    """Of people in full view: all joints in the box?, MPJPE, PA-MPJPE, depth's and lateral share (m)."""
    found, size = detect(scene), np.array(scene.camera.size)[::-1]
    rows = []
    for actor, person in enumerate(scene.filmed):
        one = found[found.actor == actor]
        one = one[person.visible[one.frame] > 0.99]
        joints = forward_kinematics(one.pose, BODY.rest_joints(one.betas), one.translation)
        true = forward_kinematics(
            person.pose[one.frame], BODY.rest_joints(person.betas), person.translation[one.frame]
        )
        pixels = joints[..., :2] / joints[..., 2:] * scene.camera.focal + size / 2
        low, extent = one.box[:, None, :2], one.box[:, None, 2:]
        inside = ((pixels > low - 0.05 * extent) & (pixels < low + 1.05 * extent)).all(axis=(1, 2))
        joints, true = joints - joints[:, :1], true - true[:, :1]
        off = joints - true
        rows.append(
            [
                inside,
                length(off),
                length(procrustes(joints, true)),
                abs(off[..., 2]).mean(1),
                length(off[..., :2]),
            ]
        )
    columns = map(np.concatenate, zip(*rows, strict=True))
    return dict(zip(("inside", "mpjpe", "pa", "depth", "across"), columns, strict=True))


def length(off: np.ndarray) -> np.ndarray:
    return np.linalg.norm(off, axis=-1).mean(axis=1)


def procrustes(joints: np.ndarray, true: np.ndarray) -> np.ndarray:
    """What is left of the difference after the best turn, scale and shift of each frame's joints."""
    off = []
    for a, b in zip(joints - joints.mean(1, keepdims=True), true - true.mean(1, keepdims=True), strict=True):
        turn, scale = orthogonal_procrustes(a, b)
        off.append(a @ turn * scale / (a**2).sum() - b)
    return np.array(off).reshape(-1, 24, 3)


def test_bodies_are_as_wrong_as_hmrs_and_stay_in_their_boxes(library: dict[str, Clip]) -> None:
    """HMR 2.0 on 3DPW: MPJPE 70 mm, PA-MPJPE 44 mm (Goel et al. 2023, Table 1)."""
    pool = segments(library, "train")
    found = [errors(compose(pool, (9, i), BODY, frames=200, people=2)) for i in range(12)]
    whole = {name: np.concatenate([one[name] for one in found]) for name in found[0]}
    assert len(whole["inside"]) > 1500 and whole["inside"].mean() > 0.9
    assert whole["mpjpe"].mean() == pytest.approx(0.070, abs=0.007)
    assert whole["pa"].mean() == pytest.approx(0.044, abs=0.005)
    assert whole["depth"].mean() > 1.5 * whole["across"].mean() / np.sqrt(2)


def test_one_kind_of_chance_moves_no_other() -> None:
    people = [person(0), person(1, 600.0)]
    before = seen(people, FREE)
    columns = {
        "box_jitter": {"box"},
        "pose_noise": {"pose", "translation"},  # a body is put where its picture was
        "orientation_noise": {"pose", "translation"},
        "across": {"pose", "translation"},
        "depth_noise": {"translation"},
        "lateral_noise": {"translation"},
        "betas_noise": {"betas", "translation"},
        "light": {"appearance"},
        "colour_noise": {"appearance"},
    }
    for fault, moved in columns.items():
        after = seen(people, replace(FREE, **{fault: getattr(FREE, fault) * 2}))
        changed = {
            f.name for f in fields(Detections) if (getattr(after, f.name) != getattr(before, f.name)).any()
        }
        assert changed == moved, fault
    for fault in ("false_track", "false_positive", "miss_start"):
        after = seen(people, replace(FREE, **{fault: 1.0 if fault != "miss_start" else 0.1}))
        for actor in (0, 1):
            a, b = (one[one.actor == actor] for one in (before, after))
            both = np.intersect1d(a.frame, b.frame)
            assert len(both) > 100
            for field in ("box", "pose", "betas", "translation", "appearance", "confidence"):
                left, right = (getattr(one, field)[np.isin(one.frame, both)] for one in (a, b))
                np.testing.assert_array_equal(left, right)


def test_boxes_stay_inside_the_frame() -> None:
    truth = person()
    for left, top in ((-30, -100), (1230, 500)):
        moved = replace(truth, box=truth.box * 0 + np.float32([left, top, left + 80, top + 300]))
        box = seen([moved], replace(FREE, box_jitter=0.5)).box
        assert (box[:, :2] >= 0).all() and (corners_from_xywh(box)[:, 2:] <= [1280, 720]).all()
        assert (box[:, 2:] >= 0.99).all()


def test_a_poster_is_a_thing_that_stands_still() -> None:
    for seed in range(10):
        found = seen([person()], replace(FREE, false_track=1.0), seed=seed)
        false = found[found.actor == -1]
        assert 10 < len(false) <= 90
        for array in (false.pose, false.translation, false.box, false.betas, false.confidence):
            assert (array == array[0]).all()
        low, high = np.split(corners_from_xywh(false.box[0]), 2)
        assert (low >= 0).all() and (high <= [1280, 720]).all() and false.confidence[0] >= 0.4


def test_frames_are_in_order_and_people_in_none() -> None:
    found = seen([person(0), person(1, 600.0), person(2, 900.0)])
    assert (np.diff(found.frame) >= 0).all()
    firsts = found.actor[np.searchsorted(found.frame, np.arange(FRAMES))]
    np.testing.assert_allclose(np.bincount(firsts, minlength=3) / FRAMES, 1 / 3, atol=0.1)


def test_ground_truth_boxes_replace_detections_at_key_frames() -> None:
    visible = np.ones(FRAMES)
    visible[90], visible[120] = 0.2, 0.07
    truth, given = person(visible=visible), [60, 90, 120, 150]
    for seed in range(8):
        faults = Faults(miss_start=0.3, false_track=1.0, false_positive=1.0)
        found = seen([truth], faults, seed, given)
        at = found[np.isin(found.frame, given)]
        assert at.frame.tolist() == [60, 90, 150], "nobody missed who can be seen, nothing false"
        assert at.given.all() and (at.confidence == 1).all() and (at.actor == 0).all()
        np.testing.assert_array_equal(corners_from_xywh(at.box), truth.box[at.frame])
        assert not found.given[~np.isin(found.frame, given)].any()


def test_false_positives_come_as_often_as_stated() -> None:
    faults = replace(Faults.none(), false_positive=0.1)
    found = [seen([person()], faults, seed) for seed in range(10)]
    false = [one[one.actor == -1] for one in found]
    assert np.mean([len(one) for one in false]) == pytest.approx(0.1 * FRAMES, rel=0.2)
    posters = seen([person()], replace(Faults.none(), false_track=1.0))
    assert 15 < (posters.actor == -1).sum() < 90


def test_false_positives_stand_where_their_boxes_are() -> None:
    truth = person(0, 600.0)

    def beside(box: np.ndarray, translation: np.ndarray) -> np.ndarray:
        """Pixels from the body's place, projected, to the middle of the box (N,)."""
        column = translation[:, 0] / translation[:, 2] * CAMERA.focal + CAMERA.size[1] / 2
        return box[:, 0] + box[:, 2] / 2 - column

    own = beside(xywh_from_corners(truth.box), truth.translation)[0]
    for fault in ("false_positive", "false_track"):
        found = [seen([truth], replace(Faults.none(), **{fault: 1.0}), seed) for seed in range(5)]
        false = [one[one.actor == -1] for one in found]
        for thing in false:
            whole = np.isclose(thing.box[:, 2], 80)  # not cut by the frame's edge
            np.testing.assert_allclose(beside(thing.box, thing.translation)[whole], own, atol=0.01)
        lefts = np.concatenate([thing.box[:, 0] for thing in false]) - truth.box[0, 0]
        assert lefts.min() < -100 and lefts.max() > 100, "to either side"


def test_false_positives_are_no_copies_of_people_behind_the_camera() -> None:
    behind = person(0, visible=0.0, depth=-3.0)
    found = seen([behind], replace(Faults.none(), false_track=1.0, false_positive=0.5))
    assert len(found) == 0


def test_colours_tell_people_apart_and_hidden_parts_show_who_stands_before() -> None:
    visible = np.where(np.arange(FRAMES) < 150, 1.0, 0.5)
    front, back = person(0, 100.0, depth=4.0), person(1, 120.0, visible, depth=6.0)
    found = seen([front, back])
    own = [found.appearance[(found.actor == i) & (found.frame < 150)] for i in (0, 1)]
    for colours, outfit in zip(own, scene([front, back]).outfits, strict=True):
        np.testing.assert_array_equal(colours[0].reshape(8, 3), outfit)
        np.testing.assert_array_equal(colours, np.broadcast_to(colours[0], colours.shape))
    parts = found.appearance[(found.actor == 1) & (found.frame >= 150)].reshape(-1, 8, 3)
    mine = (parts == own[1][0].reshape(8, 3)).all(-1)
    theirs = (parts == own[0][0].reshape(8, 3)).all(-1)
    assert (mine ^ theirs).all() and theirs.mean() == pytest.approx(0.5, abs=0.05)


def test_light_changes_what_everybody_looks_like_together() -> None:
    together = []
    for seed in range(20):
        found = seen([person(0), person(1, 600.0)], replace(Faults.none(), light=0.2), seed)
        gain = [np.log(found[found.actor == i].appearance.mean(axis=1)) for i in (0, 1)]
        together.append(np.corrcoef(*gain)[0, 1])
        assert all(one.std() > 0.03 for one in gain)
    assert np.mean(together) > 0.3


def test_windows_and_joins_keep_every_row() -> None:
    found = seen([person(0), person(1, 600.0)], Faults())
    parts = [found.window(first, 100) for first in (0, 100, 200)]
    again = Detections.joined(parts[::-1])
    for field in fields(Detections):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(found, field.name))
    assert set(parts[1].frame.tolist()) <= set(range(100, 200))


@pytest.mark.parametrize(
    ("field", "change", "told"),
    [
        ("frame", lambda a: a[::-1].copy(), "never fall"),
        ("frame", lambda a: a.astype(np.float32), "int64"),
        ("box", lambda a: np.where(np.arange(len(a))[:, None] == 7, np.float32(np.nan), a), "NaN .* row 7"),
        ("box", lambda a: a * np.float32([1, 1, 0, 1]), "above 0"),
        ("pose", lambda a: a[:, :23], r"\(24, 3, 3\)"),
        ("confidence", lambda a: a[1:], "rows"),
        ("translation", lambda a: -a, "depth above 0"),
        ("appearance", lambda a: a[:, 0], r"\(A,\)"),
        ("actor", lambda a: a.tolist(), "int64"),
    ],
)
def test_broken_tables_are_refused(field: str, change: object, told: str) -> None:
    good = seen([person()])
    with pytest.raises(BadInput, match=rf"^my table: {field}: .*{told}"):
        replace(good, **{field: change(getattr(good, field))}).validate("my table")  # type: ignore[operator]


def test_a_table_without_rows_is_valid() -> None:
    assert len(seen([person(visible=0.0)])) == 0
