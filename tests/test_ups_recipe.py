"""UPS's training, scores, baselines and users' files: rotation, equal steps, judged alike, read safely."""

from __future__ import annotations

import inspect
import pickle
import re
import runpy
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from notebook_kit import ROOT
from scipy.spatial.transform import Rotation as Rotation3D
from scipy.special import softmax

from lart_mini import cli
from lart_mini.files import BadInput
from lart_mini.training.checkpoints import save_checkpoint
from lart_mini.training.graphs import Replayed
from lart_mini.ups import baselines, recipe, scores, tasks
from lart_mini.ups.config import UPSConfig
from lart_mini.ups.human36m import (
    LEFT,
    OF_32,
    RIGHT,
    detection_views,
    motion_windows,
    read_detections_2d,
    read_positions,
)
from lart_mini.ups.model import sentence_loss
from lart_mini.ups.recipe import Recipe, Rotation, new_model, random_routes, save_ups
from lart_mini.ups.shipped import load_shipped
from lart_mini.ups.vocabulary import TASKS, action_names, load_vocabulary

WORDS = load_vocabulary(action_names(tasks.CLASSES), 8)
TINY = UPSConfig.mini(
    WORDS, joint_width=4, width=16, heads=2, frame_heads=2, encoder_layers=1, decoder_layers=1, task_width=8,
    place_width=4, blocks=2,
)  # fmt: skip
SHORT = Recipe(rotations=2, lifting_batch=4, action_batch=3)


@pytest.fixture(scope="module")
def source() -> tasks.Windows:
    """Training windows: every eighth."""
    return tasks.load_windows()["train"][::8]


@pytest.fixture(scope="module")
def held() -> tasks.Windows:
    return tasks.load_windows()["val"][::12]


# ------------------------------------------------------------------------------------------------ training


def test_tasks_take_turns_in_the_papers_order(source: tasks.Windows) -> None:
    rotation = Rotation(SHORT, source, WORDS)
    batches = list(rotation.steps(0, 8, torch.device("cpu")))
    assert [TASKS[int(batch.task[0])] for batch in batches] == list(TASKS) * 2 and len(rotation) == 8
    assert [tuple(batch.target.shape) for batch in batches[:4]] == [(4, 52), (3, 2), (3, 2), (3, 2)]
    for batch, task in zip(batches, TASKS * 2, strict=True):
        assert WORDS.well_formed(batch.target.numpy(), task, 17).all()
        assert (batch.goal is not None) == (task == "lifting")
    again = Rotation(SHORT, source, WORDS).batch(5)  # of (seed, step) alone: a resumed run sees the same
    assert torch.equal(again.pose, batches[5].pose)
    assert not torch.equal(batches[0].pose, batches[4].pose)
    halves = [Rotation(SHORT, source, WORDS, rank=rank, world=2).batch(0) for rank in (0, 1)]
    assert torch.equal(torch.stack([halves[0].pose, halves[1].pose], 1).flatten(0, 1), batches[0].pose)


@pytest.mark.parametrize("changes", [{"blocks": 1}, {}, {"routes": (0, 1, 0, 1)}])
def test_a_step_waits_for_no_value(changes: dict[str, Any], source: tasks.Windows) -> None:
    """On the meta device there are none: a GPU's step can be recorded, and Python need not wait for it."""
    model, rotation = new_model(replace(TINY, **changes), WORDS).to("meta"), Rotation(SHORT, source, WORDS)
    for batch in rotation.steps(0, 4, torch.device("meta")):
        sentence_loss(model.train()(batch), batch, batch.weight()).backward()
    assert model.start.grad is not None and model.start.grad.is_meta


def test_each_task_is_recorded_by_itself(source: tasks.Windows) -> None:
    recorded: list[int] = []

    def record(work: Any) -> Any:
        recorded.append(int(work()[0]))
        return (lambda: None), (torch.tensor(recorded[-1]),)

    replayed = Replayed(lambda batch: (torch.tensor(batch.kind()),), record)
    batches = Rotation(replace(SHORT, rotations=3), source, WORDS).steps(0, 12, torch.device("cpu"))
    assert [int(replayed(batch)[0]) for batch in batches] == [TASKS.index(task) for task in TASKS] * 3
    assert recorded == [TASKS.index(task) for task in TASKS], "three of them have batches of one size"


def test_training_repeats_itself_and_is_kept(source: tasks.Windows, tmp_path: Path) -> None:
    looked: list[int] = []
    first = recipe.unified(TINY, WORDS, source, SHORT, tmp_path, progress=False, watch=looked.append)
    second = recipe.unified(TINY, WORDS, source, SHORT, tmp_path, progress=False)
    other = recipe.unified(TINY, WORDS, source, SHORT, progress=False)
    assert looked == list(range(8)) and len(first.history[0].loss) == 8 and second.history == ()
    for trained in (second, other):
        for name, weight in first.models["early"].state_dict().items():
            assert torch.equal(weight, trained.models["early"].state_dict()[name]), name
    recipe.unified(TINY, WORDS, source[1:], replace(SHORT, rotations=1), tmp_path, progress=False)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2  # other data, another file


def test_a_users_own_windows_can_be_drawn() -> None:
    """NTU's 25 joints: arrays alone are needed."""
    clips = list(np.random.default_rng(0).normal(0, 0.3, (6, 40, 25, 3)))

    def draw(task: str, rng: np.random.Generator, count: int) -> tasks.Views:
        rows = rng.integers(0, len(clips), count)
        ratio = rng.choice(tasks.RATIOS, count)
        return tasks.skeleton_views(task, [clips[i] for i in rows], rows % 2, rows.astype(str), ratio=ratio)

    words = load_vocabulary(["drink water", "sit down"], 8, "random", width=12)
    model = new_model(UPSConfig.mini(words, joints=25, joint_width=4, width=16, encoder_layers=1), words)
    own = Recipe(tasks=("early", "action3d"), rotations=1, action_batch=4)
    history = recipe.train(model, words, draw, own, progress=False)
    assert len(history.loss) == 2
    seen = tasks.skeleton_views("early", clips, [0, 1] * 3, list("abcdef"), ratio=0.2)
    assert set(scores.summary(scores.judge_model(model, words, seen))) == {"top1", "recall", "malformed"}


def test_routes_are_logged_over_training(source: tasks.Windows) -> None:
    model = new_model(TINY, WORDS)
    log = recipe.RouteLog(model, every=4)
    recipe.train(model, WORDS, source, replace(SHORT, lr=0.05), watch=log, progress=False)
    assert log.steps == [0, 4] and np.shape(log.routes) == (2, 4, 1) and log.scores[0].shape == (4, 1, 2)
    for routes, scores_then in zip(log.routes, log.scores, strict=True):
        assert (np.array(routes) == scores_then.argmax(-1)).all()
    assert not np.array_equal(*log.scores)  # a copy of each time


def test_the_benchmarks_routes(source: tasks.Windows, tmp_path: Path) -> None:
    """Random ones are drawn from the run's seed; of learnt ones is kept how sure they were."""
    script = runpy.run_path(str(ROOT / "benchmarks" / "ups_tasks.py"))
    once = replace(SHORT, rotations=1, seed=2)
    models, none = script["SYSTEMS"]["random routes"](source, once, tmp_path / "random")
    config = models["lifting"].config
    assert none is None and config.routes == random_routes(config, 2) != random_routes(config, 0)
    _, routes = script["SYSTEMS"]["routed"](source, once, tmp_path / "routed")
    sure = np.array(routes["sure"])
    assert sure.shape == np.shape(routes["routes"]) == (1, 4, 3) and (0.5 <= sure).all() and (sure < 1).all()
    told = script["written"](routes)
    assert told["sure"] == ["".join(f"{100 * share:02.0f}" for share in sure.ravel())]
    del routes["sure"]  # runs before had not kept it
    assert script["written"](routes) == {name: told[name] for name in ("steps", "routes")}


def test_steps_are_counted(source: tasks.Windows) -> None:
    one = replace(SHORT, tasks=("early", "action3d"), rotations=1)
    parted = recipe.separate(TINY, WORDS, source, one, progress=False)
    assert parted.steps == {"early": 1, "action3d": 1}
    assert parted.models["early"] is not parted.models["action3d"]
    assert parted.models["early"].config.blocks == 1
    assert recipe.separate(TINY, WORDS, source, one, "all", progress=False).steps["early"] == 2
    whole = recipe.unified(TINY, WORDS, source, one, progress=False)
    before = whole.models["early"].write[1].weight.clone()
    tuned = recipe.finetuned(whole, WORDS, source, one, 3, progress=False)
    assert tuned.steps == {"early": 5, "action3d": 5}
    assert torch.equal(whole.models["early"].write[1].weight, before)  # a copy was trained
    assert not torch.equal(tuned.models["early"].write[1].weight, before)


def test_no_batch_of_fine_tuning_was_one_of_the_joint_training(
    source: tasks.Windows, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[bytes] = []

    def noted(*given: Any) -> tasks.Views:
        found = tasks.training_views(*given)
        drawn.append(found.pose.tobytes())
        return found

    monkeypatch.setattr(recipe, "training_views", noted)
    whole = recipe.unified(TINY, WORDS, source, SHORT, progress=False)
    joint = set(drawn)
    recipe.finetuned(whole, WORDS, source, SHORT, SHORT.steps, progress=False)
    assert len(joint) == 8 and len(drawn) == 40 and not joint & set(drawn[8:])


def test_a_tiny_model_learns_its_batch(source: tasks.Windows) -> None:
    """Two windows by heart, decoded word by word without a mistake: targets, start, shift and cache agree."""
    config = replace(TINY, blocks=1, word_dropout=0.0, width=48, heads=4)
    rotation = Rotation(replace(SHORT, lifting_batch=2), source, WORDS)
    model, batch = new_model(config, WORDS), rotation.batch(0)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    model.train()
    for _ in range(150):
        optimizer.zero_grad()
        recipe.sentence_loss(model(batch), batch, batch.weight()).backward()
        optimizer.step()
    said, _ = model.eval().decode(batch.pose, batch.seen, "lifting")
    assert torch.equal(said, batch.target)


# ------------------------------------------------------------------------------------ scores and baselines


def test_answers_are_read_by_the_vocabulary(held: tasks.Windows) -> None:
    model = new_model(replace(TINY, routes=recipe.routes_by_hand(TINY)), WORDS)
    for task in TASKS:
        seen = tasks.scored_views(task, held)
        said = scores.answers(model, WORDS, seen, size=7)
        count = 52 if task == "lifting" else 2
        words, odds = model.decode(torch.from_numpy(seen.pose), torch.from_numpy(seen.seen), task, count)
        assert (said.malformed == ~WORDS.well_formed(words.numpy(), task, 17)).all()
        if task != "lifting":
            first = words[:, 0].numpy()
            assert (said.label == np.where(first < 17, first, -1)).all()
            continue
        for place in (3, 22, 50):  # literal: the axis' own bins at each place
            start = 17 + place % 3 * 8
            own = odds[0, place, start : start + 8]
            found = said.pose[0].ravel()[place], said.mean_pose[0].ravel()[place]
            assert found[0] == pytest.approx(WORDS.middles[int(own.argmax())])
            assert found[1] == pytest.approx(float(own.softmax(0).numpy() @ WORDS.middles), abs=1e-5)
        assert not said.pose[:, 0].any()


def test_a_perfect_answer_and_a_wrong_one(held: tasks.Windows) -> None:
    seen = tasks.scored_views("action3d", held)
    assert scores.summary(scores.judge(seen, seen.label)) == {"top1": 100, "recall": 100}
    wrong = np.where(seen.label == seen.label[0], -1, seen.label)
    found = scores.summary(scores.judge(seen, wrong))
    share = (seen.label == seen.label[0]).mean()
    assert found["top1"] == pytest.approx(100 * (1 - share))
    assert found["recall"] == pytest.approx(100 * (1 - 1 / len(np.unique(seen.label))))
    lifted = tasks.scored_views("lifting", held)
    exact = scores.summary(scores.judge(lifted, lifted.goal))
    assert max(exact.values()) < 1e-3
    turned = lifted.goal * np.float32([-1, 1, -1])
    assert scores.summary(scores.judge(lifted, turned))["heading"] == pytest.approx(180, abs=1e-3)
    with pytest.raises(BadInput, match="ups: answers"):
        scores.judge(seen, seen.label[1:])


def test_scores_under_weights_are_those_of_takes_standing_so_often(held: tasks.Windows) -> None:
    rng = np.random.default_rng(0)
    lifted, seen = tasks.scored_views("lifting", held), tasks.scored_views("action2d", held)
    judged = [
        scores.judge(lifted, lifted.goal + rng.normal(0, 0.1, lifted.goal.shape)),
        scores.judge(seen, rng.integers(0, 17, len(seen.label))),
    ]
    for one in judged:
        names = np.unique(one.take)
        often = rng.integers(1, 4, len(names))
        weights = often[np.searchsorted(names, one.take)].astype(float)
        rows = np.repeat(np.arange(len(one.take)), weights.astype(int))
        copies = scores.Judged({k: v[rows] for k, v in one.values.items()}, one.label[rows], one.take[rows])
        under, plain = scores.measured(one, weights[None]), scores.summary(copies)
        for name, value in plain.items():
            assert under[name][0] == pytest.approx(value), name
        draws = scores.draws_of(one, 50)
        mine = scores.interval([one, one], next(iter(plain)), draws)
        assert mine.low <= mine.value <= mine.high
        assert mine.value == pytest.approx(next(iter(scores.summary(one).values())))
        none = scores.interval([one], next(iter(plain)), draws, minus=[one])
        assert none.low == none.value == none.high == 0
        for others in (names[1:], names[:-1]):  # a take that is not drawn is not its neighbour
            few = scores.draws_of(replace(one, take=others), 50)
            with pytest.raises(
                BadInput, match=f"ups: take: expected one of the {len(others)} that are drawn"
            ):
                scores.interval([one], next(iter(plain)), few)


def test_baselines_answer_what_they_should(source: tasks.Windows, held: tasks.Windows) -> None:
    seen, lifted = tasks.scored_views("action3d", held), tasks.scored_views("lifting", held)
    own = np.bincount(source.labelled.label)
    assert (baselines.fit_majority(source)(seen) == own.argmax()).all()
    for task, ratio, axes in (("action3d", 1.0, 3), ("early", 0.4, 3), ("action2d", 1.0, 2)):
        linear = baselines.fit_linear(task, source, ratio, samples=400)
        found = inspect.getclosurevars(linear).nonlocals
        drawn = tasks.training_views(task, source, np.random.default_rng(5), 400, ratio=ratio)
        assert (drawn.seen.mean(axis=1) == ratio).all()
        x = (drawn.pose[..., :axes].reshape(400, -1) - found["mean"]) / found["spread"]
        error = (softmax(x @ found["w"] + found["b"], axis=1) - np.eye(17)[drawn.label]) / 400
        slope = x.T @ error + 2 * 3e-3 * found["w"]
        assert np.abs(slope).max() < 1e-4 and np.abs(error.sum(axis=0)).max() < 1e-4, "not yet the optimum"
        learnt = tasks.views(task, source.labelled, np.random.default_rng(0), ratio=ratio)
        assert (linear(learnt) == learnt.label).mean() > max(0.6, own.max() / own.sum()), task
    errors = {}
    methods = {"mean": baselines.fit_mean_pose(source, 400), "bins": baselines.through_bins(WORDS)}
    methods |= {f: baselines.fit_ridge(source, f, 1500) for f in ("one", "all")}
    for name, method in methods.items():
        judged = scores.judge(lifted, method(lifted))
        errors[name] = scores.summary(judged)["mpjpe"]
    assert errors["bins"] < errors["one"] < errors["mean"] and errors["all"] < errors["mean"]
    # Of 8 bins over 2 m: 0.4803 · 250 mm, the hip excepted, if poses were spread evenly in their bins.
    assert errors["bins"] == pytest.approx(0.4803 * 250 * 16 / 17, rel=0.15)


def test_networks_train_with_the_same_trainer(source: tasks.Windows, held: tasks.Windows) -> None:
    lifted = tasks.scored_views("lifting", held)
    for model, loss in (
        (baselines.ResidualMLP(width=32), baselines.squared_loss),
        (baselines.Regressor(TINY), baselines.smooth_loss),
    ):
        method = baselines.fit_network(model, loss, source, WORDS, replace(SHORT, lr=1e-3), progress=False)
        found = method(lifted)
        assert found.shape == lifted.goal.shape and np.isfinite(found).all() and not found[:, 0].any()
        batch = recipe.to_batch(lifted, WORDS)
        whole = loss(model(batch), batch, batch.weight())
        cut = [batch[:5], batch[5:]]
        parts = [loss(model(part), part, batch.weight()) for part in cut]
        assert sum(part.item() for part in parts) == pytest.approx(whole.item(), rel=1e-4)


# -------------------------------------------------------------------------------------------- users' files


def human36m_file(path: Path, **entries: Any) -> Path:
    """As VideoPose3D's scripts write them: each entry a pickled object."""
    np.savez_compressed(path, **{name: np.array(value, dtype=object) for name, value in entries.items()})
    return path


def metadata(**changes: Any) -> dict[str, Any]:
    told = {"layout_name": "h36m", "num_joints": 17, "keypoints_symmetry": [LEFT, RIGHT]}
    return told | changes


def test_positions_become_windows_of_the_kit(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    walked = rng.normal(0, 1, (230, 32, 3)).astype(np.float32)
    clips = {"Walking 1": walked, "Eating": walked[:50]}
    path = human36m_file(tmp_path / "3d.npz", positions_3d={"S1": clips})
    found = read_positions(path)
    assert list(found) == ["S1/Walking 1", "S1/Eating"]
    joints = found["S1/Walking 1"]
    x, y, z = np.moveaxis(walked[:, OF_32], -1, 0)
    assert np.array_equal(joints, np.stack([x, z, -y], axis=-1))  # z was up, and no mirror
    windows = motion_windows(found)
    assert windows.joints.shape[1:] == (60, 17, 3) and set(windows.take) == {"S1/Walking 1"}
    assert np.array_equal(windows.joints[1, 30], joints[25 + 50])  # a second into the window
    assert tasks.scored_views("lifting", windows).pose.shape[1:] == (10, 17, 3)
    for wrong, match in (
        ({"short": joints[:98]}, "sequences: expected one of 99 frames or more"),
        ({"a": joints, "b": joints * np.nan}, "b: expected finite coordinates .* found nan"),
        ({"a": joints, "b": joints[:, :16]}, r"b: expected numbers \(T, 17, 3\), found shape \(230, 16, 3\)"),
    ):
        with pytest.raises(BadInput, match=f"windows: {match}"):
            motion_windows(wrong)
    with pytest.raises(BadInput, match="windows: rate: expected a finite number from 1 to 1000"):
        motion_windows(found, rate=1e300)
    for unlabelled in (
        lambda: baselines.fit_majority(windows),
        lambda: baselines.fit_linear("action2d", windows),
        lambda: tasks.scored_views("early", windows),
    ):
        with pytest.raises(
            BadInput, match="ups: windows: expected one or more that show a class, found none"
        ):
            unlabelled()


@pytest.mark.parametrize(("pan", "tilt"), [(0, 0), (20, 0), (-30, 15)])
def test_detections_are_seen_as_the_kits_own(tmp_path: Path, pan: float, tilt: float) -> None:
    """A filmed clip in pixels, written as a user's file, gives the input that lifting has of it.

    A camera that looks elsewhere sees the same; the right answer turns with it.
    """
    held = tasks.load_windows()["val"][:1]
    quiet = tasks.Filming(aim=0, noise_2d=0, astray=0, swapped=0)
    camera = tasks.film(np.random.default_rng(0), held.joints, quiet)
    expected = tasks.seen_in_2d(np.random.default_rng(0), camera, quiet)[0]
    away = Rotation3D.from_euler("YX", [pan, tilt], degrees=True).as_matrix()
    turned = camera[0] @ away.T
    pixels = 1145 * turned[..., :2] / turned[..., 2:] + [513, 509]  # (10,17,2), 5 frames a second
    path = tmp_path / "2d.npz"
    human36m_file(path, positions_2d={"S9": {"Walk": [pixels, pixels]}}, metadata=metadata())
    read = read_detections_2d(path)["S9/Walk"]
    assert len(read) == 2
    seen, turns = detection_views(read[0], rate=5)
    assert np.abs(seen.pose[tasks.MIDDLE] - expected).max() < 1e-4
    about_hip = camera[0] - camera[0, :, :1]
    assert np.allclose(about_hip @ turns[tasks.MIDDLE], about_hip @ away.T, atol=1e-5)
    assert len(seen.pose) == 10 and (seen.pose[0, 0] == seen.pose[0, 5]).all()  # held before the beginning
    for wrong in (read[0] * np.nan, read[0][:, 1:], read[0][:0]):
        with pytest.raises(BadInput, match="lifting: pixels: expected"):
            detection_views(wrong)


class Harm:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("harmed"),))


def test_bad_files_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    good = np.zeros((3, 17, 3), np.float32)
    bad: dict[str, tuple[Any, str]] = {
        "harm": ({"S1": {"a": Harm()}}, "positions_3d: expected numpy arrays and numbers"),
        "joints": ({"S1": {"a": np.zeros((3, 16, 3))}}, r"S1/a: expected numbers \(T, 32 or 17, 3\)"),
        "nan": ({"S1": {"a": good * np.nan}}, "S1/a: expected finite coordinates"),
        "kind": ({"S1": {"a": "text"}}, "S1/a: expected numbers .* found str"),
        "flat": ({"S1": good}, "S1: expected a dict of actions, found ndarray"),
        "none": ([1], "positions: expected a dict of subjects, found list"),
        "empty": ({"S1": {}}, "positions: expected actions of a subject, found none"),
        "twice": ({"S1": {"a/b": good}, "S1/a": {"b": good}}, "S1/a/b: expected one subject and action"),
    }
    for name, (content, match) in bad.items():
        path = human36m_file(tmp_path / f"{name}.npz", positions_3d=None)
        boxed = np.empty((), dtype=object)
        boxed[()] = content
        np.savez(path, positions_3d=boxed)
        with pytest.raises(BadInput, match=match) as refused:
            read_positions(path)
        assert "\n" not in str(refused.value)
    assert not Path("harmed").exists()
    np.savez(tmp_path / "plain.npz", positions_3d=good)
    with pytest.raises(BadInput, match="positions_3d: expected one Python object, found float32"):
        read_positions(tmp_path / "plain.npz")
    with pytest.raises(BadInput, match="positions_2d: expected to be there"):
        read_detections_2d(tmp_path / "plain.npz")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "joints.npz").read_bytes()[:400])
    with pytest.raises(BadInput, match=r"cut\.npz"):
        read_positions(tmp_path / "cut.npz")
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps({"positions_3d": 1}))
    with pytest.raises(BadInput, match=r"file: expected an \.npz of poses"):
        read_positions(tmp_path / "pickle.npz")
    for layout, sides in (("coco", [[1, 3, 5], [2, 4, 6]]), ("h36m", [RIGHT, LEFT]), ("h36m", None)):
        other = metadata(layout_name=layout, keypoints_symmetry=sides)
        human36m_file(tmp_path / "other.npz", positions_2d={"S1": {"a": [good[..., :2]]}}, metadata=other)
        expected = f"keypoints_symmetry: expected h36m: {[LEFT, RIGHT]}, found {layout}: {sides}"
        with pytest.raises(BadInput, match=re.escape(expected)):
            read_detections_2d(tmp_path / "other.npz")


def lift(folder: Path, *more: str, model: str = "ups", joints: str = "2d") -> int:
    """The command's code on files of a folder; it writes o.npz there."""
    files = {"checkpoint": f"{model}.safetensors", "detections": f"{joints}.npz", "out": "o.npz"}
    options = [word for name, file in files.items() for word in (f"--{name}", str(folder / file))]
    return cli._run(["lift", *options, *more])


@pytest.fixture
def lifted(tmp_path: Path) -> tuple[Path, np.ndarray]:
    """A folder with the model that ships, and pixels (12,17,2) of one clip by two cameras."""
    model, words, _ = load_shipped()
    save_ups(tmp_path / "ups.safetensors", model, words)
    pixels = np.random.default_rng(0).uniform(300, 700, (12, 17, 2)).astype(np.float32)
    human36m_file(tmp_path / "2d.npz", positions_2d={"S9": {"Walk": [pixels] * 2}}, metadata=metadata())
    return tmp_path, pixels


def test_lift_from_the_command_line(
    lifted: tuple[Path, np.ndarray], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, pixels = lifted
    assert lift(folder) == 0
    assert capsys.readouterr() == (f"24 poses of 2 clips: {folder / 'o.npz'}\n", "")
    with np.load(folder / "o.npz") as poses:
        assert {name: poses[name].shape for name in poses.files} == dict.fromkeys(
            ("S9/Walk/0", "S9/Walk/1"), (12, 17, 3)
        )
        straight = poses["S9/Walk/0"]
    # As a camera sees them that is turned by 20 degrees, or has its principal point elsewhere.
    turn = Rotation3D.from_euler("Y", 20, degrees=True).as_matrix()
    rays = np.pad((pixels - [513, 509]) / 1145, ((0, 0), (0, 0), (0, 1)), constant_values=1) @ turn.T
    cameras = [1145 * rays[..., :2] / rays[..., 2:] + [513, 509], pixels + np.array([100, 50])]
    human36m_file(folder / "2d.npz", positions_2d={"S9": {"Walk": cameras}}, metadata=metadata())
    for options, same in (((), 0), (("--centre", "613", "559"), 1)):
        assert lift(folder, *options) == 0
        with np.load(folder / "o.npz") as poses:
            gaps = [np.abs(poses[f"S9/Walk/{k}"] - straight @ [turn.T, np.eye(3)][k]).max() for k in (0, 1)]
        assert gaps[same] < 1e-4 and gaps[1 - same] > 1e-3
    capsys.readouterr()
    half = scores.Answers(np.full(12, -1), straight, straight, np.arange(12) < 6)
    monkeypatch.setattr(scores, "answers", lambda *given: half)
    assert lift(folder) == 0
    assert "24 poses of 2 clips, 50.0% of its sentences malformed: " in capsys.readouterr().out


def test_what_cannot_be_lifted_is_one_line(
    lifted: tuple[Path, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, pixels = lifted
    human36m_file(folder / "none.npz", positions_2d={"S9": {}}, metadata=metadata())
    far = {"S9": {"Walk": [pixels, pixels.astype(np.float64) * 1e300]}}
    human36m_file(folder / "far.npz", positions_2d=far, metadata=metadata())
    save_ups(folder / "new.safetensors", new_model(TINY, WORDS), WORDS)
    save_checkpoint(folder / "other.safetensors", new_model(TINY, WORDS), TINY, meta={"actions": ["a"]})
    place = "centre: expected a finite number from -1e+06 to 1e+06"
    cases: tuple[tuple[tuple[str, ...], dict[str, str], str], ...] = (
        (("--clip", "S9/Run"), {}, "2d.npz: clip: expected S9/Walk, found S9/Run"),
        (("--rate", "1e300"), {}, "lifting: rate: expected a finite number from 1 to 1000, found 1e+300"),
        (("--centre", "1e300", "3"), {}, f"lifting: {place}, found 1e+300"),
        (("--centre", "3", "nan"), {}, f"lifting: {place}, found nan"),
        ((), {"joints": "none"}, "none.npz: positions: expected actions of a subject, found none"),
        ((), {"joints": "far"}, "far.npz: S9/Walk, camera 1: expected finite coordinates up to 1,000,000"),
        ((), {"model": "other"}, "vocabulary"),
        ((), {"model": "new"}, "new.safetensors: lifting: expected a UPS that learnt it, found 100.0% of"),
    )
    for options, files, expected in cases:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)  # numpy's of overflow, which would be lines more
            assert lift(folder, *options, **files) == 2
        told = capsys.readouterr().err
        assert expected in told and told.count("\n") == 1
    assert not (folder / "o.npz").exists()


def test_bad_recipes() -> None:
    for changes, match in (
        ({"tasks": ("dance",)}, "ups: task: expected lifting"),
        ({"tasks": ()}, "recipe: tasks: expected one or more"),
        ({"rotations": 0}, "recipe: rotations: expected a whole number from 1"),
        ({"lr": float("nan")}, "recipe: lr: expected a finite number"),
        ({"warmup": 2.0}, "recipe: warmup"),
        ({"seed": -1}, "recipe: seed"),
    ):
        with pytest.raises(BadInput, match=match):
            Recipe(**changes)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match=r"ups: equal: expected task \| all"):
        recipe.separate(TINY, WORDS, tasks.load_windows()["val"], SHORT, "steps")
