"""What a model is given instead of the person-vector, and what its training draws beyond the paper."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from lart_mini.appearance.looks import Looks, fit_projection, with_appearance
from lart_mini.claims.augment import MIRRORED_45, AugmentedDataset, BurstDataset, in_bursts, mirrored
from lart_mini.claims.experiment import Experiment
from lart_mini.claims.inputs import INPUTS, body_vector, keypoints_2d, without_heading
from lart_mini.claims.looks import LOOKS, WIDTH, looked_at
from lart_mini.data.mini_ava import MiniAva
from lart_mini.data.rendered import Rendered
from lart_mini.lart.datasets import TrackletDataset
from lart_mini.lart.tokens import TokenBatch, lowest, stats_of
from lart_mini.people.body import FREE_BODY, forward_kinematics, load_body
from lart_mini.people.clips import MIRRORED_JOINTS
from lart_mini.tracklets.tracklet import Tracklet, middles


@pytest.fixture(scope="module")
def held_out(tiny: MiniAva) -> list[Tracklet]:
    return tiny.tracklets("ava-val")


# ------------------------------------------------------------------------------------------------- the inputs


@given(seed=st.integers(0, 100), size=st.floats(0.3, 3))
@settings(max_examples=20)
def test_keypoints_do_not_know_how_far_a_figure_is(held_out: list[Tracklet], seed: int, size: float) -> None:
    tracklet = held_out[seed % len(held_out)]
    # The same scene twice as large and twice as far gives the same picture.
    scaled = {"joints": tracklet.joints * size, "translation": tracklet.translation * size}
    larger = replace(tracklet, **{name: value.astype(np.float32) for name, value in scaled.items()})
    far = tracklet.detected & (tracklet.translation[:, 2] > 2) & (larger.translation[:, 2] > 2)
    one, other = keypoints_2d(tracklet).vector()[far], keypoints_2d(larger).vector()[far]
    np.testing.assert_allclose(one, other, atol=1e-3)


def test_keypoints_are_where_the_picture_shows_them(held_out: list[Tracklet]) -> None:
    for tracklet in held_out[:6]:
        vector = keypoints_2d(tracklet).vector()
        points, (x, y, log_height) = vector[:, :88].reshape(-1, 44, 2), vector[:, 226:].T
        place = tracklet.translation
        np.testing.assert_allclose(np.stack([x, y]), place[:, :2].T / place[:, 2], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(np.ptp(points[..., 1], axis=1), 1, atol=1e-4)
        np.testing.assert_allclose(points[:, 8], 0, atol=1e-5)
        assert (vector[:, 88:226] == 0).all()
        # The nose (0) is above the pelvis in a picture whose y runs downwards, where the body is upright.
        upright = tracklet.joints[:, 0, 1] < tracklet.joints[:, 8, 1] - 0.3
        assert (points[upright, 0, 1] < 0).all()
        assert (np.exp(log_height) * place[:, 2] < 3).all(), "metres at the pelvis' depth"


@pytest.mark.parametrize("name", INPUTS)
def test_what_is_taken_away_says_nothing(held_out: list[Tracklet], name: str) -> None:
    columns = {
        "orientation": slice(0, 9),
        "pose": slice(9, 216),
        "shape": slice(216, 226),
        "place": slice(226, 229),
    }
    given = [INPUTS[name](tracklet) for tracklet in held_out]
    plain = np.concatenate([t.vector()[t.detected] for t in held_out])
    normal = stats_of(given).normalise(np.concatenate([t.vector()[t.detected] for t in given]))
    kept = {
        part for part in columns
        if name == "person-vector" or (part not in name if name.startswith("no ") else name.startswith(part))
    }  # fmt: skip
    if name not in ("2D keypoints", "body"):
        for part, column in columns.items():
            if part in kept:
                expected = stats_of(held_out).normalise(plain)[:, column]
                np.testing.assert_array_equal(normal[:, column], expected)
            else:
                assert (normal[:, column] == 0).all(), part
    assert normal.shape[1] == 229 and all(t.validate() for t in given)


@given(seed=st.integers(0, 100), angle=st.floats(-4, 4))
@settings(max_examples=20)
def test_turning_the_world_changes_nothing_but_the_place(
    held_out: list[Tracklet], seed: int, angle: float
) -> None:
    tracklet = held_out[seed % len(held_out)]
    turn = Rotation.from_rotvec([0, angle, 0]).as_matrix().astype(np.float32)  # about the camera's vertical
    pose = tracklet.pose.copy()
    pose[:, 0] = turn @ pose[:, 0]
    turned = replace(tracklet, pose=pose, translation=tracklet.translation @ turn.T)
    one, other = (body_vector(t).vector()[tracklet.detected] for t in (tracklet, turned))
    # Upside down there is no heading; near it rounding is enlarged.
    orientation = tracklet.pose[tracklet.detected, 0]
    sure = np.hypot(orientation[:, 0, 0] - orientation[:, 2, 2], orientation[:, 0, 2] + orientation[:, 2, 0])
    np.testing.assert_allclose(one[sure > 0.05, :226], other[sure > 0.05, :226], atol=1e-3)
    assert (sure > 0.05).mean() > 0.9
    expected = tracklet.translation[tracklet.detected] @ turn.T
    np.testing.assert_allclose(other[:, 226:], expected, atol=1e-5)


def test_a_body_is_its_tilt_its_rotations_and_its_joints(held_out: list[Tracklet]) -> None:
    for tracklet in held_out[:6]:
        vector = body_vector(tracklet).vector()
        rotations, joints = vector[:, :144].reshape(-1, 24, 3, 2), vector[:, 144:216].reshape(-1, 24, 3)
        # Two columns are all of a rotation.
        whole = np.concatenate([rotations, np.cross(rotations[..., 0], rotations[..., 1])[..., None]], -1)
        np.testing.assert_allclose(whole[:, 1:], tracklet.pose[:, 1:], atol=1e-3)
        expected = forward_kinematics(
            whole, load_body(FREE_BODY).rest_joints(), np.zeros_like(tracklet.translation)
        )
        np.testing.assert_allclose(joints, expected, atol=2e-3)
        other = replace(tracklet, betas=tracklet.betas + 1, joints=tracklet.joints * 2)
        np.testing.assert_array_equal(vector, body_vector(other).vector())
        np.testing.assert_array_equal(vector[:, 226:], tracklet.translation)


def test_without_a_heading_who_stands_faces_the_camera_and_who_lies_keeps_lying() -> None:
    facing = np.diag([1.0, -1, -1])
    angles = np.linspace(-3, 3, 13)
    headings = Rotation.from_rotvec(angles[:, None] * [0, 1, 0]).as_matrix()
    np.testing.assert_allclose(
        without_heading(headings @ facing), np.broadcast_to(facing, (13, 3, 3)), atol=1e-9
    )
    for axis in ([1, 0, 0], [0, 0, 1]):  # on back or belly, on either side
        for angle in (-np.pi / 2, np.pi / 2):
            lying = facing @ Rotation.from_rotvec(angle * np.array(axis)).as_matrix()
            np.testing.assert_allclose(without_heading(headings @ lying), [lying] * 13, atol=1e-9)


# ------------------------------------------------------------------------------- what training draws beside


@dataclass(frozen=True)
class FakeFold:
    """A fold of these videos, drawn."""

    data_set: Rendered

    def data(self) -> Rendered:
        return self.data_set

    def tracklets(self, split: str) -> list[Tracklet]:
        return self.data_set.tracklets(split)


def test_people_are_looked_at_as_the_training_tracks_say(
    tiny: MiniAva, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The vectors of held-out people come of a projection that has not seen them."""

    def looks_of(data: Rendered, split: str, *, drawn: bool, jobs: int) -> Looks:
        rows = [(i, t) for i, one in enumerate(data.tracklets(split)) for t in middles(one)]
        index, rng = np.array(rows), np.random.default_rng([len(split), drawn])
        box, hands, head = (rng.normal(size=(len(rows), n)).astype(np.float32) for n in (608, 1552, 776))
        return Looks(index[:, 0], index[:, 1], box, hands.reshape(-1, 2, 776), head)

    monkeypatch.setattr("lart_mini.claims.looks.rendered_looks", looks_of)
    data = Rendered(tiny.path, "tiny", 0)
    for name, (pooling, drawn) in {name: how for name, how in LOOKS.items() if how}.items():
        shown = looked_at(FakeFold(data), "ava-val", name)
        train, own = (looks_of(data, split, drawn=drawn, jobs=1) for split in ("ava-train", "ava-val"))
        wanted = with_appearance(tiny.tracklets("ava-val"), own, fit_projection(train, pooling, WIDTH)(own))
        for one, other in zip(shown, wanted, strict=True):
            np.testing.assert_allclose(one.appearance, other.appearance, atol=1e-5)
    assert all(one.appearance is None for one in looked_at(FakeFold(data), "ava-val", "unseen"))
    assert Experiment(looks="hands").config().appearance == WIDTH
    assert not Experiment(looks="unseen").config().appearance and Experiment(looks="unseen").data().rendered
    assert not Experiment().data().rendered


def test_a_mirrored_person_is_the_mirrored_skeleton(held_out: list[Tracklet]) -> None:
    rest, flip = load_body(FREE_BODY).rest_joints(), np.array([-1, 1, 1])
    even = (rest + rest[MIRRORED_JOINTS] * flip) / 2  # the body's own sides differ by millimetres
    for tracklet in held_out[:6]:
        other = mirrored(tracklet).validate()
        joints, found = (forward_kinematics(t.pose, even, t.translation) for t in (tracklet, other))
        np.testing.assert_allclose(found, joints[:, MIRRORED_JOINTS] * flip, atol=1e-5)
        np.testing.assert_array_equal(other.labels, tracklet.labels)
        twice = mirrored(other)
        for name in ("pose", "translation", "joints", "betas"):
            np.testing.assert_array_equal(getattr(twice, name), getattr(tracklet, name))
        np.testing.assert_allclose(twice.box, tracklet.box, atol=1e-3)
        assert other.scene != tracklet.scene and len(other.scene) > len(tracklet.scene)


def test_mirrored_joints_are_those_of_the_mirrored_pose(held_out: list[Tracklet]) -> None:
    body = load_body(FREE_BODY)
    alike = np.delete(np.arange(45), [38, 43])  # the highest vertex of the head lies on one side
    for tracklet in held_out[:3]:
        plain = replace(tracklet, joints=body.joints45(tracklet.pose))
        other = mirrored(plain)
        expected = body.joints45(other.pose)
        np.testing.assert_allclose(other.joints[:, alike], expected[:, alike], atol=0.03)
    np.testing.assert_array_equal(MIRRORED_45[MIRRORED_45], np.arange(45))


def drawn(tracklets: list[Tracklet], epoch: int = 0, **how: object) -> tuple[AugmentedDataset, list]:
    """An AugmentedDataset of one scene's people and frame numbers as places, and 40 of its draws."""
    counted = [
        replace(t, translation=np.stack([t.frame, t.frame * 0 + i + 1, t.frame], axis=1).astype(np.float32))
        for i, t in enumerate(tracklets)
    ]
    if how.get("mirror"):
        counted += [mirrored(t) for t in counted]
    none = replace(stats_of(counted), mean=np.zeros(229, np.float32), std=np.ones(229, np.float32))
    dataset = AugmentedDataset(counted, stats=none, train=True, frames=32, people=3, seed=5, **how)
    dataset.set_epoch(epoch)
    return dataset, [dataset.draw(index % len(dataset)) for index in range(min(40, len(dataset)))]


def test_a_window_is_played_at_its_rate_by_all_its_people(held_out: list[Tracklet]) -> None:
    dataset, draws = drawn(held_out, speed=0.25)
    rates = np.array([draw.rate for draw in draws])
    assert 0.8 <= rates.min() < 0.9 and 1.1 < rates.max() <= 1.25
    batch = dataset.batch(draws)
    for sample, item in enumerate(draws):
        first = held_out[item.ego].frame[item.start]
        wanted = first + np.rint(item.rate * np.arange(32))
        for person in range(batch.pose.shape[1]):
            there = batch.detected[sample, person].numpy()
            np.testing.assert_array_equal(batch.pose[sample, person, there, 226].numpy(), wanted[there])
        assert wanted[-1] <= held_out[item.ego].frame[-1], "no window leaves a tracklet that is long enough"


def test_a_mirrored_item_mirrors_everybody_in_it(held_out: list[Tracklet]) -> None:
    dataset, draws = drawn(held_out, mirror=True)
    batch = dataset.batch(draws)
    turned = []
    for sample, item in enumerate(draws):
        there = batch.detected[sample]
        signs = np.sign(batch.pose[sample, ..., 226][there].numpy())
        assert (signs == signs[0]).all()
        turned.append(signs[0] < 0)
        others = [other % len(held_out) for other in item.others]
        scene = held_out[item.ego % len(held_out)].scene
        assert all(held_out[other].scene == scene for other in others)
    assert 0.25 < np.mean(turned) < 0.75
    assert len(dataset) == len(drawn(held_out)[0]), "an epoch has as many items"


def test_what_is_drawn_depends_on_seed_epoch_and_item_alone(held_out: list[Tracklet]) -> None:
    dataset, draws = drawn(held_out, mirror=True, speed=0.25, burst=4, mask_ratio=0.4)
    others = drawn(held_out, epoch=1, mirror=True, speed=0.25, burst=4, mask_ratio=0.4)[1]
    told = [(draw.ego, draw.start, draw.rate) for draw in draws]
    last_first = [dataset.draw(index) for index in reversed(range(len(draws)))]
    assert told == [(draw.ego, draw.start, draw.rate) for draw in reversed(last_first)]
    assert told != [(d.ego, d.start, d.rate) for d in others]
    whole = dataset.batch(draws)
    for index in (0, 7, 13):
        alone = dataset.batch([dataset.draw(index)])
        people = alone.pose.shape[1]
        for name, tensor in alone.tensors().items():
            assert torch.equal(getattr(whole, name)[index : index + 1, :people], tensor), name


def test_without_speed_and_mirror_it_is_the_plain_data_set(held_out: list[Tracklet]) -> None:
    common = {"stats": stats_of(held_out), "train": True, "frames": 32, "people": 3, "mask_ratio": 0.4}
    plain, other = (kind(held_out, **common) for kind in (TrackletDataset, AugmentedDataset))

    def batch(dataset: TrackletDataset) -> TokenBatch:
        return dataset.batch([dataset.draw(index) for index in range(12)])

    for name, tensor in batch(plain).tensors().items():
        assert torch.equal(tensor, batch(other).tensors()[name]), name


@given(seed=st.integers(0, 10**6), ratio=st.floats(0, 1), burst=st.integers(2, 20))
@settings(max_examples=60)
def test_bursts_are_as_many_tokens_in_longer_runs(seed: int, ratio: float, burst: int) -> None:
    detected = torch.rand(2, 3, 60, generator=torch.Generator().manual_seed(seed)) < 0.9
    lots = np.random.default_rng(seed).random((2, 3, 60))
    bursts = np.stack([in_bursts(one, burst) for one in lots])
    assert (bursts >= 0).all() and (bursts < 1).all()
    masks = [lowest(torch.from_numpy(drawn), detected, ratio) for drawn in (bursts, lots)]
    assert not (masks[0] & ~detected).any()
    assert (masks[0].flatten(1).sum(1) == masks[1].flatten(1).sum(1)).all()
    # Edges between what is masked and what is not, gaps of detections left out: two a burst at most.
    for sample, seen in zip(masks[0], detected, strict=True):
        edges = sum(
            int((row[there][1:] != row[there][:-1]).sum()) for row, there in zip(sample, seen, strict=True)
        )
        assert edges <= 2 * (int(sample.sum()) / burst * 2 + 2 * 3 + 1)


def test_a_data_set_of_bursts_masks_them(held_out: list[Tracklet]) -> None:
    common = {
        "stats": stats_of(held_out),
        "train": True,
        "frames": 64,
        "people": 3,
        "mask_ratio": 0.4,
        "seed": 3,
    }
    dataset = BurstDataset(held_out, burst=13, **common)
    batch = dataset.batch([dataset.draw(index) for index in range(8)])
    masked, detected = batch.masked, batch.detected
    assert masked is not None and 0.3 < float((masked & detected).sum() / detected.sum()) <= 0.4
    run_lengths = [
        len(part) for row in masked.flatten(0, 1) for part in "".join("x "[not m] for m in row).split()
    ]
    assert np.mean(run_lengths) > 6
    again = dataset.batch([dataset.draw(index) for index in range(8)]).masked
    assert torch.equal(masked, again)
