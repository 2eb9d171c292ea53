"""Runs in trouble: another Python's kernels, odd or damaged folders, two at once, results of any kind."""

from __future__ import annotations

import json
import math
import ntpath
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from notebook_kit import RECORDING, ROOT, write_notebook, write_project

from lart_mini import files
from lart_mini.files import BadInput, locked
from lart_mini.runs import kernel
from lart_mini.runs.kept import Kept, Ran, check_own, clear
from lart_mini.runs.plan import NotebookFailed, read_notebook, read_plan
from lart_mini.runs.record import RESERVED, record, recorded
from lart_mini.runs.report import results_page, write_report
from lart_mini.runs.reproduce import reproduce, summary

pytestmark = pytest.mark.usefixtures("drawn_once")

# ------------------------------------------------------------------------------------------------- the kernel

ODD_FOLDER = "a b{connection_file}{prefix}{x}ä$HOME'\"%d"


def test_notebooks_run_on_this_python_with_this_package_in_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jupyter's own `python3` is another one here, and the one that runs us stands in an odd folder."""
    spec = tmp_path / "jupyter" / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(json.dumps({"argv": ["/bin/false"], "display_name": "other", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    home = tmp_path / ODD_FOLDER
    notebooks = write_project(home)
    python = home / "python"
    python.write_text(f'#!/bin/sh\nexport STARTED_BY="$0"\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    tells = """
import os, lart_mini
from lart_mini.runs import record
told = {"python": os.environ["STARTED_BY"], "package": lart_mini.__file__, "cwd": os.getcwd()}
record(run_dir, "told", told)
"""
    write_notebook(notebooks / "00_a.ipynb", tells, RECORDING)
    out = home / "runs" / "tiny"
    results = reproduce("tiny", out, notebooks)
    told = {"python": str(python), "package": str(ROOT / "lart_mini" / "__init__.py"), "cwd": str(notebooks)}
    assert results["told"] == told and (out / "report.html").exists()


def test_a_kernel_that_cannot_start_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    notebooks = write_project(tmp_path)
    write_notebook(notebooks / "00_a.ipynb", "1")
    for python, says in (("/bin/false", "ended at once"), (str(tmp_path / "gone"), "No such file")):
        monkeypatch.setattr(sys, "executable", python)
        with pytest.raises(NotebookFailed) as failed:
            reproduce("tiny", tmp_path / "run", notebooks)
        text = str(failed.value)
        assert text.startswith(f"00_a.ipynb: no kernel: {python} -m ipykernel_launcher") and says in text
        assert len(text.splitlines()) == 1
    told = capfd.readouterr()
    assert "Traceback" not in told.out + told.err and "Error occurred" not in told.err
    monkeypatch.setitem(sys.modules, "ipykernel", None)
    with pytest.raises(BadInput, match="ipykernel: expected installed"):
        reproduce("tiny", tmp_path / "run", notebooks)


# ------------------------------------------------------------------------------------------- one run a folder


def test_a_second_run_is_refused_and_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PATIENCE", 0.0)
    notebooks, out = write_project(tmp_path), tmp_path / "run"
    write_notebook(notebooks / "00_a.ipynb", RECORDING)
    reproduce("tiny", out, notebooks)
    before = {path.name: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    (tmp_path / "profiles" / "other.yaml").write_text("threads: 2\nnotebooks: {}\n")
    with locked(out, "run"), pytest.raises(BadInput) as refused:
        reproduce("other", out, notebooks, fresh=True)
    found = f"found process {os.getpid()} at work there"
    assert str(refused.value) == f"{out}: run: expected one process at a time, {found}"
    assert {path.name: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_a_run_in_the_notebooks_own_folder_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    notebooks = write_project(tmp_path)
    write_notebook(notebooks / "00_a.ipynb", RECORDING)
    (tmp_path / "link").symlink_to(notebooks)
    before = (notebooks / "00_a.ipynb").read_bytes()
    for out in (notebooks, notebooks / ".." / "notebooks", tmp_path / "link"):
        with pytest.raises(BadInput, match="output: expected another folder than the notebooks'"):
            reproduce("tiny", out, notebooks)
    assert [path.name for path in notebooks.iterdir()] == ["00_a.ipynb"]
    assert (notebooks / "00_a.ipynb").read_bytes() == before


@pytest.mark.parametrize(
    "name", ["table.csv", "weights.safetensors", "00_mine.ipynb", "parts/a.json", "report.html"]
)
def test_files_of_others_are_refused_and_stay(tmp_path: Path, name: str) -> None:
    notebooks, out = write_project(tmp_path), tmp_path / "mine"
    write_notebook(notebooks / "00_a.ipynb", RECORDING)
    (out / "parts").mkdir(parents=True)
    (out / "answers.parquet").write_bytes(b"of lart-mini ablate")
    (out / name).write_text("mine")
    for fresh in (False, True):
        with pytest.raises(BadInput) as refused:
            reproduce("tiny", out, notebooks, fresh=fresh)
        expected = "an empty folder, a new one, or one of an earlier run"
        assert str(refused.value) == f"{out}: files: expected {expected}, found {name}"
        assert (out / name).read_text() == "mine" and not (out / "ran.json").exists()
    (out / name).unlink()
    assert clear(out, "code", {}).notebooks == {} and (out / "ran.json").exists()
    check_own(out)
    assert (out / "answers.parquet").exists()


def test_a_run_on_another_of_windows_drives_is_named_from_its_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kernel._from_folder(tmp_path / "run", tmp_path / "notebooks") == os.path.join("..", "run")
    monkeypatch.setattr(os.path, "relpath", ntpath.relpath)
    monkeypatch.chdir(tmp_path)
    found = kernel._from_folder(Path("D:\\run"), Path("C:\\kit\\notebooks"))
    assert found == str(tmp_path / "D:\\run")


def test_two_processes_at_once_never_mix(tmp_path: Path) -> None:
    """Two profiles into one folder: one ends with its own results, the other with one line."""
    notebooks, out = write_project(tmp_path), tmp_path / "run"
    (tmp_path / "profiles" / "other.yaml").write_text("threads: 1\nnotebooks:\n  00_a: {word: other}\n")
    says = """
import time
from lart_mini.runs import record
time.sleep(5)
record(run_dir, "said", {"word": word})"""
    write_notebook(notebooks / "00_a.ipynb", says, RECORDING, parameters='run_dir = ""\nword = "tiny"')
    command = [sys.executable, "-m", "lart_mini.cli", "reproduce", "--out", out, "--notebooks", notebooks]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    both = [
        subprocess.Popen([*command, "--profile", name], stderr=subprocess.PIPE, text=True, env=environment)
        for name in ("tiny", "other")
    ]
    errors = [process.communicate()[1] for process in both]
    codes = [process.returncode for process in both]
    assert sorted(codes) == [0, 2], errors
    results = json.loads((out / "results.json").read_text())
    assert results["profile"] == ("tiny", "other")[codes.index(0)] == results["said"]["word"]
    line = errors[codes.index(2)].splitlines()[-1]
    assert line.startswith(f"lart-mini: {out}: run: expected one process at a time, found process ")


# ---------------------------------------------------------------------------------- what stands in the folder


def test_what_stays_was_made_by_one_command(tmp_path: Path) -> None:
    notebooks, out = write_project(tmp_path), tmp_path / "run"
    write_notebook(notebooks / "00_a.ipynb", RECORDING)
    write_notebook(notebooks / "01_b.ipynb", "1")
    reproduce("tiny", out, notebooks)
    (out / "02_of_another_kit.ipynb").write_text("{}")
    write_notebook(notebooks / "01_b.ipynb", "1 / 0")
    write_notebook(notebooks / "02_c.ipynb", needs=("01_b",))
    with pytest.raises(NotebookFailed):
        reproduce("tiny", out, notebooks, jobs=1)
    left = {path.name: path.read_text() for path in out.glob("*.ipynb")}
    assert sorted(left) == ["00_a.ipynb", "01_b.ipynb"] and "ZeroDivisionError" in left["01_b.ipynb"]


PARTS = [
    "",
    "{",
    "[]",
    "null",
    "[" * 10_000,
    '{"values": {}}',
    '"\\ud800"',
    "\x00",
    '{"values": 1, "title": 2}',
]


@pytest.mark.parametrize("content", [*PARTS, "folder"])
@pytest.mark.parametrize("file", ["ran.json", "parts/counts.json", "parts/validation.json"])
def test_a_damaged_folder_is_mended_or_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, content: str
) -> None:
    notebooks, out = write_project(tmp_path), tmp_path / "run"
    write_notebook(notebooks / "00_a.ipynb")

    async def fake(*_: object, **__: object) -> None:
        monkeypatch.setenv("LART_MINI_NOTEBOOK", "00_a")
        exec(RECORDING, {"run_dir": out})
        (out / "00_a.ipynb").write_bytes((notebooks / "00_a.ipynb").read_bytes())

    monkeypatch.setattr(kernel, "run_notebook", fake)
    first = reproduce("tiny", out, notebooks)
    (out / file).unlink()
    (out / file).mkdir() if content == "folder" else (out / file).write_text(content)
    if content == "folder":
        with pytest.raises((BadInput, OSError)):
            reproduce("tiny", out, notebooks)
        return
    if file != "ran.json":
        with pytest.raises(BadInput) as refused:
            recorded(out, "counts")
        assert refused.value.file == str(out / file)
    again = reproduce("tiny", out, notebooks)
    for results in (first, again):
        for key in ("seconds", "notebook_seconds"):
            results.pop(key)
    assert again == first


def test_what_a_killed_run_was_writing_is_no_part(tmp_path: Path) -> None:
    record(tmp_path, "counts", {"a": 1})
    (tmp_path / "parts" / ".counts.json.abcd_123.json").write_text("{")
    assert recorded(tmp_path, "counts") == {"a": 1}


NO_NOTEBOOKS = [
    "", "{", "[]", "{}", '{"cells": 1, "metadata": {}, "nbformat": 4}', "\xff",
    '{"cells": [], "metadata": {}, "nbformat": "x", "nbformat_minor": 5}',
    '{"nbformat": 99, "metadata": {}, "cells": [], "nbformat_minor": 5}',
]  # fmt: skip


@pytest.mark.parametrize("content", NO_NOTEBOOKS)
def test_what_is_no_notebook_is_named(
    tmp_path: Path, content: str, capfd: pytest.CaptureFixture[str]
) -> None:
    notebooks = write_project(tmp_path)
    (notebooks / "00_a.ipynb").write_text(content, encoding="latin1")
    with pytest.raises(BadInput, match=r"00_a\.ipynb") as refused:
        read_plan("tiny", notebooks)
    assert len(str(refused.value).splitlines()) == 1 and capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "about", [{"needs": "01_b"}, {"needs": {"a": 1}}, {"needs": [1]}, [], "x", {"after": [[]]}, {"takes": 0}]
)
def test_needs_that_are_no_list_of_names_are_refused(tmp_path: Path, about: Any) -> None:
    notebooks = write_project(tmp_path)
    write_notebook(notebooks / "00_a.ipynb")
    content = json.loads((notebooks / "00_a.ipynb").read_text())
    content["metadata"]["lart_mini"] = about
    (notebooks / "00_a.ipynb").write_text(json.dumps(content))
    if about == []:
        assert read_plan("tiny", notebooks).needs == {"00_a": ()}
    else:
        with pytest.raises(BadInput, match=r"^00_a.ipynb: (needs|after|takes): expected"):
            read_plan("tiny", notebooks)


# -------------------------------------------------------------------------------------- results of every kind

RUNG = {"name": "a", "mAP": 0.5}
HEAD = {"mAP": 0.5, "PM": 0.6, "OM": None, "PI": 0.4, "frames": 3, "boxes": 4, "classes": 2}


@pytest.mark.parametrize(
    ("name", "values"),
    [
        *(("validation", values) for values in ([], [1], {}, {"mAP": "0.5"}, {"mAP": 50.0}, {"mAP": True},
          HEAD | {"PM": "x"}, HEAD | {"boxes": 1.5}, HEAD | {"frames": "many"}, HEAD | {"OM": [1]})),
        *(("ladder", values) for values in ({}, ["a"], [{}], [{"name": "a"}], [{"mAP": 0.5}],
          [RUNG | {"name": 1}], [RUNG, RUNG | {"mAP": "x"}], [RUNG | {"low": "x"}], [RUNG | {"high": 1e300}],
          [RUNG | {"note": 1}])),
        *((name, {"a": 1}) for name in RESERVED),
        ("part", {"a": object()}), ("part", {"a": {1, 2}}), ("part", {"a": 10**400}), ("part", "text"),
    ],
)  # fmt: skip
def test_what_summary_and_report_cannot_show_is_not_recorded(tmp_path: Path, name: str, values: Any) -> None:
    with pytest.raises(BadInput) as refused:
        record(tmp_path, name, values)
    assert len(str(refused.value).splitlines()) == 1 and not (tmp_path / "parts").exists()


number = st.none() | st.booleans() | st.integers() | st.floats()
value = st.recursive(
    number | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12
)
fraction = st.floats(0, 1) | st.none() | st.just(float("nan"))
rung = st.fixed_dictionaries(
    {"name": st.text(), "mAP": fraction},
    optional={"low": fraction, "high": fraction, "paper": st.booleans(), "note": st.text() | st.none()},
)
counts = {"PM": fraction, "OM": fraction, "boxes": st.integers(0)}
head = st.fixed_dictionaries({"mAP": fraction}, optional=counts)


@pytest.mark.filterwarnings("ignore:Glyph")
@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(head, st.lists(rung, max_size=3), st.dictionaries(st.text(), value), st.booleans(), st.text())
def test_whatever_is_recorded_can_be_shown(
    tmp_path_factory: pytest.TempPathFactory, head: Any, rungs: Any, values: Any, percent: bool, title: str
) -> None:
    out = tmp_path_factory.mktemp("run")
    record(out, "validation", head, shown=False)
    record(out, "ladder", rungs, shown=False)
    record(out, "rest", values, title=title, percent=percent)
    shown = {"rest": {"title": title or "Rest", "percent": percent, "shown": True}}
    results = {"profile": "tiny", "seconds": 1.0, "notebook_seconds": {}, "shown_as": shown}
    results |= {name: recorded(out, name) for name in ("validation", "ladder", "rest")}
    json.dumps(results, allow_nan=False).encode()
    assert summary(results).encode() and results_page(results).encode()


def test_a_part_and_a_run_that_hold_infinity(tmp_path: Path) -> None:
    """Python's JSON reads what results.json must not hold."""
    record(tmp_path, "rest", {"loss": 1.5})
    file = tmp_path / "parts" / "rest.json"
    file.write_text(file.read_text().replace("1.5", "-1e999"))
    assert recorded(tmp_path, "rest") == {"loss": None}
    file.unlink()
    for seconds in (1.5, math.inf):
        (tmp_path / "00_first.ipynb").touch()
        Kept("code", {"00_first": Ran("digest", 1.5, [])}, seconds).write(tmp_path)
        kept = clear(tmp_path, "code", {"00_first": "digest"})
        assert (list(kept.notebooks), kept.seconds) == ((["00_first"], 1.5) if seconds == 1.5 else ([], 0.0))


def test_names_with_dollars_are_drawn_as_they_are(tmp_path: Path) -> None:
    rungs = [{"name": name, "mAP": 0.5} for name in (r"$\badmacro{$", "$5 and $6", r"\$", "a$b", "$$")]
    record(tmp_path, "ladder", rungs)
    results = {"profile": "$x$", "seconds": 1.0, "shown_as": {}, "validation": HEAD, "ladder": rungs}
    assert r"$\badmacro{$" in results_page(results)


def test_results_are_there_when_the_report_cannot_be_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebooks, out = write_project(tmp_path), tmp_path / "run"
    write_notebook(notebooks / "00_a.ipynb", RECORDING)

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr("lart_mini.runs.report.write_report", fail)
        with pytest.raises(ZeroDivisionError):
            reproduce("tiny", out, notebooks)
    first = json.loads((out / "results.json").read_text())
    assert not (out / "report.html").exists()
    assert reproduce("tiny", out, notebooks) == first, "run again for nothing"
    assert (out / "report.html").exists()


def test_a_notebooks_name_puts_nothing_into_the_page(tmp_path: Path) -> None:
    notebook = tmp_path / """00_"><img src=x onerror=alert(1)>'.ipynb"""
    write_notebook(notebook, "1")
    content = json.loads(notebook.read_text())
    content["cells"][0]["source"] = "no heading"
    notebook.write_text(json.dumps(content))
    results = {"profile": "<b>", "seconds": 1.0, "shown_as": {}, "validation": HEAD}
    write_report(results, [notebook], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "<img src=x" not in page and "<b>run" not in page
    assert page.count("00_&quot;&gt;&lt;img src=x onerror=alert(1)&gt;&#x27;") == 3
    assert read_notebook(notebook).cells[0].source == "no heading"


def test_a_link_to_another_notebook_leads_to_its_section(tmp_path: Path) -> None:
    for stem, other in (("00_first", "01_second"), ("01_second", "02_elsewhere")):
        write_notebook(tmp_path / f"{stem}.ipynb", "1")
        content = json.loads((tmp_path / f"{stem}.ipynb").read_text())
        content["cells"][0]["source"] = f"# {stem}\n\n[next]({other}.ipynb)"
        (tmp_path / f"{stem}.ipynb").write_text(json.dumps(content))
    results = {"profile": "tiny", "seconds": 1.0, "shown_as": {}, "validation": HEAD}
    write_report(results, sorted(tmp_path.glob("*.ipynb")), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert page.count('href="#01_second"') == 2, "in the list at the side, and in the text"
    assert page.count('href="02_elsewhere.ipynb"') == 1, "it is not on this page"
