"""The command: help everywhere, one clear line and the right exit code on bad input."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from factories import WIDTH, everywhere, make_weights, member, write_source, write_weights
from notebook_kit import RECORDING, write_notebook, write_project

from lart_mini import __version__, cli
from lart_mini.evaluation import ava_csv
from lart_mini.lart.assembly import assemble
from lart_mini.lart.config import LARTConfig
from lart_mini.lart.model import LART
from lart_mini.lart.tokens import Stats, load_stats
from lart_mini.lart.weights import load_released, save_model
from lart_mini.tracklets.conversion import convert
from lart_mini.tracklets.released import write_released
from lart_mini.tracklets.store import Store

COMMANDS = ("reproduce", "evaluate", "info", "convert", "validate", "train", "folds", "ablate", "predict")


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `lart-mini arguments…`."""
    with pytest.raises(SystemExit) as stopped:
        cli.main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return int(stopped.value.code or 0), printed.out, printed.err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, command, "--help")
    assert code == 0 and "Usage" in out and len(out.splitlines()) > 5


@pytest.mark.parametrize("module", ["cli", "runs.reproduce"])
def test_a_command_starts_without_what_it_may_not_need(module: str) -> None:
    """Seconds of imports: nobody waits for them who asks for help, scores a file or starts notebooks."""
    code = f"import sys, lart_mini.{module}; print(*{{'torch', 'matplotlib', 'scipy'}} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version")[:2] == (0, f"{__version__}\n")


def test_reproduce_ends_with_the_score_or_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    notebooks = write_project(tmp_path)
    write_notebook(notebooks / "00_a.ipynb", RECORDING)
    code, out, _ = run(capsys, "reproduce", "--profile", "tiny", "--notebooks", notebooks)
    assert (
        code == 0 and "validation mAP 50.0 %" in out and (tmp_path / "runs" / "tiny" / "report.html").exists()
    )
    code, _, err = run(capsys, "reproduce", "--profile", "huge", "--notebooks", notebooks)
    assert (code, err) == (2, "lart-mini: profiles/huge.yaml: profile: expected tiny, found huge\n")
    write_notebook(notebooks / "01_b.ipynb", "1 / 0")
    code, _, err = run(capsys, "reproduce", "--profile", "tiny", "--notebooks", notebooks)
    assert code == 1 and err.splitlines()[-1].startswith("lart-mini: 01_b.ipynb: cell ")


def test_validate_names_each_bad_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "validate", tmp_path)
    assert code == 2 and "expected tracklet files *.pkl, or a store, found neither" in err
    bad = tmp_path / "ava-val_0123456789a_000150_3_128.pkl"
    bad.write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    code, out, err = run(capsys, "validate", bad)
    assert code == 2 and out.endswith("problems: 1\n")
    assert len(err.splitlines()) == 1 and bad.name in err and "os.system" in err
    link = tmp_path / "ava-val_0123456789a_000150_4_128.pkl"
    link.symlink_to("nowhere")
    code, out, err = run(capsys, "validate", tmp_path)
    assert code == 2 and out.endswith("problems: 2\n") and len(err.splitlines()) == 2
    assert f"{link}: file: expected a file that can be read, found No such file" in err


def test_bad_csv_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = tmp_path / "truth.csv"
    empty.write_text("")
    code, _, err = run(capsys, "evaluate", "--groundtruth", empty, "--detections", empty)
    assert code == 2 and len(err.splitlines()) == 1 and "truth.csv" in err
    code, _, err = run(capsys, "evaluate", "--groundtruth", tmp_path / "absent.csv", "--detections", empty)
    assert code == 2 and len(err.splitlines()) == 1 and "absent.csv" in err


def test_info_refuses_an_unknown_size(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "info", "--size", "huge")
    assert code == 2 and len(err.splitlines()) == 1 and "huge" in err


def test_convert_tells_what_it_skipped_and_validate_what_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, store = write_source(tmp_path / "source"), tmp_path / "store"
    (source / "ava-val_0123456789a_000150_3_128.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    code, out, err = run(capsys, "convert", source, store, "--jobs", "1")
    assert (code, out) == (0, f"10 tracklets, 176 frames, 1 files skipped: {store}\n")
    assert len(err.splitlines()) == 1 and err.startswith("skipped ava-val_0123456789a") and "os.system" in err
    code, out, err = run(capsys, "validate", store)
    assert code == 0 and err == "" and "ava-train" in out and out.endswith("problems: 0\n")
    (store / "parts" / "part-00000" / "frames.npy").unlink()
    code, out, err = run(capsys, "validate", store)
    assert code == 2 and len(err.splitlines()) == 1 and "frames.npy" in err
    (store / "index.parquet").unlink()
    for command in (["validate", store], ["convert", source / "0", store]):
        code, _, err = run(capsys, *command)
        assert code == 2 and len(err.splitlines()) == 1


def test_the_published_checkpoint_scores_a_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    convert(write_source(tmp_path / "source"), tmp_path / "store", jobs=1)
    weights = make_weights(depth=1, heads=16, head_width=64, appearance=WIDTH, table=(250, 10))
    checkpoint = write_weights(tmp_path / "lart.ckpt", weights)
    np.save(tmp_path / "mean_std.npy", np.stack([np.zeros((1, 226)), np.ones((1, 226))]))
    asked = [
        "predict",
        "--checkpoint",
        checkpoint,
        "--tracklets",
        tmp_path / "store",
        "--out",
        tmp_path / "o.csv",
    ]
    code, _, err = run(capsys, *asked)
    assert code == 2 and "stats: expected mean_std.npy" in err and not (tmp_path / "o.csv").exists()
    code, out, err = run(capsys, *asked, "--stats", tmp_path / "mean_std.npy", "--confidence", "0.5")
    assert code == 0 and err == ""
    members = list(Store(tmp_path / "store"))
    wanted = []
    model, stats = load_released(checkpoint, people=5, frames=125), load_stats(tmp_path / "mean_std.npy")
    for one in members:
        (row,) = np.flatnonzero(one.frame == one.keyframe) if one.keyframe in one.frame else (None,)
        if row is None or not one.detected[row] or one.confidence[row] < 0.5:
            continue
        others = [t for t in members if t.scene == one.scene and t is not one]
        batch = assemble(one, others, frames=125, people=5, stats=stats, profile="released")
        with torch.no_grad():
            scores = model(batch)[0, 0, : len(one)].sigmoid()
        wanted.append(scores[max(0, row - 6) : row + 6].mean(dim=0))
    rows = ava_csv.read_detections(tmp_path / "o.csv")
    assert len(wanted) > 1 and out == f"{len(wanted)} boxes of 10 tracklets: {tmp_path / 'o.csv'}\n"
    np.testing.assert_allclose(rows["score"].to_numpy(), torch.cat(wanted), atol=1e-5)
    code, _, err = run(capsys, *asked, "--stats", tmp_path / "mean_std.npy", "--keyframes", "some")
    assert code == 2 and len(err.splitlines()) == 1


def test_a_model_of_other_appearance_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_source(tmp_path / "source")
    model = LART(LARTConfig(width=16, depth=1, heads=2, pose_width=8, appearance=9, appearance_width=8))
    stats = Stats(np.zeros(229, np.float32), np.ones(229, np.float32))
    save_model(tmp_path / "m.safetensors", model, stats)
    asked = ["predict", "--checkpoint", tmp_path / "m.safetensors", "--out", tmp_path / "o.csv"]
    code, _, err = run(capsys, *asked, "--tracklets", source)
    assert code == 2 and not (tmp_path / "o.csv").exists()
    assert (
        err
        == f"lart-mini: tracklets: appearance: expected width 9, which the model reads, found width {WIDTH}\n"
    )


def test_released_boxes_are_the_confident_ones_at_the_key_frame_of_the_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for track, confidence in enumerate((0.85, 0.75)):
        one = everywhere(member(60, track, 50, 80))  # key frames 60, 90 and 120
        one = replace(one, confidence=np.full(80, confidence, np.float32))
        write_released(one, tmp_path / "people" / f"{one.name}.pkl")
    weights = make_weights(depth=1, heads=16, head_width=64, appearance=WIDTH, table=(250, 10))
    checkpoint = write_weights(tmp_path / "lart.ckpt", weights)
    np.save(tmp_path / "mean_std.npy", np.stack([np.zeros((1, 226)), np.ones((1, 226))]))
    asked = ["predict", "--checkpoint", checkpoint, "--stats", tmp_path / "mean_std.npy"]
    asked += ["--tracklets", tmp_path / "people", "--out", tmp_path / "o.csv"]
    for more, boxes in (
        ([], 1),
        (["--confidence", "0"], 2),
        (["--keyframes", "all"], 3),
        (["--keyframes", "all", "--confidence", "0"], 6),
        (["--profile", "paper"], 6),
    ):
        code, out, _ = run(capsys, *asked, *more)
        assert code == 0 and out.startswith(f"{boxes} boxes of 2 tracklets"), more
