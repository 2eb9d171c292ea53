"""`lart-mini evaluate`: what it prints and writes, and its exit codes."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from lart_mini import cli

TRUTH = "a,0902,0.1,0.1,0.5,0.9,12,0\na,0902,0.1,0.1,0.5,0.9,80,0\na,0903\n"
FOUND = "a,0902,0.1,0.1,0.5,0.9,12,0.9\na,0902,0.1,0.1,0.5,0.9,80,0.4\na,0902,0.6,0.1,0.9,0.9,80,0.8\n"


@pytest.fixture
def files(tmp_path: Path) -> tuple[str | Path, ...]:
    truth, found = tmp_path / "truth.csv", tmp_path / "found.csv.gz"
    truth.write_text(TRUTH)
    found.write_bytes(gzip.compress(FOUND.encode()))
    return "--groundtruth", truth, "--detections", found


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    with pytest.raises(SystemExit) as stopped:
        cli.main(["evaluate", *map(str, arguments)])
    printed = capsys.readouterr()
    return int(stopped.value.code or 0), printed.out, printed.err


def test_table_categories_counts_and_json(files, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "result.json"
    code, text, err = run(capsys, *files, "--json", out)
    assert code == 0 and not err
    lines = {" ".join(line.split()) for line in text.splitlines()}
    assert {"12 stand PM 100.00", "80 watch (a person) PI 50.00", "1 bend/bow (at the waist) PM –"} <= lines
    assert {"PM person movement 100.00", "OM object manipulation –", "PI person interaction 50.00"} <= lines
    assert {"mAP, policy activitynet 75.00", "frames 2", "labels found 2"} <= lines
    content = json.loads(out.read_text())
    assert (content["mAP"], content["PI"], content["OM"]) == (0.75, 0.5, None)


def test_policies_and_excluded_frames(files, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    excluded = tmp_path / "excluded.csv"
    excluded.write_text("a,0902\n")
    assert "mAP, policy mmaction2" in run(capsys, *files, "--policy", "mmaction2")[1]
    assert run(capsys, *files, "--excluded", excluded)[0] == 1  # nothing is left: no mAP
    code, _, err = run(capsys, *files, "--policy", "coco")
    assert code == 2 and "found coco" in err


def test_a_fault_is_diagnosed(files, capsys: pytest.CaptureFixture[str]) -> None:
    found = files[-1]
    found.write_bytes(gzip.compress(FOUND.replace(",0902,", ",60,").encode()))
    code, text, _ = run(capsys, *files)
    assert code == 0 and "! The seconds are frame numbers" in text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (FOUND + "a,0902,0.5,0.1,0.4,0.9,12,0.9\n", "line 4, x2: expected at least x1"),
        ("video,second,x1,y1,x2,y2,action,score\n" + FOUND, "line 1, second: expected a row of data"),
        ("", "an empty file"),
        (FOUND.replace("0.9\n", "0.9,1\n"), "line 1, columns: expected 2 or 8 columns, found 9"),
    ],
)
def test_bad_input_ends_with_one_line_and_code_2(
    files, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, words: str
) -> None:
    found = files[-1]
    found.write_bytes(gzip.compress(content.encode()))
    code, out, err = run(capsys, *files, "--json", tmp_path / "result.json")
    assert code == 2 and words in err and str(found) in err
    assert not out and err.count("\n") == 1 and not (tmp_path / "result.json").exists()


def test_a_gzip_cut_short(files, capsys: pytest.CaptureFixture[str]) -> None:
    found = files[-1]
    found.write_bytes(found.read_bytes()[:-9])
    code, _, err = run(capsys, *files)
    assert code == 2 and "cut short" in err
