"""Claims: what an experiment is given and scores; that runs are kept, and answers are made of them alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, make_dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from golden import TINY
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from lart_mini import cli
from lart_mini.claims import answers as answering
from lart_mini.claims import runner
from lart_mini.claims.answers import FAILS, HOLDS, NEVER, OPEN, Answer, Judge, ask, table_of, write
from lart_mini.claims.augment import MIRRORED_45, AugmentedDataset, BurstDataset, in_bursts, mirrored
from lart_mini.claims.experiment import HIDDEN, POOLS, Experiment, centred_scores, hide, run, trained
from lart_mini.claims.inputs import INPUTS, body_vector, keypoints_2d, without_heading
from lart_mini.claims.questions import QUESTIONS, Comparison, Question, System
from lart_mini.claims.runner import Kept, run_all
from lart_mini.data.mini_ava import SIZES
from lart_mini.evaluation.ava_csv import CORNERS
from lart_mini.evaluation.frame_map import FRAME, evaluate
from lart_mini.evaluation.intervals import Estimate
from lart_mini.evaluation.key_boxes import ava_rows
from lart_mini.files import BadInput, write_npz
from lart_mini.lart.config import assembly_for
from lart_mini.lart.datasets import TrackletDataset
from lart_mini.lart.predict import box_scores, samples_of
from lart_mini.lart.tokens import TokenBatch, lowest, stats_of
from lart_mini.people.body import FREE_BODY, forward_kinematics, load_body
from lart_mini.people.clips import MIRRORED_JOINTS
from lart_mini.tracklets.tracklet import Tracklet

BASE = Experiment(folds=2, steps=2, frames=16)
PLAIN = Question(
    "Plain",
    "nowhere",
    {
        "linear": System({"model": "linear"}),
        "prior": System({"model": "prior"}),
        "true labels": System({"model": "true labels"}),
        "LART": System(),
        "LART, averaged": System(averaged=True),
        "LART, one frame pooled": System(variant=1),
    },
    (
        Comparison("linear", "prior", "poses say something", paper=3.0),
        Comparison("prior", "linear", "they do not"),
    ),
)


@pytest.fixture(scope="module", autouse=True)
def tiny_folds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """mini_ava's smoke size with a few videos, in a cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SIZES, "smoke", replace(TINY, train=10, kinetics=1, val=10))
        patch.setenv("LART_MINI_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def held_out() -> list[Tracklet]:
    return BASE.data().tracklets("ava-val")


def command(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `lart-mini arguments…`."""
    with pytest.raises(SystemExit) as stopped:
        cli.main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return int(stopped.value.code or 0), printed.out, printed.err


# ------------------------------------------------------------------------------------------------- the inputs


@given(seed=st.integers(0, 100), size=st.floats(0.3, 3))
@settings(max_examples=20, deadline=None)
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
@settings(max_examples=20, deadline=None)
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
    for sample, draw in enumerate(draws):
        first = held_out[draw.ego].frame[draw.start]
        wanted = first + np.rint(draw.rate * np.arange(32))
        for person in range(batch.pose.shape[1]):
            there = batch.detected[sample, person].numpy()
            np.testing.assert_array_equal(batch.pose[sample, person, there, 226].numpy(), wanted[there])
        assert wanted[-1] <= held_out[draw.ego].frame[-1], "no window leaves a tracklet that is long enough"


def test_a_mirrored_item_mirrors_everybody_in_it(held_out: list[Tracklet]) -> None:
    dataset, draws = drawn(held_out, mirror=True)
    batch = dataset.batch(draws)
    turned = []
    for sample, draw in enumerate(draws):
        there = batch.detected[sample]
        signs = np.sign(batch.pose[sample, ..., 226][there].numpy())
        assert (signs == signs[0]).all()
        turned.append(signs[0] < 0)
        others = [other % len(held_out) for other in draw.others]
        scene = held_out[draw.ego % len(held_out)].scene
        assert all(held_out[other].scene == scene for other in others)
    assert 0.25 < np.mean(turned) < 0.75
    assert len(dataset) == len(drawn(held_out)[0]), "an epoch has as many items"


def test_what_is_drawn_depends_on_seed_epoch_and_item_alone(held_out: list[Tracklet]) -> None:
    dataset, draws = drawn(held_out, mirror=True, speed=0.25, burst=4, mask_ratio=0.4)
    others = drawn(held_out, epoch=1, mirror=True, speed=0.25, burst=4, mask_ratio=0.4)[1]
    told = [(draw.ego, draw.start, draw.rate) for draw in draws]
    backwards = [dataset.draw(index) for index in reversed(range(len(draws)))]
    assert told == [(draw.ego, draw.start, draw.rate) for draw in reversed(backwards)]
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
@settings(max_examples=60, deadline=None)
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


# ----------------------------------------------------------------------------------------- boxes and scoring


def test_boxes_name_who_they_show(held_out: list[Tracklet]) -> None:
    scored = BASE.data().scored()
    table, truth = scored.boxes.table, scored.groundtruth
    assert truth["take"].null_count() == 0
    shown = table.drop_nulls("person")
    assert len(table) * 0.7 < len(shown) < len(table)
    assert (shown["overlap"] >= 0.5).all() and shown["take"].null_count() == 0
    # Whom the tracklet's labels are of is the person whose box it is.
    actions = {
        key: set(part["action"].to_list())
        for key, part in truth.group_by([*FRAME, "person"], maintain_order=True)
    }
    agree = []
    for row, i, t in zip(table.iter_rows(named=True), scored.boxes.tracklet, scored.boxes.t, strict=True):
        labels = set((np.flatnonzero(held_out[i].labels[t]) + 1).tolist())
        if labels and row["person"] is not None:
            agree.append(labels == actions[row["video"], row["second"], row["person"]])
    assert np.mean(agree) > 0.9 and len(agree) > 10


def test_annotated_boxes_are_the_annotations_one_a_person() -> None:
    scored = BASE.data().scored()
    table = scored.annotated.table
    assert not table.select(*FRAME, "person").is_duplicated().any()
    keys = [*FRAME, "person", *CORNERS]
    people = scored.groundtruth.select(keys).unique()
    assert len(table.join(people, on=keys, how="semi")) == len(table) > 10


def test_centred_scores_are_the_packages_where_all_is_in_one_window(held_out: list[Tracklet]) -> None:
    experiment = replace(BASE, frames=128, steps=1)
    model, stats, _ = trained(experiment)
    boxes = experiment.boxes()
    found = centred_scores(model, stats, held_out, boxes)
    samples = samples_of(held_out, model.config, stats, assembly_for(model.config))
    expected = box_scores(model, samples, boxes, progress=False)
    np.testing.assert_allclose(found[POOLS.index(12)], expected, atol=1e-6)
    assert not np.allclose(found[POOLS.index(1)], found[POOLS.index(24)])


def test_no_score_depends_on_what_stands_beside_it(held_out: list[Tracklet]) -> None:
    model, stats, _ = trained(BASE)
    boxes = BASE.boxes()
    whole = centred_scores(model, stats, held_out, boxes)
    few = centred_scores(model, stats, held_out, boxes, batch_size=3)
    np.testing.assert_allclose(whole, few, atol=1e-6)


def test_hidden_frames_are_about_the_key_frame_and_the_egos(held_out: list[Tracklet]) -> None:
    model, stats, _ = trained(BASE)
    samples = samples_of(held_out, model.config, stats, assembly_for(model.config))
    batch = samples.batch([samples.draw(index) for index in range(4)])
    for frames, gone in ((0, []), (1, [8]), (6, range(5, 11)), (13, range(2, 15)), (30, range(16))):
        seen = hide(batch, [8] * 4, frames)
        expected = batch.detected.clone()
        expected[:, 0, list(gone)] = False
        assert torch.equal(seen.detected, expected) and torch.equal(seen.present, batch.present)
        assert (seen.pose[~seen.detected] == 0).all()
        assert torch.equal(seen.pose[seen.detected], batch.pose[seen.detected])


def test_a_hidden_persons_pose_cannot_matter(held_out: list[Tracklet]) -> None:
    """Whatever a person does in hidden frames, the scores are the same; with nothing hidden they are not."""
    model, stats, _ = trained(BASE)
    boxes = replace(BASE, hidden=True).boxes()
    rows = slice(0, 5)
    boxes = replace(boxes, table=boxes.table[rows], tracklet=boxes.tracklet[rows], t=boxes.t[rows])
    changed = list(held_out)
    for i, t in zip(boxes.tracklet, boxes.t, strict=True):
        pose = changed[i].pose.copy()
        pose[t - 3 : t + 3] = np.eye(3)
        changed[i] = replace(changed[i], pose=pose)

    def scores_alone(tracklets: list[Tracklet]) -> np.ndarray:
        # A scene of its own for each: what others show cannot tell.
        named = [replace(t, name=f"{t.dataset}_{i:011d}_000000_0_1") for i, t in enumerate(tracklets)]
        return centred_scores(model, stats, named, boxes, True)

    alone, other = scores_alone(held_out), scores_alone(changed)
    same = [bool(np.allclose(a, b, atol=1e-6)) for a, b in zip(alone, other, strict=True)]
    assert same == [False, True, True, True] and HIDDEN == (0, 6, 13, 30)


def test_an_experiment_depends_on_its_parameters_alone() -> None:
    scores, steps = run(BASE)
    assert scores.shape == (len(POOLS), len(BASE.boxes().table), 60) and steps >= BASE.steps
    np.testing.assert_array_equal(scores, run(BASE)[0])
    for change in (
        {"seed": 1},
        {"shuffled": True},
        {"mask": 0.4},
        {"pretrain_steps": 2},
        {"inputs": "no pose"},
        {"inputs": "body"},
        {"mirror": True},
        {"speed": 0.25},
        {"people": 1},
    ):
        assert not np.array_equal(scores, run(replace(BASE, **change))[0]), change


@pytest.mark.parametrize(
    "change",
    [
        {"inputs": "smell"},
        {"people": 0},
        {"folds": 1},
        {"mask": 1.5},
        {"speed": -0.1},
        {"steps": -1},
        {"model": "CNN"},
        {"preset": "x"},
    ],
    ids=str,
)
def test_what_is_no_experiment_is_refused(change: dict) -> None:
    with pytest.raises(BadInput):
        replace(BASE, **change)


# ------------------------------------------------------------------------------------------------ kept runs


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("claims")


@pytest.fixture(scope="module")
def kept(out: Path) -> dict[Experiment, Kept]:
    """The runs of PLAIN with two seeds."""
    return run_all(list(PLAIN.experiments(BASE, 2)), out, jobs=1)


def test_each_run_is_made_once(
    kept: dict[Experiment, Kept], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two folds: one linear model, prior and true labels each; two seeds of the one LART.
    assert len(kept) == 2 * (3 + 2) == len(list((out / "runs").iterdir()))
    monkeypatch.setattr(runner, "run", lambda _: pytest.fail("ran what is kept"))
    assert run_all(list(kept), out, jobs=1) == kept
    table = pl.read_parquet(out / "runs.parquet")
    assert len(table) == len(kept) and set(asdict(BASE)) | {"data", "commit", "seconds", "boxes"} <= set(
        table.columns
    )


def test_a_stopped_run_goes_on_with_what_is_missing(
    kept: dict[Experiment, Kept], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran, plain_run = [], runner.run

    def interrupted(experiment: Experiment) -> tuple[np.ndarray, int]:
        if len(ran) == 3:
            raise KeyboardInterrupt
        ran.append(experiment)
        return plain_run(experiment)

    with monkeypatch.context() as patch:
        patch.setattr(runner, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_all(list(kept), tmp_path, jobs=1)
    assert len(list((tmp_path / "runs").iterdir())) == 3, "whole files alone"
    patch = monkeypatch
    patch.setattr(runner, "run", lambda experiment: ran.append(experiment) or plain_run(experiment))
    again = run_all(list(kept), tmp_path, jobs=1)
    assert len(ran) == len(set(ran)) == len(kept)
    for experiment, one in kept.items():
        np.testing.assert_array_equal(one.scores(), again[experiment].scores())


def test_a_damaged_run_is_one_line(kept: dict[Experiment, Kept], tmp_path: Path) -> None:
    one = next(iter(kept.values()))
    bad = replace(one, path=tmp_path / "bad.npz")
    bad.path.write_bytes(one.path.read_bytes()[:-50])
    with pytest.raises(BadInput, match=r"bad\.npz"):
        bad.scores()
    other = list(kept.values())[-1]
    with pytest.raises(BadInput, match="the experiment that the file's name is a digest of"):
        replace(one, path=other.path).scores()


def test_other_parameters_and_other_data_have_other_files(tmp_path: Path) -> None:
    experiments = [BASE, replace(BASE, seed=1), replace(BASE, mask=0.2), replace(BASE, hidden=True)]
    names = [Kept.of(one, "data", tmp_path).path for one in experiments]
    names += [Kept.of(BASE, "other data", tmp_path).path]
    assert len(set(names)) == 5


def test_a_field_that_comes_later_leaves_kept_runs_where_they_are(
    kept: dict[Experiment, Kept], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = next(iter(kept.values()))
    later = make_dataclass("Later", [("smell", float, 0.5)], bases=(Experiment,), frozen=True)
    monkeypatch.setattr(runner, "DEFAULTS", asdict(later()))
    same, other = later(**asdict(one.experiment)), later(**asdict(one.experiment), smell=0.7)
    assert Kept.of(same, one.data, tmp_path).path.name == one.path.name
    assert Kept.of(other, one.data, tmp_path).path.name != one.path.name
    np.testing.assert_array_equal(replace(one, experiment=same).scores(), one.scores())
    with pytest.raises(BadInput, match="another"):
        replace(one, experiment=other).scores()


@pytest.mark.parametrize("change", [{"lr": 1e-3}, {"seed": 7}, {"mirror": True}, {"data": "other"}], ids=str)
def test_a_file_that_tells_another_value_is_refused(
    kept: dict[Experiment, Kept], tmp_path: Path, change: dict
) -> None:
    one = replace(next(iter(kept.values())), path=tmp_path / "run.npz")
    arrays = {"scores": next(iter(kept.values())).scores()}
    about = next(iter(kept.values())).about()
    assert about.keys() >= asdict(one.experiment).keys(), "the whole experiment, for who reads it"
    write_npz(one.path, arrays | {"about": np.array(json.dumps(about))})
    one.scores()
    write_npz(one.path, arrays | {"about": np.array(json.dumps(about | change))})
    with pytest.raises(BadInput, match="the experiment that the file's name is a digest of"):
        one.scores()


# ------------------------------------------------------------------------------------------------- answers


@pytest.fixture(scope="module")
def answers(kept: dict[Experiment, Kept]) -> list[Answer]:
    return list(Judge(BASE, kept, seeds=2, draws=50).answers("plain", PLAIN))


def test_an_answer_is_the_evaluation_of_all_folds_together(
    kept: dict[Experiment, Kept], answers: list[Answer]
) -> None:
    for system, number in (("linear", 0), ("LART", 0), ("LART, one frame pooled", 1)):
        model = "linear" if system == "linear" else "LART"
        found = []
        for seed in (0,) if model == "linear" else (0, 1):
            tables, truths = [], []
            for fold in range(2):
                one = replace(BASE, fold=fold, seed=seed, model=model)
                boxes = one.boxes()
                named = pl.col("video") + f" of {fold}"
                keys = [*FRAME, *CORNERS, "action", "score"]
                tables.append(
                    ava_rows(boxes, kept[one].scores()[number]).select(keys).with_columns(video=named)
                )
                truths.append(one.data().scored().groundtruth.with_columns(video=named))
            found.append(evaluate(pl.concat(truths), pl.concat(tables)).mean_ap)
        own = next(a for a in answers if (a.system, a.scope) == (system, "all"))
        assert own.estimate.value == pytest.approx(np.mean(found), abs=1e-9)


def test_answers_are_in_order_of_what_is_known(answers: list[Answer]) -> None:
    value = {a.system: a.estimate.value for a in answers if a.scope == "all" and a.than is None}
    assert value["prior"] < value["linear"] < value["true labels"] and value["true labels"] > 0.7
    assert value["LART"] != value["LART, averaged"]
    compared = {(a.system, a.than): a for a in answers if a.than and a.scope == "all"}
    forth, back = compared["linear", "prior"].estimate, compared["prior", "linear"].estimate
    assert (forth.value, forth.low, forth.high) == pytest.approx((-back.value, -back.high, -back.low))
    assert forth.value == pytest.approx(value["linear"] - value["prior"])


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.01, 0.1, HOLDS), (-0.1, -0.01, FAILS), (-0.01, 0.1, OPEN), (0.0, 0.1, OPEN)],
)
def test_a_claim_holds_where_its_whole_interval_is_above_nothing(
    low: float, high: float, verdict: str
) -> None:
    answer = Answer("q", "a", "b", "all", Estimate((low + high) / 2, low, high))
    assert answer.verdict == verdict and replace(answer, than=None).verdict == ""
    assert replace(answer, rests=False).verdict == NEVER


def test_tables_keep_the_answers_to_other_questions(answers: list[Answer], tmp_path: Path) -> None:
    path = tmp_path / "answers.parquet"
    write(table_of(answers, "first"), path)
    write(table_of([replace(a, question="other") for a in answers], "second"), path)
    write(table_of(answers[:3], "third"), path)
    counts = dict(
        pl.read_parquet(path).group_by("question", "command").len().select("command", "len").iter_rows()
    )
    assert counts == {"second": len(answers), "third": 3}
    first = table_of(answers).row(0, named=True)
    assert first["value"] == pytest.approx(100 * answers[0].estimate.value) and first["than"] is None
    path.write_text("no parquet")
    with pytest.raises(BadInput, match=r"answers\.parquet: file"):
        write(table_of(answers), path)


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_question_compares_systems_that_it_has(name: str) -> None:
    question = QUESTIONS[name]
    compared = {row for one in question.comparisons for row in (one.system, one.than)}
    assert compared <= question.systems.keys() and question.title and question.source
    assert all(one.scope in ("headline", "all", "PM", "OM", "PI") for one in question.comparisons)
    experiments = list(question.experiments(Experiment(steps=100), 3))
    assert len(experiments) == len(set(experiments))
    for system in question.systems.values():
        made = system.experiment(Experiment(steps=100))
        assert system.variant is None or system.variant in made.variants()
    if name != "hidden":
        assert any("control" in row for row in question.systems), "shuffled labels beside it"
        assert any(one.shuffled for one in experiments)


def test_hidden_systems_are_matched_in_steps() -> None:
    totals = {
        one.steps + one.pretrain_steps
        for system in QUESTIONS["hidden"].systems.values()
        for one in [system.experiment(Experiment(steps=100))]
    }
    assert totals == {200}


def test_a_question_is_asked_by_one_command(
    out: Path,
    kept: dict[Experiment, Kept],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(QUESTIONS, "plain", PLAIN)
    monkeypatch.setattr(answering, "Experiment", lambda **given: replace(BASE, **given))
    monkeypatch.setattr(runner, "run", lambda _: pytest.fail("ran what is kept"))
    told = "ablate plain --size smoke --folds 2 --seeds 2 --steps 2 --jobs 1 --out".split()
    code, printed, err = command(capsys, *told, out)
    assert (code, err) == (0, "") and printed.splitlines()[0] == "Plain"
    assert "poses say something: linear - prior, headline\n    +" in printed and "the paper: +3.0" in printed
    table = pl.read_parquet(out / "answers.parquet")
    again = table.filter(pl.col("system") == "linear")["command"][0]
    assert again == "lart-mini ablate plain --size smoke --folds 2 --seeds 2 --steps 2"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("ablate telepathy", "lart-mini: ablate: claim: expected ladder | inputs | hidden | people"),
        ("ablate people --size huge", "lart-mini: ablate: size: expected smoke | laptop | gpu, found huge"),
        (
            "ablate people --folds 97",
            "lart-mini: folds: number of folds: expected a whole number from 2 to 96, found 97",
        ),
        (
            "ablate people --folds 1",
            "lart-mini: folds: number of folds: expected a whole number from 2 to 96, found 1",
        ),
        (
            "ablate people --seeds 0",
            "lart-mini: ablate: seeds: expected a whole number from 1 to 64, found 0",
        ),
        ("ablate people --steps 0", "lart-mini: ablate: steps: expected a whole number from 1 on, found 0"),
        ("ablate people --jobs 0", "lart-mini: --jobs: processes: expected a whole number from 1 on"),
        (
            "ablate people --backend pigeon",
            "lart-mini: --backend: backend: expected dask=ADDRESS of a scheduler, found pigeon",
        ),
        (
            "folds --folds 97",
            "lart-mini: folds: number of folds: expected a whole number from 2 to 96, found 97",
        ),
        (
            "folds --class 57",
            "lart-mini: folds: class 57: expected a take that shows it, found none shows text on",
        ),
        (
            "folds --class 90",
            "lart-mini: folds: class: expected the id of one of AVA's 60 evaluated classes, found 90",
        ),
    ],
)
def test_what_cannot_be_asked_is_one_line(
    line: str, said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runner, "linked", lambda *_, **__: pytest.fail("composed"))
    code, printed, err = command(capsys, *line.split())
    assert code == 2 and printed == "" and err.startswith(said) and len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == [], "nothing half-written"


def test_ask_gives_what_it_says(
    out: Path, kept: dict[Experiment, Kept], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BadInput, match="claim"):
        list(ask([], out=out))
    about = next(iter(kept.values())).about()
    assert json.loads(json.dumps(about)) == about and about["steps_taken"] >= 0
