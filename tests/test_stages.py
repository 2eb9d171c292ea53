"""The two stages: what a recipe decides, when a checkpoint is read, and what the control mixes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from golden import TINY

from lart_mini import cli
from lart_mini.data.mini_ava import SIZES, MiniAva, mini_ava
from lart_mini.evaluation import ava_csv
from lart_mini.evaluation.frame_map import evaluate_files
from lart_mini.evaluation.key_boxes import key_boxes
from lart_mini.files import BadInput
from lart_mini.lart import recipe as stages
from lart_mini.lart.config import ASSEMBLIES, PRESETS, LARTConfig, StageConfig, assembly_for
from lart_mini.lart.recipe import (
    Recipe,
    Trained,
    finetune,
    from_scratch,
    key_labels,
    labelled,
    pretrain,
    scores_of,
    shuffled_labels,
    taught,
    training_set,
)
from lart_mini.lart.tokens import stats_of
from lart_mini.lart.weights import load_model
from lart_mini.tracklets.released import write_released

SMALL = LARTConfig(people=2, width=16, depth=1, heads=2, pose_width=16)


@pytest.fixture
def small(tiny: MiniAva, monkeypatch: pytest.MonkeyPatch) -> Iterator[MiniAva]:
    """The recipe `quick()` can be run: its size is in the cache, its preset has a few thousand weights."""
    monkeypatch.setitem(SIZES, "tiny", TINY)
    monkeypatch.setenv("LART_MINI_CACHE", str(tiny.path.parent))
    monkeypatch.setitem(PRESETS, "small", partial(replace, SMALL))
    yield tiny
    labelled.cache_clear()
    taught.cache_clear()


def quick(**changes: object) -> Recipe:
    return replace(Recipe(size="tiny", pretrain_epochs=1, finetune_epochs=1, preset="small"), **changes)


KINDS = ("csv", "safetensors")


def endings(folder: Path) -> list[str]:
    """Names in a folder without their digests."""
    return sorted(re.sub(r"-[0-9a-f]{8}", "", path.name) for path in folder.iterdir())


def weights(trained: Trained) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in trained.model.parameters()])


def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "fit", lambda *_, **__: pytest.fail("trained again"))


def test_the_same_recipe_reads_its_checkpoints(
    small: MiniAva, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned = finetune(quick(), tmp_path, progress=False)
    names = ("finetune-seed0", "pretrain-seed0")
    assert endings(tmp_path) == [f"{name}.{kind}" for name in names for kind in KINDS]
    assert tuned.checkpoint in tmp_path.iterdir()
    no_training(monkeypatch)
    again = finetune(quick(), tmp_path, progress=False)
    assert torch.equal(weights(again), weights(tuned)) and again.history == tuned.history
    np.testing.assert_array_equal(again.stats.mean, tuned.stats.mean)
    before = pretrain(quick(), tmp_path, progress=False)
    assert not torch.equal(weights(before), weights(tuned))
    # Pre-training does not depend on what comes after it.
    later = quick(finetune_epochs=7)
    assert torch.equal(weights(pretrain(later, tmp_path, progress=False)), weights(before))


def test_another_recipe_trains_anew(small: MiniAva, tmp_path: Path) -> None:
    first = pretrain(quick(), tmp_path, progress=False)
    faster = pretrain(quick(lr=5e-3), tmp_path, progress=False)
    assert not torch.equal(weights(first), weights(faster))
    rates = [load_model(trained.checkpoint)[2]["recipe"]["lr"] for trained in (first, faster)]
    assert rates == [1e-3, 5e-3], "another recipe overwrites nothing"
    assert "pretrain-seed1.safetensors" not in endings(tmp_path)
    pretrain(quick(seed=1), tmp_path, progress=False)
    assert "pretrain-seed1.safetensors" in endings(tmp_path)


def test_a_checkpoint_under_anothers_name_is_refused(small: MiniAva, tmp_path: Path) -> None:
    first = pretrain(quick(), tmp_path, progress=False)
    other = pretrain(quick(lr=5e-3), tmp_path, progress=False)
    other.checkpoint.rename(first.checkpoint)
    with pytest.raises(BadInput, match="recipe: expected the one that the file's name is a digest of"):
        pretrain(quick(), tmp_path, progress=False)


def test_how_it_goes_is_in_a_table(small: MiniAva, tmp_path: Path) -> None:
    history = pretrain(quick(), tmp_path, progress=False).history
    (path,) = tmp_path.glob("*.csv")
    table = pl.read_csv(path)
    assert table["step"].to_list() == list(range(len(history.loss)))
    np.testing.assert_allclose(table["loss"], history.loss, rtol=1e-5)
    np.testing.assert_allclose(table["lr"], history.lr, rtol=1e-5)


def test_a_changed_preset_trains_anew(
    small: MiniAva, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretrain(quick(), tmp_path, progress=False)
    wider = replace(SMALL, width=24)
    monkeypatch.setitem(PRESETS, "small", partial(replace, wider))
    assert pretrain(quick(), tmp_path, progress=False).model.config == wider


def test_without_a_folder_the_result_is_the_same_and_nothing_is_written(
    small: MiniAva, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    kept, free = finetune(quick(), tmp_path / "run", progress=False), finetune(quick(), progress=False)
    assert torch.equal(weights(kept), weights(free))
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_pretraining_sees_training_videos_and_pseudo_labels_only(small: MiniAva) -> None:
    _, members = taught("tiny", 0)
    assert {t.dataset for t in members} == {"ava-train", "kinetics-train"}
    assert {source for t in members for source in t.label_source.tolist()} == {0, 1}
    _, truth, stats = labelled("tiny", 0)
    assert {t.dataset for t in truth} == {"ava-train"} and len(truth) < len(members)
    pretraining = training_set(members, stats, SMALL, "pretrain", StageConfig.pretrain())
    assert len(pretraining) == len(members)
    # Fine-tuning gives a loss to no token of a tracklet that has pseudo labels.
    assert len(training_set(members, stats, SMALL, "finetune", StageConfig.finetune())) == 0


def test_key_labels_stand_at_key_frames_alone(small: MiniAva) -> None:
    tracklets = small.tracklets("ava-train")
    told = 0
    for before, after in zip(tracklets, key_labels(tracklets), strict=True):
        key = before.frame % 30 == 0
        np.testing.assert_array_equal(after.label_source[key], before.label_source[key])
        assert not after.label_source[~key].any() and before.label_source.dtype == after.label_source.dtype
        np.testing.assert_array_equal(after.labels, before.labels)
        told += int((after.label_source == 2).sum())
    # As many as the single detections that carry a label: the key frames' own boxes.
    alone = mini_ava("tiny", 0, tracker="none").tracklets("ava-train")
    assert 0 < told <= sum(int((t.label_source == 2).sum()) for t in alone)


def test_from_scratch_learns_from_the_tracklets_it_is_given(
    small: MiniAva, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracklets = small.tracklets("ava-train")
    with monkeypatch.context() as patch:
        patch.setattr(stages, "labelled", lambda *_: pytest.fail("the recipe's data was read"))
        patch.setattr(stages, "taught", lambda *_: pytest.fail("a teacher was fitted"))
        first, again = (from_scratch(quick(), tracklets, progress=False) for _ in range(2))
    assert torch.equal(weights(first), weights(again))
    keys = from_scratch(quick(), key_labels(tracklets), progress=False)
    assert not torch.equal(weights(first), weights(keys)), "labels beside the key frames must count"
    np.testing.assert_array_equal(first.stats.mean, stats_of(tracklets).mean)


def test_a_stopped_stage_goes_on_and_leaves_no_state(
    small: MiniAva, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, fit, states = pretrain(quick(), progress=False), stages.fit, []

    def stopped(*arguments: object, **options: object) -> None:
        fit(*arguments, **options)  # type: ignore[arg-type]
        states.append(options["state"])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stages, "fit", stopped)
        for recipe in (quick(), quick(lr=5e-3)):
            with pytest.raises(KeyboardInterrupt):
                pretrain(recipe, tmp_path, progress=False)
    assert sorted(tmp_path.glob("*.state")) == sorted(states) and len(set(states)) == 2, "one a recipe"
    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", lambda *_: pytest.fail("trained again"))
        again = pretrain(quick(), tmp_path, progress=False)
    assert torch.equal(weights(again), weights(whole))
    assert list(tmp_path.glob("*.state")) == states[1:], "another recipe's state stays"


def test_samples_are_put_together_as_the_model_asks() -> None:
    paper = assembly_for(SMALL, train=True)
    assert paper == ASSEMBLIES["paper"] == assembly_for(SMALL)
    computed = replace(SMALL, undetected="computed", joints_width=8)
    assert assembly_for(computed) == ASSEMBLIES["released"]
    assert assembly_for(computed, train=True) == replace(ASSEMBLIES["released"], last_frame="dropped")
    assert not assembly_for(replace(computed, joints_width=0), train=True).joints


def test_the_control_mixes_labels_and_nothing_else(small: MiniAva, tmp_path: Path) -> None:
    members = small.tracklets("ava-train")
    mixed = shuffled_labels(members, 0)
    assert [t.name for t in mixed] == [t.name for t in members]
    moved = 0
    for before, after in zip(members, mixed, strict=True):
        for field in ("pose", "betas", "translation", "joints", "detected", "box", "frame"):
            np.testing.assert_array_equal(getattr(after, field), getattr(before, field))
        moved += bool((after.labels != before.labels).any())
    assert moved > len(members) / 2
    told, kept = (
        sorted(t.labels.tobytes() + t.label_source.tobytes() for t in group) for group in (mixed, members)
    )
    assert told == kept, "labels go with their source"
    control = finetune(quick(shuffled=True), tmp_path, progress=False)
    names = ("finetune-seed0-shuffled", "pretrain-seed0")
    assert endings(tmp_path) == [f"{name}.{kind}" for name in names for kind in KINDS]
    assert not torch.equal(weights(control), weights(finetune(quick(), tmp_path, progress=False)))


def test_scores_are_one_row_a_frame(small: MiniAva) -> None:
    trained = pretrain(quick(), progress=False)
    members = small.tracklets("ava-val")
    scores = scores_of(trained, members, progress=False)
    assert [row.shape for row in scores] == [(len(t), 60) for t in members]
    assert all(0 < row.min() and row.max() < 1 for row in scores)


def test_a_recipe_follows_table_7_in_its_own_size() -> None:
    recipe = Recipe(pretrain_epochs=20, finetune_epochs=10, warmup=0.1, batch_size=8, lr=2e-3, seed=5)
    first, second = recipe.stage("pretrain"), recipe.stage("finetune")
    assert (first.epochs, first.warmup_epochs, first.mask_ratio) == (20, pytest.approx(2), 0.4)
    assert (second.epochs, second.warmup_epochs, second.layer_decay) == (10, pytest.approx(1), 0.9)
    assert {(c.batch_size, c.lr, c.seed) for c in (first, second)} == {(8, 2e-3, 5)}
    with pytest.raises(BadInput, match="preset"):
        Recipe(preset="huge")


# ------------------------------------------------------------------------------------------- the two commands


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        cli.main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return int(stopped.value.code or 0), printed.out, printed.err


def test_train_and_predict_on_the_command_line(
    small: MiniAva, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    size = ("--size", "tiny", "--preset", "small", "--pretrain-epochs", 1, "--finetune-epochs", 1)
    code, out, _ = run(capsys, "train", "--out", tmp_path / "run", *size)
    assert code == 0 and [line.count("loss") for line in out.splitlines()] == [1, 1]
    (checkpoint,) = (tmp_path / "run").glob("finetune-seed0-*.safetensors")
    members = small.tracklets("ava-val")
    csv = tmp_path / "detections.csv"
    store = small.path / "ava-val.npz"
    code, out, _ = run(capsys, "predict", "--checkpoint", checkpoint, "--tracklets", store, "--out", csv)
    count = len(key_boxes(members).table)
    assert code == 0 and f"{count} boxes of {len(members)} tracklets" in out
    assert len(ava_csv.read_detections(csv)) == 60 * count
    assert 0 < evaluate_files(small.groundtruth("ava-val"), csv).mean_ap < 1
    # The same people from released files: equal rows.
    for tracklet in members:
        write_released(tracklet, tmp_path / "released" / f"{tracklet.name}.pkl")
    again = tmp_path / "again.csv"
    run(capsys, "predict", "--checkpoint", checkpoint, "--tracklets", tmp_path / "released", "--out", again)
    columns = ["video", "second", "x1", "y1", "action"]
    left, right = (ava_csv.read_detections(path).sort(columns) for path in (csv, again))
    assert left.select(columns).equals(right.select(columns))
    np.testing.assert_allclose(left["score"], right["score"], atol=1e-4)


def test_what_cannot_be_predicted_is_refused_in_one_line(
    small: MiniAva, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, out = pretrain(quick(), tmp_path, progress=False).checkpoint, tmp_path / "detections.csv"
    (tmp_path / "empty").mkdir()
    for model, people, named in (
        (checkpoint, tmp_path / "empty", "tracklet files"),
        (checkpoint, tmp_path / "absent.npz", "absent.npz"),
        (small.path / "ava-val.npz", small.path / "ava-val.npz", "published weights"),
    ):
        code, _, err = run(capsys, "predict", "--checkpoint", model, "--tracklets", people, "--out", out)
        assert code == 2 and len(err.splitlines()) == 1 and named in err
        assert not out.exists()
