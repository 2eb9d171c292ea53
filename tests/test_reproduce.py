"""The runner: unknown parameters refused before anything runs, failures named, results all or nothing."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from notebook_kit import RECORDING, write_notebook, write_project

from lart_mini.files import BadInput
from lart_mini.runs.notebooks import NotebookFailed, commit, find_notebooks, read_profile, reproduce
from lart_mini.runs.record import record, recorded
from lart_mini.runs.report import in_percent, part

# What a page would fetch from elsewhere when opened.
OUTSIDE = re.compile(r"""(?:src|<link[^>]*href)=["']((?!data:)[^"']+)["']""")

FIGURE = """
from lart_mini.figures import new_figure, show
figure = new_figure(2, 1, "A title")
show(figure, alt="a line & nothing else")
"""


def test_runs_records_and_reports(tmp_path: Path) -> None:
    notebooks = write_project(tmp_path, "cell_timeout: 60\nnotebooks:\n  00_first: {word: given}\n")
    given = 'run_dir = "../runs/tiny"\nword = "default"'
    write_notebook(notebooks / "00_first.ipynb", "print(word)", FIGURE, RECORDING, parameters=given)
    results = reproduce("tiny", notebooks=notebooks)
    out = tmp_path / "runs" / "tiny"
    assert json.loads((out / "results.json").read_text()) == results
    assert (
        results["profile"] == "tiny"
        and results["seconds"] > 0
        and set(results["notebook_seconds"]) == {"00_first"}
    )
    assert results["validation"]["mAP"] == 0.5 and results["baselines"] == {"class prior": 0.1}
    assert results["commit"] is None and results["versions"]["numpy"] == np.__version__
    page = (out / "report.html").read_text()
    assert "given" in page and "50.0 %" in page and "paper, not run here" in page
    assert 'alt="a line &amp; nothing else"' in page and "No description" not in page
    assert page.count('class="formula"') == 1
    assert not OUTSIDE.findall(page)
    assert '<a href="#00_first">Notebook 00_first</a>' in page


def cells(page: str) -> list[list[str]]:
    """What stands in the rows of all tables."""
    rows = re.findall(r"<tr>(.*?)</tr>", page)
    return [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row) for row in rows]


def test_parts_are_shown_as_tables_that_can_be_read() -> None:
    many = {f"class {i}": 0.01 * i for i in range(12)}
    recorded = {
        "tracking": {
            "people cross": {
                "3D": {"IDF1": [0.96, 0.98], "switches": [3, 5]},
                "overlap": {"IDF1": [0.9, 0.92], "switches": [7, 7]},
            },
            "boxes": 1101,
            "per_class": {"3D": many, "overlap": many},
        }
    }
    page = part("tracking", in_percent(recorded)["tracking"])
    assert re.findall(r"<h(\d)>(.*?)</h\d>", page) == [
        ("2", "Tracking"), ("3", "people cross"), ("3", "per class"),
    ]  # fmt: skip
    rows = cells(page)
    assert rows[0] == ["boxes", "1,101"]
    assert rows[1:4] == [
        ["", "IDF1", "switches"],
        ["3D", "97.0 % (96.0 to 98.0)", "4.0 (3.0 to 5.0)"],
        ["overlap", "91.0 % (90.0 to 92.0)", "7.0 (7.0 to 7.0)"],
    ]
    # Twelve columns would leave the page: they are rows.
    assert rows[4] == ["", "3D", "overlap"] and rows[8] == ["class 3", "3.0 %", "3.0 %"] and len(rows) == 17


def test_failing_notebook_is_named_and_leaves_no_results(tmp_path: Path) -> None:
    notebooks = write_project(tmp_path)
    write_notebook(notebooks / "00_good.ipynb", RECORDING)
    write_notebook(notebooks / "01_bad.ipynb", "1 + 1", "raise ValueError('two\\nlines')")
    old = tmp_path / "runs" / "tiny" / "results.json"
    old.parent.mkdir(parents=True)
    old.write_text("{}")
    with pytest.raises(NotebookFailed, match=r"^01_bad.ipynb: cell \d+: ValueError: two lines$"):
        reproduce("tiny", notebooks=notebooks)
    assert not old.exists() and not (old.parent / "report.html").exists()


def test_cell_that_takes_too_long_is_named(tmp_path: Path) -> None:
    notebooks = write_project(tmp_path, "cell_timeout: 1\nnotebooks: {}\n")
    write_notebook(notebooks / "00_slow.ipynb", "import time\ntime.sleep(30)")
    with pytest.raises(NotebookFailed, match=r"^00_slow.ipynb: cell \d+: ran longer than 1 s$"):
        reproduce("tiny", notebooks=notebooks)


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        (
            "cell_timeout: 60\nnotebooks:\n  00_a: {wrd: 1}\n",
            "parameter of 00_a: expected one of run_dir, found wrd",
        ),
        ("cell_timeout: 60\nnotebooks:\n  00_b: {}\n", "notebooks: expected one of 00_a, found 00_b"),
        ("cell_timeout: 60\n", "keys: expected cell_timeout, notebooks, found cell_timeout"),
        ("cell_timeout: [60\n", "file: expected YAML, found"),
    ],
)
def test_wrong_profiles_are_refused_in_one_line(tmp_path: Path, profile: str, message: str) -> None:
    notebooks = write_project(tmp_path, profile)
    write_notebook(notebooks / "00_a.ipynb", "1")
    with pytest.raises(BadInput) as refused:
        reproduce("tiny", notebooks=notebooks)
    assert str(refused.value).startswith(f"profiles/tiny.yaml: {message}") and "\n" not in str(refused.value)
    assert not (tmp_path / "runs").exists()


def test_unknown_profile_and_missing_parameters_cell(tmp_path: Path) -> None:
    notebooks = write_project(tmp_path)
    write_notebook(notebooks / "00_a.ipynb", parameters="size = 1")
    with pytest.raises(BadInput, match="expected tiny, found huge"):
        read_profile("huge", notebooks)
    with pytest.raises(BadInput, match=r"00_a\.ipynb: parameters cell: expected run_dir = …, found size"):
        read_profile("tiny", notebooks)
    with pytest.raises(BadInput, match="notebooks: expected files"):
        find_notebooks(tmp_path)


def test_missing_part_is_named(tmp_path: Path) -> None:
    notebooks = write_project(tmp_path)
    write_notebook(notebooks / "00_a.ipynb", "1")
    with pytest.raises(BadInput, match="validation: expected recorded by a notebook, found only nothing"):
        reproduce("tiny", notebooks=notebooks)


def test_record_makes_plain_json(tmp_path: Path) -> None:
    record(
        tmp_path, "part", {"a": np.float32(0.5), "b": np.array([1, 2]), 3: float("nan"), "c": (True, None)}
    )
    assert recorded(tmp_path, "part") == {"a": 0.5, "b": [1, 2], "3": None, "c": [True, None]}
    assert recorded(tmp_path, "other") is None
    with pytest.raises(BadInput, match="part name"):
        record(tmp_path, "../part", {})


def test_commit_says_when_the_tree_differs(tmp_path: Path) -> None:
    assert commit(tmp_path) is None
    for arguments in (
        ["init", "-q"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "first"],
    ):
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True)
    clean = commit(tmp_path)
    assert clean is not None and len(clean) == 40
    (tmp_path / "new").write_text("")
    assert commit(tmp_path) == clean + "-dirty"
