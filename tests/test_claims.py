"""Claims: what an experiment is given and scores; that runs are kept, and answers are made of them alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, make_dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from golden import TINY

from lart_mini import ava, cli
from lart_mini.claims import answers as answering
from lart_mini.claims import runner, skeletons
from lart_mini.claims.answers import (
    FAILS,
    HOLDS,
    NEVER,
    OPEN,
    Answer,
    DirectionJudge,
    Judge,
    ask,
    table_of,
    text,
    write,
)
from lart_mini.claims.direction import DIRECTED, PIECE, accuracy, backwards, told_right
from lart_mini.claims.experiment import (
    HIDDEN,
    POOLS,
    Experiment,
    _taught,
    centred_scores,
    hide,
    run,
    trained,
)
from lart_mini.claims.fold_data import Fold, FoldBoxes
from lart_mini.claims.question import MORE_SCENES, Comparison, Question, System
from lart_mini.claims.questions import QUESTIONS
from lart_mini.claims.runner import Kept, run_all
from lart_mini.data.mini_ava import SIZES
from lart_mini.data.video_level import VIDEOS
from lart_mini.evaluation.answers import read_answers
from lart_mini.evaluation.ava_csv import CORNERS
from lart_mini.evaluation.frame_map import FRAME, evaluate
from lart_mini.evaluation.intervals import Estimate, draw
from lart_mini.evaluation.key_boxes import KeyBoxes, ava_rows
from lart_mini.files import BadInput, write_npz
from lart_mini.lart.config import assembly_for
from lart_mini.lart.predict import box_scores, samples_of
from lart_mini.lart.rows import Draw
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
        "linear and prior, 2 : 1": System(
            {"model": "linear"}, fused=System({"model": "prior"}), weights=(2, 1)
        ),
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
        {"scenes": 3},
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
        {"task": "weather"},
        {"task": "direction", "pretrain_steps": 1},
        {"task": "direction", "model": "linear"},
        {"steps": -1},
        {"scenes": -1},
        {"model": "CNN"},
        {"preset": "x"},
        {"looks": "feet"},
        {"looks": "hands", "model": "linear"},
        {"looks": "box", "pretrain_steps": 1},
        {"model": "SkeleTR", "skeletr": "x"},
        {"model": "SkeleTR", "skeletr": skeletons.BESIDE, "size": "gpu"},
    ],
    ids=str,
)
def test_what_is_no_experiment_is_refused(change: dict) -> None:
    with pytest.raises(BadInput):
        replace(BASE, **change)


def test_the_first_scenes_are_learnt_from_alone() -> None:
    whole, few = BASE.tracklets("ava-train"), replace(BASE, scenes=3)
    first = few.tracklets("ava-train")
    assert {one.video for one in first} == {f"train{number:06d}" for number in range(3)}
    assert first == whole[: len(first)], "and those that the whole has of them"
    assert few.tracklets("ava-val") == BASE.tracklets("ava-val")
    # The teacher, too, has seen nothing of the others.
    taught = [one for one in _taught(few.data(), few.scenes) if one.dataset == "ava-train"]
    assert [one.name for one in taught] == [one.name for one in first]
    every = replace(BASE, scenes=10)
    np.testing.assert_array_equal(run(every)[0], run(BASE)[0])
    with pytest.raises(BadInput, match="scenes: expected at most the 10 that there are, found 11"):
        replace(BASE, scenes=11).tracklets("ava-train")


# ------------------------------------------------------------------------------------ forwards or backwards

WAYS = replace(BASE, task="direction", frames=PIECE)
ONE_WAY = replace(WAYS, frames=1)


def test_a_piece_played_backwards_is_its_frames_in_reverse_order() -> None:
    tracklets, boxes = WAYS.tracklets("ava-val"), WAYS.boxes()
    half = len(boxes.table) // 2
    assert half > 2 and boxes.table["forwards"].to_list() == [True] * half + [False] * half
    model, stats, _ = trained(WAYS)
    samples = samples_of(tracklets, model.config, stats, assembly_for(model.config))
    middle = PIECE // 2
    for k in range(half):
        draws = [
            Draw(i, samples.others[i], t - middle, None)
            for i, t in zip(boxes.tracklet[[k, k + half]], boxes.t[[k, k + half]], strict=True)
        ]
        forth, back = (samples.batch([draw]) for draw in draws)
        assert int(forth.detected[0, 0].sum()) > 1 and forth.detected[0, 0, middle]
        assert torch.equal(forth.detected, back.detected.flip(2))
        assert torch.equal(forth.pose, back.pose.flip(2))
        assert torch.equal(forth.pose[:, :, middle], back.pose[:, :, middle])


def test_one_frame_cannot_tell_by_construction() -> None:
    """Whatever a model of one frame has learnt, it says the same of both ways, so it is right of one."""
    boxes = ONE_WAY.boxes()
    for variant, scores in zip(ONE_WAY.variants(), run(ONE_WAY)[0], strict=True):
        forth, back = np.split(scores, 2)
        np.testing.assert_allclose(forth, back, atol=1e-6, err_msg=str(variant))
    assert told_right(boxes, scores).mean() == 0.5
    forth, back = np.split(run(WAYS)[0][0], 2)
    assert np.abs(forth - back).max() > 1e-4, "a model of many frames sees what differs"


def test_what_is_learnt_is_the_direction_of_directed_motion() -> None:
    plain, both = BASE.data().tracklets("ava-train"), WAYS.tracklets("ava-train")
    assert len(both) == 2 * len(plain)
    columns = [action - 1 for action in DIRECTED]
    found = 0
    for tracklet, forth, back in zip(plain, both, both[len(plain) :], strict=False):
        forth.validate(), back.validate()
        moves = tracklet.labels[:, columns].any(axis=1) & (tracklet.label_source == 2)
        np.testing.assert_array_equal(forth.label_source > 0, moves)
        np.testing.assert_array_equal(back.label_source[::-1] > 0, moves)
        assert (forth.labels == 1).all() and (back.labels == 0).all()
        assert (back.pose == tracklet.pose[::-1]).all() and back.scene != forth.scene
        again = backwards(back)
        for name in ("frame", "pose", "translation", "detected", "box"):
            np.testing.assert_array_equal(getattr(again, name), getattr(tracklet, name))
        found += int(moves.any())
    assert found > 3


def test_accuracy_is_the_share_told_right_and_takes_weigh() -> None:
    table = pl.DataFrame(
        {"take": ["a", "a", "b", "b"], "actions": [[3], [3, 6], [6], [6]], "forwards": [True, False] * 2}
    )
    boxes = KeyBoxes(table, np.zeros(4, np.int64), np.zeros(4, np.int64))
    draws = draw(table, 200)
    scores = np.repeat(np.array([[0.9], [0.1], [0.2], [0.4]], np.float32), 60, axis=1)  # right but the third
    found = accuracy([boxes], [[scores], [1 - scores]], draws)
    assert found.mean_ap((3,))[0] == 0.5 and found.estimate((6,)).value == 0.5, "two seeds that differ"
    one = accuracy([boxes], [[scores]], draws)
    assert one.mean_ap((3,))[0] == 1 and one.mean_ap((6,))[0] == pytest.approx(2 / 3)
    a, b = draws.weights.T
    np.testing.assert_allclose(one.mean_ap((6,)), (a + b) / (a + 2 * b))
    np.testing.assert_allclose(one.mean_ap((3, 6)), (3 * a + b) / (3 * a + 2 * b))
    assert one.minus(one).high == 0
    twice = accuracy([boxes, boxes], [[scores, scores]], draws)
    np.testing.assert_allclose(one.mean_ap((3, 6)), twice.mean_ap((3, 6)))


def test_a_direction_is_judged_as_any_question(tmp_path: Path) -> None:
    changes = {"task": "direction", "frames": PIECE}
    question = Question(
        "Ways",
        "nowhere",
        {"many": System(changes), "one": System(changes | {"frames": 1})},
        (Comparison("many", "one", "time can be read", "headline"),),
        measure="accuracy",
    )
    kept = run_all(list(question.experiments(BASE, 1)), tmp_path, jobs=1)
    answers = list(DirectionJudge(BASE, kept, 1, 50).answers("ways", question))
    boxes = [replace(WAYS, fold=fold).boxes() for fold in range(2)]
    right = [told_right(own, kept[replace(WAYS, fold=fold)].scores()[0]) for fold, own in enumerate(boxes)]
    value = {(a.system, a.scope): a.estimate for a in answers if a.than is None}
    shown = {action for own in boxes for actions in own.table["actions"] for action in actions}
    assert shown <= set(DIRECTED) and {scope for _, scope in value} >= {"headline"}
    rows = [good for own, of in zip(boxes, right, strict=True)
            for good, actions in zip(of, own.table["actions"], strict=True) for _ in actions]  # fmt: skip
    assert value["many", "headline"].value == pytest.approx(np.mean(rows))
    one = value["one", "headline"]
    assert (one.low, one.value, one.high) == pytest.approx((0.5, 0.5, 0.5))
    assert text("ways", question, answers).splitlines()[2].startswith("accuracy")


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


def test_runs_are_listed_whatever_the_first_hundred_tell(tmp_path: Path) -> None:
    for number in range(101):
        about = {"commit": None if number < 100 else "abc", "seconds": 1 if number < 100 else 0.5}
        write_npz(tmp_path / "runs" / f"{number:03d}.npz", {"about": np.array(json.dumps(about))})
    assert runner._runs(tmp_path).row(100, named=True)["commit"] == "abc"


def test_a_run_in_this_process_leaves_its_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []

    def ran(_: Experiment) -> tuple[np.ndarray, int]:
        threads.append(torch.get_num_threads())
        return np.zeros((1, 1, 60), np.float32), 0

    monkeypatch.setattr(runner, "run", ran)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        runner.made(Kept.of(BASE, "data", tmp_path), None)
        assert threads == [1] and torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


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


@pytest.mark.parametrize(
    ("version", "raised", "others"),
    [
        ("SKELETONS_VERSION", 2, [False, True, True]),
        ("VIDEOS_VERSION", 2, [False, False, True]),
        ("VIDEOS", replace(VIDEOS, version=2), [False, False, True]),
    ],
)
def test_what_a_skeletr_reads_has_versions_and_the_first_is_not_told(
    version: str, raised: object, others: list[bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mix = replace(BASE, model="SkeleTR")
    asked = [BASE, mix, replace(mix, skeletr=skeletons.BESIDE)]
    monkeypatch.setattr(skeletons, "SKELETONS_VERSION", 1)
    monkeypatch.setattr(skeletons, "VIDEOS_VERSION", 1)
    monkeypatch.setattr(skeletons, "VIDEOS", replace(VIDEOS, version=1))
    told = [json.dumps([runner.changed(one), "data"], sort_keys=True) for one in asked]
    names = [Kept.of(one, "data", tmp_path).path.stem for one in asked]
    assert names == [sha256(text.encode()).hexdigest()[:16] for text in told], "as they always were"
    monkeypatch.setattr(skeletons, version, raised)
    later = [Kept.of(one, "data", tmp_path).path.stem for one in asked]
    assert [one != other for one, other in zip(names, later, strict=True)] == others


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
    for system, models, number in (
        ("linear", ["linear"], 0),
        ("linear and prior, 2 : 1", ["linear", "linear", "prior"], 0),
        ("LART", ["LART"], 0),
        ("LART, one frame pooled", ["LART"], 1),
    ):
        found = []
        for seed in (0, 1) if models == ["LART"] else (0,):
            tables, truths = [], []
            for fold in range(2):
                one = replace(BASE, fold=fold, seed=seed)
                named = pl.col("video") + f" of {fold}"
                keys = [*FRAME, *CORNERS, "action", "score"]
                each = [kept[replace(one, model=model)].scores()[number] for model in models]
                scored = ava_rows(one.boxes(), np.mean(each, axis=0))
                tables.append(scored.select(keys).with_columns(video=named))
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


def test_the_best_of_some_is_chosen_without_the_fold_that_it_is_for(
    kept: dict[Experiment, Kept], monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = Judge(BASE, kept, seeds=2, draws=50)
    ((right, too),) = judge._by_seed(System({"model": "true labels"}))
    ((low, lower),) = judge._by_seed(System({"model": "prior"}))
    first, second = System({"steps": 1.0}), System({"steps": 2.0})
    scored, of_itself = {1.0: [[right, lower]], 2.0: [[low, too]]}, judge._by_seed
    monkeypatch.setattr(judge, "_by_seed", lambda one: scored.get(one.changes.get("steps")) or of_itself(one))
    wanted = System(best_of={"first": first, "second": second})
    assert judge.best(wanted) == ["second", "first"], "each is right where nobody asks it"
    ((one, other),) = judge._by_seed(wanted)
    assert one is low and other is lower


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


def test_help_names_every_question(capsys: pytest.CaptureFixture[str]) -> None:
    """It cannot ask the questions themselves: reading them takes seconds of imports."""
    with pytest.raises(SystemExit):
        cli.main(["ablate", "--help"])
    words = capsys.readouterr().out.replace("│", " ").replace(".", ",").split()
    assert {f"{name}," for name in QUESTIONS} <= set(words)


def test_hidden_systems_are_matched_in_steps() -> None:
    totals = {
        one.steps + one.pretrain_steps
        for system in QUESTIONS["hidden"].systems.values()
        for one in [system.experiment(Experiment(steps=100))]
    }
    assert totals == {200}


def test_systems_of_more_scenes_are_matched_in_steps_and_in_what_they_validate() -> None:
    laptop = [one.experiment(Experiment("laptop", steps=300)) for one in QUESTIONS["scenes"].systems.values()]
    assert [one.scenes for one in laptop] == [60, 120, 300, 600, 1200, 1200]
    assert {(one.size, one.steps) for one in laptop} == {("many", 780)}
    assert SIZES["many"] == replace(SIZES["laptop"], train=1200)
    for size, most in (("smoke", 10), ("gpu", 1200)):
        other = [one.experiment(Experiment(size)) for one in QUESTIONS["scenes"].systems.values()]
        assert {one.size for one in other} == {size} and other[-1].scenes == most
        assert all(one.scenes for one in other), "0 would be all"


def test_a_system_may_learn_from_more_scenes_and_not_be_scored_on_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has a size of its own is judged on the base's ground truth, or not at all."""
    linear = {"model": "linear"}
    for size, sizes in (("more", {"train": 12}), ("other", {"val": 6})):
        monkeypatch.setitem(SIZES, size, replace(SIZES["smoke"], **sizes))
    question = Question(
        "Sizes",
        "nowhere",
        {"base": System(linear), "as many": System({**linear, "scenes": 10 / 12})}
        | {"more": System({**linear, "size": "more"})},
        (),
    )
    monkeypatch.setitem(MORE_SCENES, "smoke", "more")
    kept = run_all(list(question.experiments(BASE, 1)), tmp_path, jobs=1)
    judge = Judge(BASE, kept, seeds=1, draws=20)
    value = {a.system: a.estimate.value for a in judge.answers("sizes", question) if a.scope == "all"}
    assert value["base"] == value["as many"] != value["more"]
    other = replace(question, systems={"other": System({**linear, "size": "other"})})
    with pytest.raises(BadInput, match="sizes: other: expected the ground truth of size smoke"):
        list(judge.answers("sizes", other))


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


def test_other_answers_that_cannot_be_read_are_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "answers.parquet").write_text("no parquet")
    monkeypatch.setattr(answering, "run_all", lambda *_: pytest.fail("ran"))
    with pytest.raises(BadInput, match=r"answers\.parquet: file"):
        list(ask(["people"], "smoke", out=tmp_path))


def test_hidden_people_whom_no_track_shows_are_not_asked_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A class may be theirs alone: it has no number then, and others keep theirs."""
    systems = {f"{frames} hidden": System({"hidden": True}, variant=frames) for frames in (0, 30)}
    question = Question("Hidden", "nowhere", systems, (Comparison("0 hidden", "30 hidden", "seen"),))
    kept = run_all(list(question.experiments(BASE, 1)), tmp_path, jobs=1)
    judge = Judge(BASE, kept, 1, 20)
    answers = list(judge.answers("hidden", question))
    rare = next(action for action in ava.EVALUATED if (action,) not in judge.scopes.values())
    scored_of = Fold.scored

    def scored(fold: Fold) -> FoldBoxes:
        found = scored_of(fold)
        alone = found.groundtruth[:1].with_columns(action=pl.lit(rare), person=pl.lit(999))
        return replace(found, groundtruth=pl.concat([found.groundtruth, alone], how="vertical_relaxed"))

    monkeypatch.setattr(Fold, "scored", scored)
    judge = Judge(BASE, kept, 1, 20)
    assert (rare,) in judge.scopes.values() and list(judge.answers("hidden", question)) == answers


def test_a_question_on_pictures_is_judged_by_what_they_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its ground truth is another, here by a row, than that of the question beside it in the same command."""
    scored_of = Fold.scored

    def scored(fold: Fold) -> FoldBoxes:
        found = scored_of(fold)
        return replace(found, groundtruth=found.groundtruth[1:]) if fold.rendered else found

    monkeypatch.setattr(Fold, "scored", scored)
    plain, drawn = ({name: System({"model": "linear", "looks": looks})}
                    for name, looks in (("plain", ""), ("drawn", "unseen")))  # fmt: skip
    for name, systems in {"plain": plain, "drawn": drawn, "mixed": plain | drawn}.items():
        monkeypatch.setitem(QUESTIONS, name, Question(name, "nowhere", systems, ()))
    monkeypatch.setattr(answering, "Experiment", lambda **given: replace(BASE, **given))
    told = "--size smoke --folds 2 --seeds 1 --steps 2 --jobs 1 --out".split()
    assert command(capsys, "ablate", "plain", "drawn", *told, tmp_path)[::2] == (0, "")
    found = read_answers(tmp_path / "answers.parquet")
    assert set(found["question"]) == {"plain", "drawn"} and (found["value"] > 0).any()
    code, _, err = command(capsys, "ablate", "mixed", *told, tmp_path)
    assert code == 2 and err.startswith("lart-mini: mixed: plain: expected the ground truth")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("ablate telepathy", "lart-mini: ablate: claim: expected ladder | inputs | direction | hidden"),
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


def test_a_second_task_beside_is_of_the_same_fold_and_changes_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Joint training learns videos of the takes that are not held out, and as many steps of detection."""
    asked: list[tuple] = []

    class Videos:
        classes = ("walk", "sit", "stand")

        def skeletons(self, split: str) -> list:
            asked.append((split,))
            return []

        labels = skeletons

    def video_level(size: str, seed: int, fold: tuple[int, int]) -> Videos:
        asked.append((size, seed, fold))
        return Videos()

    def scores(recipe: object, *how: object, **heads: int) -> tuple:
        return recipe, heads

    monkeypatch.setattr(skeletons, "video_level", video_level)
    monkeypatch.setattr(skeletons, "scores", scores)
    fold = Experiment(size="smoke", data_seed=3, folds=4, fold=2).data()
    (alone, none), steps = skeletons.skeletr_scores(fold, "mix", 5, 40, False)
    assert none == {} and asked == [] and alone.parts() == (2, 4)
    (both, heads), same_steps = skeletons.skeletr_scores(fold, skeletons.BESIDE, 5, 40, False)
    assert (both, same_steps) == (alone, steps) and heads == {"video_classes": 3}
    assert asked == [("smoke", 3, (2, 4)), ("train",), ("train",)]
