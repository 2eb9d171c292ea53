"""The runner: unknown parameters refused before anything runs, failures named, results all or nothing."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from notebook_kit import RECORDING, write_notebook, write_project

from lart_mini.errors import BadInput
from lart_mini.reproduce import (
    NotebookFailed,
    commit,
    find_notebooks,
    read_profile,
    record,
    recorded,
    reproduce,
)

# What a page would fetch from elsewhere when opened.
OUTSIDE = re.compile(r"""(?:src|<link[^>]*href)=["']((?!data:)[^"']+)["']""")

FIGURE = """
from lart_mini.plots import new_figure, show
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
