"""The command: help everywhere, one clear line and the right exit code on bad input."""

from __future__ import annotations

from pathlib import Path

import pytest
from notebook_kit import RECORDING, write_notebook, write_project

from lart_mini import __version__, cli

COMMANDS = ("reproduce", "evaluate", "info", "validate", "train", "predict")


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


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version")[:2] == (0, f"{__version__}\n")


def test_reproduce_ends_with_the_score_or_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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
    assert code == 2 and "expected tracklet files *.pkl, found none" in err
    bad = tmp_path / "ava-val_0123456789a_000150_3_128.pkl"
    bad.write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    code, out, err = run(capsys, "validate", bad)
    assert (
        code == 2
        and out == "0 of 1 files are valid, 0 frames\n"
        and len(err.splitlines()) == 1
        and bad.name in err
    )


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
