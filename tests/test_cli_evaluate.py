"""`lart-mini evaluate`: what it prints and writes, and its exit codes."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
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


def test_a_code_page_without_a_character_does_not_end_it(files) -> None:
    job = [sys.executable, "-m", "lart_mini.cli", "evaluate", *files]
    done = subprocess.run(job, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "cp932"})
    assert done.returncode == 0 and b"mAP, policy activitynet" in done.stdout, done.stderr
    assert b"\\u2013" in done.stdout, "a dash, where a class has no AP"


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
        (FOUND.replace("0.9\n", "0.9,1\n"), "line 1, columns: expected 2 or 7 or 8 columns, found 9"),
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


# Other people's files; the right numbers are those of the published scripts, run on these rows.
VIDEO = "qA7xK2mNp0w"
LABELS = [
    (902, "0.100,0.100,0.500,0.900,12"),
    (902, "0.100,0.100,0.500,0.900,80"),
    (903, "0.200,0.100,0.600,0.900,14"),
]
ROWS = [
    (902, "0.110,0.100,0.500,0.900,12,0.9000"),
    (902, "0.110,0.100,0.500,0.900,80,0.4000"),
    (902, "0.600,0.100,0.900,0.900,80,0.8000"),
    (903, "0.200,0.100,0.600,0.900,14,0.7000"),
]


def text(rows: list[tuple[int, str]], second: str = "{:04d}", end: str = "") -> str:
    return "".join(f"{VIDEO},{second.format(at)},{row}{end}\n" for at, row in rows)


@pytest.mark.parametrize("policy", ["activitynet", "slowfast", "mmaction2"])
@pytest.mark.parametrize(
    ("truth", "found"),
    [
        (text(LABELS, end=",1.0000"), text(ROWS)),  # as SlowFast leaves them after a test
        (text(LABELS, "{:.1f}"), text(ROWS)),  # pandas
        (text(LABELS, "{:.1f}", ",3.0"), text(ROWS, "{:.1f}")),
        (
            text(LABELS, "{}.533333"),
            text(ROWS, "{}.5333333"),
        ),  # clips whose seconds have fractions, as LART's
        ("\ufeff" + text(LABELS).replace("\n", "\r\n"), text(ROWS) + "\n \n"),
    ],
)
def test_files_as_others_write_them_score_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], truth: str, found: str, policy: str
) -> None:
    paths = tmp_path / "truth.csv", tmp_path / "found.csv"
    for path, content in zip(paths, (truth, found), strict=True):
        path.write_bytes(content.encode())
    out = tmp_path / "out.json"
    arguments = ("--groundtruth", paths[0], "--detections", paths[1], "--policy", policy, "--json", out)
    code, printed, _ = run(capsys, *arguments)
    assert code == 0 and "!" not in printed
    content = json.loads(out.read_text())
    assert content["mAP"] == pytest.approx(5 / 6, abs=1e-12) and content["per_class"]["80"] == 0.5


OWN_LABELS = [
    (1, "0.1,0.1,0.5,0.9,1"),
    (1, "0.6,0.1,0.9,0.9,2"),
    (2, "0.1,0.1,0.5,0.9,2"),
    (3, "0.1,0.1,0.5,0.9,3"),
]
OWN_ROWS = [
    (1, "0.1,0.1,0.5,0.9,1,0.9"),
    (1, "0.6,0.1,0.9,0.9,2,0.2"),
    (1, "0.1,0.1,0.5,0.9,2,0.8"),
    (2, "0.6,0.1,0.9,0.9,2,0.1"),
    (3, "0.1,0.1,0.5,0.9,3,0.9"),
]
ITEMS = 'item {\n  name: "lift"\n  id: 1\n}\n'
ITEMS += 'item {\n  name: "put down"\n  id: 2\n}\nitem { name: "wait" id: 3 }\n'


def own_files(folder: Path) -> tuple[str | Path, ...]:
    (folder / "truth.csv").write_text(text(OWN_LABELS))
    (folder / "found.csv").write_text(text(OWN_ROWS))
    return "--groundtruth", folder / "truth.csv", "--detections", folder / "found.csv"


@pytest.mark.parametrize(
    ("name", "content", "second"),
    [
        ("1,2,3", "", "class 2"),
        ("map.pbtxt", ITEMS, "put down"),
        ("map.pbtxt", ITEMS.replace("item", "label").replace("id:", "label_id:"), "put down"),
        ("map", "# of mine\n" + ITEMS, "put down"),
        ("map.csv", 'id,name\n1,lift\n2,"put, down"\n3,wait\n', "put, down"),
        ("map.txt", "3: wait\n2: put down\n1: lift\n", "put down"),
        ("ids.csv", "1\n2\n3\n", "class 2"),
    ],
)
def test_classes_of_ones_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: str, second: str
) -> None:
    """AP 1, 0.25 and 1, as LART's script says with a label map of the three."""
    given = name if not content else tmp_path / name
    if content:
        (tmp_path / name).write_text(content)
    out = tmp_path / "out.json"
    code, printed, _ = run(capsys, *own_files(tmp_path), "--classes", given, "--json", out)
    assert code == 0 and json.loads(out.read_text())["per_class"] == {"1": 1, "2": 0.25, "3": 1}
    lines = {" ".join(line.split()) for line in printed.splitlines()}
    assert {
        f"2 {second} 25.00",
        "mAP, policy activitynet 75.00",
    } <= lines and "left out" not in printed.split("!")[-1]


def test_ids_beyond_avas_80_are_read_where_they_are_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = own_files(tmp_path)
    for path in (files[1], files[3]):
        Path(path).write_text(Path(path).read_text().replace(",0.9,1", ",0.9,255"))
    code, printed, _ = run(capsys, *files, "--classes", "2,3,255")
    assert code == 0 and "255 class 255" in printed and "75.00" in printed
    code, _, err = run(capsys, *files)
    assert code == 2 and "a class id in 1..80, found 255" in err


def test_labels_that_are_not_scored_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = (
        "! 2 of 4 ground-truth labels (class 2) and 3 of 5 detections (class 2) were left out: AVA scores 60"
    )
    code, printed, _ = run(capsys, *own_files(tmp_path))
    assert code == 0 and words in printed
    code, printed, _ = run(capsys, *own_files(tmp_path), "--classes", "4")
    assert code == 1 and "4 of 4 ground-truth labels (classes 1, 2, 3)" in printed


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("0,1", "", "--classes: id: expected a class id in 1..255, found 0"),
        ("1,2,2", "", "--classes: id: expected each class id once, found 2 twice"),
        ("256", "", "a class id in 1..255"),
        ("none.pbtxt", "", "none.pbtxt: file: expected a readable file"),
        ("map.pbtxt", "name: 1\n", "map.pbtxt: classes: expected ids such as"),
        ("map.pbtxt", ITEMS + "item {\n id: 4\n}\n", "line 10: expected an item of name"),
        ("map.csv", "id,name\n1,lift\nwait\n", "line 3: expected id,name, found 'wait'"),
        ("map.csv", "1,lift\n1,wait\n", "line 2, id: expected each class id once"),
        ("map.csv", "1,li\x1b[31mft\n", "line 1, name: expected at most 100 characters that can be printed"),
        ("map.csv", "1," + 200 * "x", "line 1, name"),
        ("map.csv", "id,name\n1," + 200_000 * "x", "line 2: expected id,name, found field larger than"),
        ("map.pbtxt", ITEMS.replace("id: 1", f"id: {5000 * '1'}"), "a class id in 1..255"),
        (5000 * "1", "", "File name too long"),
    ],
)
def test_class_lists_that_are_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: str, words: str
) -> None:
    if content:
        (tmp_path / name).write_text(content)
    given = tmp_path / name if "." in name else name
    code, out, err = run(capsys, *own_files(tmp_path), "--classes", given)
    assert code == 2 and words in err and err.count("\n") == 1 and not out


def test_corners_beyond_the_frame_are_scored_and_told(
    files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files[1].write_text(TRUTH.replace("0.1,0.1,", "-0.1,0.1,"))
    files[-1].write_bytes(gzip.compress(FOUND.replace("0.1,0.1,", "-0.1,0.1,").encode()))
    code, printed, _ = run(capsys, *files)
    assert code == 0 and "mAP, policy activitynet" in printed and "75.00" in printed
    assert "! 2 ground-truth labels have corners outside the frame (-0.1 to 0.9 of it)" in printed
