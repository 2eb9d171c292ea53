"""Whatever the system, the options or the user do to a command: one line, exit code 2, nothing changed."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from lart_mini import cli
from lart_mini.files import BadInput

MINI_AVA = importlib.import_module("lart_mini.data.mini_ava")  # in the folder the name is the function


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `lart-mini arguments…`."""
    with pytest.raises(SystemExit) as left:
        cli.main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return int(left.value.code or 0), printed.out, printed.err


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


BAD_COMMANDS = {
    "evaluate into a folder": ("evaluate --groundtruth g.csv --detections d.csv --json .", ".: output"),
    "evaluate into nothing": ("evaluate --groundtruth g.csv --detections d.csv --json=", ".: output"),
    "evaluate a folder": ("evaluate --groundtruth . --detections d.csv", "."),
    "evaluate below a file": ("evaluate --groundtruth file/g.csv --detections d.csv", "file/g.csv"),
    "predict into a folder": ("predict --checkpoint c --tracklets t --out .", ".: output"),
    "predict below a file": ("predict --checkpoint c --tracklets t --out file/o.csv", "file/o.csv"),
    "predict by what is below a file": ("predict --checkpoint file/c --tracklets t --out o.csv", "file/c"),
    "predict with a folder of weights": ("predict --checkpoint . --tracklets t --out o.csv", "."),
    "convert into a file": ("convert people file", "file"),
    "convert below a file": ("convert people file/store", "file/store"),
    "convert where nothing can be written": ("convert people /proc/store", "/proc/store"),
    "convert with no process": ("convert people store --jobs 0", "--jobs: processes: expected"),
    "validate with no process": ("validate people --jobs 0", "--jobs: processes: expected"),
    "reproduce with no process": ("reproduce --profile smoke --jobs 0", "--jobs: processes: expected"),
    "reproduce into a file": ("reproduce --profile smoke --out file", "file"),
    "train into a file": ("train --out file", "file"),
    "train with workers below 0": ("train --out o --store s --workers -1", "--workers: processes: expected"),
    "train on what is not there": ("train --out o --accelerator tpu", "training: accelerator: expected auto"),
    "train on no machine": ("train --out o --nodes 0", "training: nodes: expected a whole number"),
    "train in a way unheard of": ("train --out o --precision 3-bit", "training: precision: expected"),
    "train on no device": ("train --out o --devices 0", "training: devices: expected"),
    "train on device x": ("train --out o --devices x", "training: devices: expected"),
    "train with statistics of a folder": ("train --out o --store s --stats .", ""),
    "train with a seed below 0": ("train --out o --seed -1", "training: seed: expected a whole"),
    "train with a seed too large": (f"train --out o --seed {2**64}", "training: seed: expected a whole"),
    "train with no rate": ("train --out o --lr nan", "training: lr: expected a finite number"),
    "train with a rate below 0": ("train --out o --lr=-1", "training: lr: expected a finite number"),
    "train with an endless rate": ("train --out o --lr inf", "training: lr: expected a finite number"),
    "train with batches of none": ("train --out o --batch-size 0", "training: batch_size: expected a whole"),
    "train for epochs below 0": ("train --out o --finetune-epochs -1", "training: epochs: expected a whole"),
    "info with a seed below 0": ("info --size smoke --seed -1", "mini_ava: seed: expected a whole"),
    "no such command": ("exercise", "No such command"),
    "no such option": ("info --sise smoke", "No such option"),
    "an option without its value": ("info --size", "Option '--size' requires"),
    "a number that is none": ("info --seed many", "Invalid value for '--seed'"),
    "what is missing": ("evaluate --groundtruth g.csv", "Missing option '--detections'"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD_COMMANDS)
def test_a_wrong_command_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("a file")
    (tmp_path / "people").mkdir()
    (tmp_path / "people" / "one.pkl").write_bytes(b"")
    before = names(tmp_path)
    command, says = BAD_COMMANDS[kind]
    code, out, err = run(capsys, *command.split(" "))
    assert (code, out, len(err.splitlines())) == (2, "", 1) and err.startswith(f"lart-mini: {says}"), err
    assert names(tmp_path) == before


@pytest.mark.parametrize(
    ("problem", "code", "line"),
    [
        (OSError(28, "No space left on device", "a.csv"), 2, "a.csv: No space left on device"),
        (OSError(28, "No space left on device"), 2, "info: No space left on device"),
        (PermissionError(13, "Permission denied", "a\nb"), 2, r"a\nb: Permission denied"),
        (OSError(18, "Invalid cross-device link", "a", None, "b"), 2, "b: Invalid cross-device link"),
        (OSError("no number"), 2, "info: no number"),
        (MemoryError(), 2, "info: more memory is needed than there is"),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes\nat …"), 2,
         "info: more memory is needed than there is"),
        (KeyboardInterrupt(), 130, "stopped"),
        (BadInput("a", "b", "c", "d\ne"), 2, "a: b: expected c, found d e"),
    ],
)  # fmt: skip
def test_what_stops_a_command_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    problem: BaseException,
    code: int,
    line: str,
) -> None:
    monkeypatch.setattr(MINI_AVA, "mini_ava", raising(problem))
    assert run(capsys, "info") == (code, "", f"lart-mini: {line}\n")


def raising(problem: BaseException) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise problem

    return fail


def test_a_mistake_of_ours_is_still_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(MINI_AVA, "mini_ava", raising(RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        cli.main(["info"])


def test_warnings_are_one_line_each(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def warn(*_: object, **__: object) -> None:
        warnings.warn("left\nout: 3 tensors", UserWarning, stacklevel=1)
        raise BadInput("a", "b", "c", "d")

    monkeypatch.setattr(MINI_AVA, "mini_ava", warn)
    code, _, err = run(capsys, "info")
    assert (code, err.splitlines()) == (
        2, ["lart-mini: left out: 3 tensors", "lart-mini: a: b: expected c, found d"],
    )  # fmt: skip


def test_who_reads_no_further_hears_no_complaint() -> None:
    job = [sys.executable, "-c", "from lart_mini.cli import main; main(['evaluate', '--help'])"]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(job, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


def test_outputs_are_tried_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = raising(AssertionError("the work has begun"))
    monkeypatch.setattr("lart_mini.evaluation.frame_map.evaluate_files", begun)
    monkeypatch.setattr("lart_mini.lart.weights.read_model", begun)
    outputs = (["evaluate", "--groundtruth", "g", "--detections", "d", "--json"],
               ["predict", "--checkpoint", "c", "--tracklets", "t", "--out"])  # fmt: skip
    for command in outputs:
        code, _, err = run(capsys, *command, tmp_path)
        assert (code, len(err.splitlines())) == (2, 1) and "a file to write" in err


def test_no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", home)
    monkeypatch.delenv("LART_MINI_CACHE", raising=False)
    line = "LART_MINI_CACHE: data cache: expected a folder, where there is no home, found none"
    assert run(capsys, "info", "--size", "smoke") == (2, "", f"lart-mini: {line}\n")
    for cache, says in (("/proc/cache", "/proc/cache"), (__file__, __file__)):
        monkeypatch.setenv("LART_MINI_CACHE", cache)
        code, _, err = run(capsys, "info", "--size", "smoke")
        assert (code, len(err.splitlines())) == (2, 1) and err.startswith(f"lart-mini: {says}"), err
