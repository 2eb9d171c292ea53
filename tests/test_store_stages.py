"""The two stages on a store: what they start from, what they learn from, and that they go on when stopped."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import training_job

from lart_mini import cli
from lart_mini.files import BadInput
from lart_mini.lart import recipe
from lart_mini.lart import weights as weights_module
from lart_mini.lart.config import PRESETS, LARTConfig, StageConfig, preset
from lart_mini.lart.model import LART
from lart_mini.lart.recipe import stats_of_store, train, train_on_store, training_set
from lart_mini.lart.tokens import Stats, stats_of
from lart_mini.lart.weights import load_model
from lart_mini.tracklets.conversion import convert
from lart_mini.tracklets.released import write_released
from lart_mini.tracklets.store import Store
from lart_mini.tracklets.tracklet import Tracklet

SMALL = LARTConfig(people=2, frames=16, width=16, depth=1, heads=2, pose_width=16)


def valid(tracklet: Tracklet) -> Tracklet:
    """With boxes inside the frame, and four appearance vectors."""
    vectors = np.random.default_rng(tracklet.track).normal(size=(4, 6)).astype(np.float32)
    box = np.tile(np.float32([10, 10, 20, 40]), (len(tracklet), 1))
    return replace(tracklet, box=box, appearance=vectors[np.arange(len(tracklet)) * 4 // len(tracklet)])


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 13 tracklets."""
    folder = tmp_path_factory.mktemp("store")
    for tracklet in training_job.tracklets():
        write_released(valid(tracklet), folder / "files" / f"{tracklet.name}.pkl")
    convert(folder / "files", folder / "store", jobs=1, progress=False)
    return folder / "store"


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "small", partial(replace, SMALL))


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        cli.main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return int(stopped.value.code or 0), printed.out, printed.err


LENGTHS = ("--pretrain-epochs", 2, "--finetune-epochs", 1, "--batch-size", 4)
SIZES = ("--preset", "small", *LENGTHS)
TUNED = ("--stage", "finetune")


def endings(folder: Path) -> list[str]:
    """Names in a folder without their digests."""
    return sorted(re.sub(r"-[0-9a-f]{8}", "", path.name) for path in folder.iterdir())


def kept(folder: Path, stage: str) -> Path:
    """The one checkpoint of a stage."""
    (path,) = folder.glob(f"{stage}-*.safetensors")
    return path


def test_both_stages_from_the_command_line(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    code, said, _ = run(capsys, "train", "--store", path, "--out", out, *SIZES)
    assert code == 0 and [line.count("loss") for line in said.splitlines()] == [1, 1]
    assert endings(out) == ["finetune.csv", "finetune.safetensors", "pretrain.csv", "pretrain.safetensors"]
    model, stats, meta = load_model(kept(out, "pretrain"))
    assert model.config == replace(SMALL, appearance=6, appearance_width=256)
    assert len(meta["history"]["loss"]) == 8 and meta["training"]["batch_size"] == 4
    wanted = stats_of(list(Store(path)))
    np.testing.assert_allclose(stats.mean, wanted.mean)
    tuned, same, _ = load_model(kept(out, "finetune"))
    np.testing.assert_array_equal(same.mean, stats.mean)
    assert not torch.equal(tuned.head.weight, model.head.weight)
    # Asked again it is read; another learning rate trains anew.
    with monkeypatch.context() as patch:
        patch.setattr(recipe, "fit", lambda *_, **__: pytest.fail("trained again"))
        assert run(capsys, "train", "--store", path, "--out", out, *SIZES)[1] == said
    run(capsys, "train", "--store", path, "--out", out, *SIZES, "--lr", 0.01, "--stage", "pretrain")
    rates = {load_model(path)[2]["training"]["lr"] for path in out.glob("pretrain-*.safetensors")}
    assert rates == {0.001, 0.01}, "another training overwrites nothing"
    # Which of the two fine-tuning is to start from has to be said.
    code, _, said = run(capsys, "train", "--store", path, "--out", out, *LENGTHS, *TUNED)
    assert code == 2 and "one pretrain-….safetensors, or --start" in said and len(said.splitlines()) == 1


def test_a_stopped_stage_goes_on(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, again = tmp_path / "whole", tmp_path / "again"
    arguments = ("train", "--store", path, *SIZES, "--stage", "pretrain")
    run(capsys, *arguments, "--out", whole)
    fit, states = recipe.fit, []

    def killed(*arguments: object, **options: object) -> object:
        fit(*arguments, **options)  # type: ignore[arg-type]
        states.append(options["state"])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(recipe, "fit", killed)
        assert run(capsys, *arguments, "--out", again)[0] != 0
    assert endings(again) == ["pretrain.csv", "pretrain.state"] and states[0] in again.iterdir()
    # The state that another training left does not stop this one, and is not its to remove.
    shutil.copy(states[0], again / "pretrain-00000000.state")
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda *_: pytest.fail("trained again"))
    run(capsys, *arguments, "--out", again)
    assert endings(again) == ["pretrain.csv", "pretrain.safetensors", "pretrain.state"]
    one, other = (load_model(kept(p, "pretrain"))[0] for p in (whole, again))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_a_store_without_the_wanted_labels_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for source, word in ((1, "ground truth"), (0, "labels")):
        for tracklet in training_job.tracklets(3):
            told = np.full(len(tracklet), source, np.int8)
            labels = tracklet.labels * (source > 0)
            changed = replace(valid(tracklet), label_source=told, labels=labels)
            write_released(changed, tmp_path / str(source) / f"{tracklet.name}.pkl")
        store, out = tmp_path / f"store{source}", tmp_path / f"out{source}"
        convert(tmp_path / str(source), store, jobs=1, progress=False)
        code, _, said = run(capsys, "train", "--store", store, "--out", out, *SIZES)
        assert code == 2 and word in said and str(store) in said and len(said.splitlines()) == 1
        assert any(out.glob("pretrain-*.safetensors")) == (source == 1)


def test_what_cannot_be_trained_is_refused_in_one_line(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = ("--store", path)
    (tmp_path / "weights.ckpt").write_bytes(b"nonsense")
    for arguments, named in (
        (("--stage", "all"), "pretrain | finetune | both"),
        (("--devices", "0"), "devices"),
        ((*stored, "--profile", "mine"), "paper | released"),
        ((*stored, "--preset", "huge"), "mini | small | paper | released"),
        ((*stored, "--stage", "finetune"), "--start"),
        ((*stored, "--accumulate", "0"), "accumulate"),
        ((*stored, "--start", tmp_path / "weights.ckpt"), "mean_std.npy"),
        (("--store", tmp_path), "store"),
        ((*stored, "--size", "smoke"), "no --store"),
        (
            (*stored, "--start", "c", "--preset", "mini"),
            "--preset: option: expected new weights beside it, found",
        ),
        ((*stored, "--start", "c", "--pose-only"), "--pose-only: option: expected new weights"),
        ((*stored, *TUNED, "--preset", "mini"), "expected new weights beside it, found --stage finetune"),
        ((*stored, *TUNED, "--pose-only"), "--pose-only: option: expected new weights"),
        ((*stored, *TUNED, "--stats", "s.npy"), "--stats: option: expected new weights"),
        (("--profile", "released"), "--profile: option: expected --store beside it"),
        (("--pose-only",), "--pose-only: option: expected --store beside it"),
        (("--accumulate", "0"), "accumulate"),
    ):
        code, _, said = run(capsys, "train", "--out", tmp_path / "out", *arguments)
        assert code == 2 and named in said and len(said.splitlines()) == 1, arguments
    assert not (tmp_path / "out").exists()


def test_a_stage_starts_from_any_checkpoint(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    released = LART(replace(SMALL, undetected="computed", norm="pre", joints_width=8))
    monkeypatch.setattr(weights_module, "load_released", lambda *_, **__: released)
    np.save(tmp_path / "mean_std.npy", np.ones((2, 1, 226), np.float32))
    (tmp_path / "published.ckpt").write_bytes(b"")
    start = ("--start", tmp_path / "published.ckpt", "--stats", tmp_path / "mean_std.npy")
    arguments = ("--store", path, *TUNED, "--profile", "released", *LENGTHS)
    code, _, said = run(capsys, "train", "--out", tmp_path / "out", *arguments, *start)
    model, stats, meta = load_model(kept(tmp_path / "out", "finetune"))
    assert code == 0, said
    assert model.config == released.config
    assert (stats.mean[:226] == 1).all() and (stats.mean[226:] == 0).all()
    assert meta["training"]["layer_decay_as"] == "released" and meta["training"]["lr"] == 7e-4
    again = ("--start", kept(tmp_path / "out", "finetune"))
    assert run(capsys, "train", "--out", tmp_path / "more", *arguments, *again)[0] == 0


def test_presets_read_what_the_store_has() -> None:
    paper, released = preset("paper", 1152), preset("released", 2048)
    assert paper == LARTConfig.paper(appearance=1152, appearance_width=256)
    assert released == LARTConfig.released()
    alone = preset("released", 0)
    assert (alone.width, alone.joints_width, alone.appearance, alone.mlp_ratio) == (128, 0, 0, 4.0)
    assert preset("mini") == LARTConfig.mini()
    assert StageConfig.of("finetune", "paper").layer_decay == 0.9
    with pytest.raises(BadInput, match="profile"):
        StageConfig.of("finetune", "mine")


def test_statistics_of_many_are_taken_of_some(path: Path) -> None:
    store = Store(path)
    some = stats_of_store(store, most=4)
    wanted = stats_of([store.tracklet(i) for i in (0, 4, 8, 12)])
    np.testing.assert_array_equal(some.std, wanted.std)


def relabelled(tracklet: Tracklet) -> Tracklet:
    """With other labels, on the same frames."""
    labels = np.zeros_like(tracklet.labels)
    labels[tracklet.label_source > 0, 11] = 1
    return replace(tracklet, labels=labels)


def test_another_training_of_the_same_names_is_not_read_for_this_one(path: Path, tmp_path: Path) -> None:
    """What the tracklets hold and the statistics decide, as the names do."""
    for tracklet in training_job.tracklets():
        write_released(relabelled(valid(tracklet)), tmp_path / "files" / f"{tracklet.name}.pkl")
    convert(tmp_path / "files", tmp_path / "store", jobs=1, progress=False)
    plain, measured = Stats(*np.ones((2, 229), np.float32)), stats_of_store(Store(path))

    def trained(store: Path, stats: Stats) -> Path | None:
        torch.manual_seed(0)
        model = LART(replace(SMALL, appearance=6, appearance_width=256))
        settings = StageConfig.pretrain(epochs=0)
        found = train_on_store("pretrain", Store(store), tmp_path, (model, stats), settings, progress=False)
        np.testing.assert_array_equal(found.stats.mean, stats.mean)
        return found.checkpoint

    kinds = [(path, measured), (path, plain), (tmp_path / "store", measured)]
    first = [trained(*kind) for kind in kinds]
    assert len(set(first)) == 3 and [trained(*kind) for kind in kinds] == first


def test_a_short_training_warms_up_for_a_sixth(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[StageConfig] = []

    def asked(*arguments: object, **_: object) -> None:
        seen.append(arguments[4])  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(recipe, "train_on_store", asked)
    stored = ("train", "--store", path, "--out", tmp_path, "--preset", "small", "--stage", "pretrain")
    for length in ((), *(("--pretrain-epochs", epochs) for epochs in (0, 3, 30, 60))):
        run(capsys, *stored, *length)
    assert [(config.epochs, config.warmup_epochs) for config in seen] == [
        (30, 5), (0, 0), (3, 0.5), (30, 5), (60, 5),
    ]  # fmt: skip


def damaged(path: Path, tmp_path: Path, damage: Callable[[Path], object]) -> Store:
    """A copy of a store whose first part's frames are damaged."""
    shutil.copytree(path, tmp_path / "damaged")
    damage(tmp_path / "damaged" / "parts" / "part-00000" / "frames.npy")
    return Store(tmp_path / "damaged")


def test_a_damaged_store_is_none_without_detections(path: Path, tmp_path: Path) -> None:
    def spoil(file: Path) -> None:
        frames = np.load(file)
        frames["label_source"] = 7
        np.save(file, frames)

    with pytest.raises(BadInput, match="label_source: expected") as refused:
        stats_of_store(damaged(path, tmp_path, spoil))
    assert "detections" not in str(refused.value)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_store_is_one_line_from_other_processes_too(
    path: Path, tmp_path: Path, workers: int
) -> None:
    store = damaged(path, tmp_path, lambda file: file.write_bytes(file.read_bytes()[:500]))
    settings, stats = StageConfig.pretrain(epochs=1, batch_size=4), Stats(*np.ones((2, 229), np.float32))
    data = training_set(store, stats, SMALL, "pretrain", settings)
    with pytest.raises(BadInput, match=r"frames\.npy: "):
        train(LART(SMALL), data, settings, False, workers=workers)
