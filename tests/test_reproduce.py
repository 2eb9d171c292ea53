"""The runner: bad input refused before anything runs, what has run is kept, a hang told by its silence."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import psutil
import pytest
from notebook_kit import RECORDING, write_notebook, write_project

from lart_mini import cli
from lart_mini.files import BadInput
from lart_mini.progress import FRONT_ENDS
from lart_mini.runs import kept, report
from lart_mini.runs.plan import NotebookFailed, choose, find_notebooks, read_plan
from lart_mini.runs.record import record, recorded
from lart_mini.runs.report import in_percent, part
from lart_mini.runs.reproduce import Run, commit, reproduce, summary

pytestmark = pytest.mark.usefixtures("drawn_once")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that the command is run in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# What a page would fetch from elsewhere when opened.
OUTSIDE = re.compile(r"""(?:src|<link[^>]*href)=["']((?!data:)[^"']+)["']""")

FIGURE = """
from lart_mini.figures import new_figure, show
figure = new_figure(2, 1, "A title")
show(figure, alt="a line & nothing else")
"""


def test_runs_records_and_reports(project: Path) -> None:
    notebooks = write_project(project, "threads: 1\nnotebooks:\n  00_first: {word: given}\n")
    given = 'run_dir = "../runs/tiny"\nword = "default"'
    write_notebook(notebooks / "00_first.ipynb", "print(word)", FIGURE, RECORDING, parameters=given)
    content = nbformat.read(notebooks / "00_first.ipynb", as_version=4)
    content.cells[3].metadata["tags"] = ["plot"]  # FIGURE
    nbformat.write(content, notebooks / "00_first.ipynb")
    results = reproduce("tiny", notebooks=notebooks)
    out = project / "runs" / "tiny"
    assert json.loads((out / "results.json").read_text()) == results
    assert (
        results["profile"] == "tiny"
        and results["seconds"] > 0
        and set(results["notebook_seconds"]) == {"00_first"}
    )
    assert results["validation"]["mAP"] == 0.5 and results["baselines"] == {"class prior": 0.1}
    assert results["counts"] == {"share": 0.25, "boxes": 1234}
    assert results["commit"] is None and results["versions"]["numpy"] == np.__version__
    page = (out / "report.html").read_text()
    assert "given" in page and "50.0 %" in page
    ours, theirs = page.split("<h2>The paper's ladder, not run here</h2>")  # on no axis of ours
    assert "LART-pose, Table 2" in theirs and "LART-pose, Table 2" not in ours + summary(results)
    assert "<h2>What was counted</h2>" in page and "25.0 %" in page and "1,234" in page
    assert "<h2>Baselines</h2>" not in page
    assert 'alt="a line &amp; nothing else"' in page and "No description" not in page
    assert page.count('class="formula"') == 1
    folded = page.split("<details><summary>Code of the figure</summary>")
    assert len(folded) == 2 and "A title" in folded[1].split("</details>")[0]
    assert not OUTSIDE.findall(page)
    assert '<a href="#00_first">Notebook 00_first</a>' in page


def test_nobody_watches_a_run_that_a_live_notebook_started(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in FRONT_ENDS:
        monkeypatch.setenv(name, "there")
    notebooks = write_project(project)
    asks = "from lart_mini.progress import live_front_end\nassert not live_front_end()"
    write_notebook(notebooks / "00_first.ipynb", asks, RECORDING)
    assert reproduce("tiny", notebooks=notebooks)["validation"]["mAP"] == 0.5


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
    page = part("Tracking", in_percent(recorded["tracking"], ["IDF1", "per_class"]))
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


def test_failing_notebook_is_named_and_leaves_no_results(project: Path) -> None:
    notebooks = write_project(project)
    write_notebook(notebooks / "00_good.ipynb", RECORDING)
    write_notebook(notebooks / "01_bad.ipynb", "1 + 1", "raise ValueError('two\\nlines')")
    old = project / "runs" / "tiny" / "results.json"
    old.parent.mkdir(parents=True)
    old.write_text("{}")
    with pytest.raises(NotebookFailed, match=r"^01_bad.ipynb: cell 4: ValueError: two lines$"):
        reproduce("tiny", notebooks=notebooks)
    assert not old.exists() and not (old.parent / "report.html").exists()
    assert recorded(old.parent, "validation")["mAP"] == 0.5, "what has run is lost"


def ran(folder: Path) -> list[str]:
    """Words that notebooks of `says` have written, in the order in which they did."""
    log = folder / "log.txt"
    return log.read_text().split() if log.exists() else []


def says(word: str) -> str:
    """A cell that writes a word to log.txt in the run's folder."""
    return f"with open(run_dir + '/log.txt', 'a') as log:\n    _ = log.write('{word} ')"


def test_same_command_goes_on_where_it_stopped(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    notebooks, out = write_project(project), project / "runs" / "tiny"
    write_notebook(notebooks / "00_a.ipynb", says("a"), RECORDING)
    write_notebook(notebooks / "01_b.ipynb", "1 / 0", says("b"))
    write_notebook(notebooks / "02_c.ipynb", says("c"), needs=("01_b",))
    write_notebook(notebooks / "03_d.ipynb", says("d"), "raise ValueError('no')")
    write_notebook(notebooks / "04_e.ipynb", says("e"), after=("03_d",))
    with pytest.raises(NotebookFailed) as failed:
        reproduce("tiny", notebooks=notebooks, jobs=1)
    assert str(failed.value).splitlines() == [
        "01_b.ipynb: cell 3: ZeroDivisionError: division by zero",
        "02_c.ipynb: not run, it needs 01_b",
        "03_d.ipynb: cell 4: ValueError: no",
    ]
    assert ran(out) == ["d", "a", "e"], "a notebook that fails cuts off others"
    assert not (out / "results.json").exists()
    with pytest.raises(NotebookFailed) as again:
        reproduce("tiny", notebooks=notebooks, jobs=1)
    assert str(again.value) == str(failed.value) and ran(out)[3:] == ["d"], "what failed counts as run"

    write_notebook(notebooks / "01_b.ipynb", says("b"))
    write_notebook(notebooks / "03_d.ipynb", says("d"))
    capsys.readouterr()
    results = reproduce("tiny", notebooks=notebooks, jobs=1)
    assert ran(out)[4:] == ["b", "c", "d"], "what has run is run again, or what is missing is not"
    assert "kept   00_a" in capsys.readouterr().out
    assert list(results["notebook_seconds"]) == ["00_a", "01_b", "02_c", "03_d", "04_e"]
    assert (out / "results.json").exists() and results["validation"]["mAP"] == 0.5


def test_what_has_changed_runs_again(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    profile = "threads: 1\nnotebooks:\n  01_b: {word: other}\n"
    notebooks, out = write_project(project), project / "runs" / "tiny"
    gone = 'from lart_mini.runs import record\nrecord(run_dir, "gone", {"a": 1})'
    write_notebook(notebooks / "00_a.ipynb", says("a"), gone, RECORDING)
    write_notebook(notebooks / "01_b.ipynb", says("b"), parameters='run_dir = ""\nword = ""')
    write_notebook(notebooks / "02_c.ipynb", says("c"), needs=("01_b",))
    reproduce("tiny", notebooks=notebooks, jobs=1)
    assert ran(out) == ["b", "a", "c"], "what others wait for comes first"
    (project / "profiles" / "tiny.yaml").write_text(profile)
    reproduce("tiny", notebooks=notebooks, jobs=1)
    assert ran(out)[3:] == ["b", "c"], "another parameter; and what needs it"
    write_notebook(notebooks / "00_a.ipynb", says("A"), RECORDING)
    results = reproduce("tiny", notebooks=notebooks, jobs=1)
    assert ran(out)[5:] == ["A"], "another source"
    assert "gone" not in results, "a part that no notebook records any more"
    record(out, "validation", {"mAP": 0.9})  # by hand
    assert reproduce("tiny", notebooks=notebooks, jobs=1)["validation"]["mAP"] == 0.5
    assert ran(out)[6:] == ["A"], "its part was overwritten"
    reproduce("tiny", notebooks=notebooks, jobs=1, fresh=True)
    assert ran(out)[7:] == ["b", "A", "c"]
    monkeypatch.setattr(kept, "versions", lambda: {"torch": "another"})
    reproduce("tiny", notebooks=notebooks, jobs=1)
    assert ran(out)[10:] == ["b", "A", "c"], "another library"


def test_nothing_of_other_code_is_left(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebooks, out = write_project(project), project / "runs" / "tiny"
    write_notebook(notebooks / "00_a.ipynb", RECORDING)
    write_notebook(notebooks / "01_b.ipynb", "1 / 0")
    left = [out / name for name in ("pretrain-seed0.safetensors", "pretrain-seed0.1234.state", "rows.csv")]

    def leave() -> None:
        for file in left:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"made by an earlier run")

    leave()
    for makes in ("no word of who made it", "other code", "fresh"):
        with pytest.raises(NotebookFailed):
            reproduce("tiny", notebooks=notebooks, fresh=makes == "fresh")
        assert not any(file.exists() for file in left), makes
        leave()
        if makes == "no word of who made it":
            with pytest.raises(NotebookFailed):
                reproduce("tiny", notebooks=notebooks)
            assert all(file.exists() for file in left), "a killed training must go on under the same code"
            monkeypatch.setattr(kept, "versions", lambda: {"torch": "another"})


def test_code_is_known_by_package_data_and_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, clip = tmp_path / "lart_mini" / "data" / "scene.py", tmp_path / "data_samples" / "clip.npz"
    for file in (source, clip):
        file.parent.mkdir(parents=True)
        file.write_text("one")
    monkeypatch.setattr(kept.files, "__file__", str(tmp_path / "lart_mini" / "files.py"))
    monkeypatch.setattr(kept, "shipped", lambda name: tmp_path / name)
    digests = [kept.code_digest()]
    for file in (source, clip):
        file.write_text("two")
        digests.append(kept.code_digest())
    monkeypatch.setattr(kept, "versions", lambda: {"torch": "another"})
    digests.append(kept.code_digest())
    assert len(set(digests)) == 4 and kept.code_digest() == digests[-1]


def test_only_some_are_run_and_results_wait_for_all(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages, too, are drawn only once all have run."""
    drawn: list[str] = []
    body = report.notebook_body
    monkeypatch.setattr(report, "notebook_body", lambda path: drawn.append(path.stem) or body(path))
    notebooks, out = write_project(project), project / "runs" / "tiny"
    for name in ("00_a", "01_b", "02_c"):
        write_notebook(notebooks / f"{name}.ipynb", says(name), RECORDING if name == "02_c" else "1")
    options = ["--profile", "tiny", "--notebooks", str(notebooks), "--only", "02,0", "--jobs", "1"]
    cli.app(["reproduce", *options], standalone_mode=False)
    told = capsys.readouterr().out
    assert ran(out) == ["00_a", "02_c"] and not (out / "results.json").exists()
    assert "report: once all notebooks have run (2 have)" in told
    assert "half of it" in told and "validation mAP 50.0 %: PM 60.0 %, PI 40.0 %" in told
    assert not drawn
    results = reproduce("tiny", notebooks=notebooks, only="01_b")
    assert set(drawn) == {"00_a", "01_b", "02_c"}
    assert ran(out) == ["00_a", "02_c", "01_b"] and (out / "results.json").exists()
    assert summary(results).splitlines()[5].split() == ["class", "prior", "10.0", "%", "mAP"]


def test_order_of_need_is_kept_and_the_rest_is_side_by_side(project: Path) -> None:
    """01 and 02 wait for each other: alone, neither would end. 03 needs both; 00 comes first."""
    notebooks, out = write_project(project), project / "runs" / "tiny"
    meet = "\n".join([
        "import time",
        "from pathlib import Path",
        "Path(run_dir, '{own}.here').write_text('')",
        "while not Path(run_dir, '{other}.here').exists():",
        "    time.sleep(0.05)",
    ])  # fmt: skip
    write_notebook(notebooks / "00_a.ipynb", says("a"), RECORDING)
    write_notebook(notebooks / "01_b.ipynb", meet.format(own="b", other="c"), says("b"), needs=("00_a",))
    write_notebook(notebooks / "02_c.ipynb", says("c"), meet.format(own="c", other="b"), after=("00_a",))
    write_notebook(notebooks / "03_d.ipynb", says("d"), needs=("01_b", "02_c"))
    reproduce("tiny", notebooks=notebooks, jobs=2)
    words = ran(out)
    assert words[0] == "a" and words[-1] == "d" and sorted(words) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("jobs", [1, 2, 3, 9])
def test_jobs_are_all_used(project: Path, monkeypatch: pytest.MonkeyPatch, jobs: int) -> None:
    notebooks, running, peak, order = write_project(project), set(), 0, []
    for number in range(6):
        after = ("00_n",) if number == 5 else ()
        write_notebook(notebooks / f"0{number}_n.ipynb", after=after)

    async def fake(notebook: Path, *_: object, **__: object) -> None:
        nonlocal peak
        running.add(notebook.stem)
        order.append(notebook.stem)
        for _turn in range(20):  # the others start meanwhile, if they may
            await asyncio.sleep(0)
        peak = max(peak, len(running))
        running.remove(notebook.stem)

    monkeypatch.setattr("lart_mini.runs.kernel.run_notebook", fake)
    plan, done = read_plan("tiny", notebooks), kept.Kept("code")
    run = Run(plan, project, done, dict.fromkeys(plan.notebooks, "digest"), silence=9)
    assert asyncio.run(run.all(list(plan.notebooks), jobs)) == []
    assert peak == min(jobs, 5) and sorted(order) == sorted(done.notebooks) == list(plan.notebooks)
    assert order[0] == "00_n" and order.index("05_n") >= min(jobs, 5)


def test_the_longest_chain_starts_first_and_what_all_wait_for_has_all_cores(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """05 is short, but the long 06 waits for it; 02, 03, 05 and 06 wait for 00, and 04 for nothing."""
    notebooks, cores, order = write_project(project), {}, []
    for name, takes, after in (("00", 1, ""), ("01", 30, ""), ("02", 5, "00"), ("03", 20, "00"),
                               ("04", 1, ""), ("05", 2, "00"), ("06", 25, "05")):  # fmt: skip
        write_notebook(notebooks / f"{name}_n.ipynb", takes=takes, after=(f"{after}_n",) if after else ())

    async def fake(notebook: Path, out: Path, given: Any, threads: int, own: int, **_: Any) -> None:
        cores[notebook.stem[:2]] = own
        order.append(notebook.stem[:2])
        await asyncio.sleep(0)

    monkeypatch.setattr("lart_mini.runs.kernel.run_notebook", fake)
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    plan = read_plan("tiny", notebooks)
    run = Run(plan, project, kept.Kept("code"), dict.fromkeys(plan.notebooks, "digest"), silence=9)
    assert asyncio.run(run.all(list(plan.notebooks), 1)) == []
    assert order == ["01", "00", "05", "06", "03", "02", "04"]
    assert cores["04"] == 4, "the last one has them all"
    cores.clear(), order.clear()
    assert asyncio.run(run.all(list(plan.notebooks), 2)) == []
    assert sorted(order[:2]) == ["00", "01"] and cores["00"] == 4 and cores["01"] == 2


def test_threads_of_a_notebook_do_not_depend_on_jobs(project: Path) -> None:
    notebooks, out = write_project(project, "threads: 3\nnotebooks: {}\n"), project / "runs" / "tiny"
    threads = """
import os
with open(run_dir + "/log.txt", "a") as log:
    _ = log.write(os.environ["OMP_NUM_THREADS"] + " ")"""
    write_notebook(notebooks / "00_a.ipynb", threads, RECORDING)
    for jobs in (1, 4):
        reproduce("tiny", notebooks=notebooks, jobs=jobs, fresh=True)
    assert ran(out) == ["3", "3"]


def test_silence_is_a_hang_and_work_is_not(project: Path) -> None:
    notebooks = write_project(project)
    busy = "import time\nbegan = time.process_time()\nwhile time.process_time() - began < 5:\n    pass"
    write_notebook(notebooks / "00_busy.ipynb", busy, RECORDING)
    talks = "import time\nfor i in range(6):\n    time.sleep(1)\n    print(i, flush=True)"
    write_notebook(notebooks / "01_talks.ipynb", talks)
    write_notebook(notebooks / "02_hangs.ipynb", "1 + 1", "import time\ntime.sleep(1000)")
    with pytest.raises(NotebookFailed) as failed:
        reproduce("tiny", notebooks=notebooks, silence=4)
    assert str(failed.value) == "02_hangs.ipynb: cell 4: silent for 4 s"


def test_kernel_that_dies_is_named(project: Path) -> None:
    notebooks = write_project(project)
    write_notebook(notebooks / "00_dies.ipynb", "import os\nos._exit(1)")
    with pytest.raises(NotebookFailed, match=r"^00_dies.ipynb: cell 3: the kernel died \(out of memory\?\)$"):
        reproduce("tiny", notebooks=notebooks)


JOBS = "--jobs: processes: expected a whole number from 1 on, or -1 for one a core"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--only", "07"], "--only: notebook: expected some of 00, 01, found 07"),
        (["--only", "00,,01"], "--only: notebook: expected some of 00, 01, found none"),
        (["--jobs", "0"], f"{JOBS}, found 0"),
        (["--jobs", "-2"], f"{JOBS}, found -2"),
    ],
)
def test_bad_options_are_refused_in_one_line(
    project: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    notebooks = write_project(project)
    for name in ("00_a", "01_b"):
        write_notebook(notebooks / f"{name}.ipynb", "1")
    with pytest.raises(SystemExit) as left:
        cli.main(["reproduce", "--profile", "tiny", "--notebooks", str(notebooks), *options])
    assert left.value.code == 2 and capsys.readouterr().err == f"lart-mini: {message}\n"
    assert not (project / "runs").exists()


def test_each_failure_has_a_line_of_its_own(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    notebooks = write_project(project)
    write_notebook(notebooks / "00_a.ipynb", "1 / 0")
    write_notebook(notebooks / "01_b.ipynb", "1", needs=("00_a",))
    with pytest.raises(SystemExit) as left:
        cli.main(["reproduce", "--profile", "tiny", "--notebooks", str(notebooks)])
    assert left.value.code == 1
    assert capsys.readouterr().err.splitlines()[-2:] == [
        "lart-mini: 00_a.ipynb: cell 3: ZeroDivisionError: division by zero",
        "lart-mini: 01_b.ipynb: not run, it needs 00_a",
    ]


def test_notebooks_are_chosen_by_number_or_name() -> None:
    stems = ["00_a", "05_b", "10_c"]
    assert choose(None, stems) == stems
    assert choose("10, 5", stems) == ["05_b", "10_c"] and choose("05_b,00", stems) == ["00_a", "05_b"]


def test_needs_are_earlier_notebooks(project: Path) -> None:
    notebooks = write_project(project)
    write_notebook(notebooks / "00_a.ipynb", needs=("01_b",))
    write_notebook(notebooks / "01_b.ipynb")
    with pytest.raises(BadInput, match=r"^00_a.ipynb: needs: expected one of no earlier one, found 01_b$"):
        read_plan("tiny", notebooks)


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        (
            "threads: 1\nnotebooks:\n  00_a: {wrd: 1}\n",
            "parameter of 00_a: expected one of run_dir, found wrd",
        ),
        ("threads: 1\nnotebooks:\n  00_b: {}\n", "notebooks: expected one of 00_a, found 00_b"),
        ("threads: 1\n", "keys: expected threads, notebooks, found threads"),
        ("threads: 0\nnotebooks: {}\n", "threads: expected a whole number from 1 to 4096, found 0"),
        ("threads: [1\n", "file: expected YAML, found"),
        ("threads: true\nnotebooks: {}\n", "threads: expected a whole number from 1 to 4096"),
        ("threads: x\nnotebooks: {}\n", "threads: expected a whole number from 1 to 4096"),
        ("threads: 1\nnotebooks: [00_a]\n", "notebooks: expected names, each with what it gets"),
        ("threads: 1\nnotebooks:\n  00_a: [1]\n", "parameters of 00_a: expected names, each with"),
        ("threads: 1\nnotebooks:\n  1: {}\n", "notebooks: expected names, each with what it gets"),
        ("threads: 1\nnotebooks:\n  00_a: {run_dir: 2020-01-01}\n", "run_dir of 00_a: expected texts"),
        ("threads: 1\nnotebooks:\n  00_a: {run_dir: .nan}\n", "run_dir of 00_a: expected texts, finite"),
        ("- threads\n- notebooks\n", "keys: expected threads, notebooks, found"),
        ("7\n", "keys: expected threads, notebooks, found 7"),
        ("\udcff", "file: expected YAML, found"),
    ],
)
def test_wrong_profiles_are_refused_in_one_line(project: Path, profile: str, message: str) -> None:
    notebooks = write_project(project, profile)
    write_notebook(notebooks / "00_a.ipynb", "1")
    with pytest.raises(BadInput) as refused:
        reproduce("tiny", notebooks=notebooks)
    assert str(refused.value).startswith(f"profiles/tiny.yaml: {message}") and "\n" not in str(refused.value)
    assert not (project / "runs").exists()


def test_unknown_profile_and_missing_parameters_cell(tmp_path: Path) -> None:
    notebooks = write_project(tmp_path)
    write_notebook(notebooks / "00_a.ipynb", parameters="size = 1")
    with pytest.raises(BadInput, match="expected tiny, found huge"):
        read_plan("huge", notebooks)
    with pytest.raises(BadInput, match=r"00_a\.ipynb: parameters cell: expected run_dir = …, found size"):
        read_plan("tiny", notebooks)
    with pytest.raises(BadInput, match="notebooks: expected files"):
        find_notebooks(tmp_path)


def test_missing_part_is_named(project: Path) -> None:
    notebooks = write_project(project)
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
    (tmp_path / "venv" / "notebooks").mkdir(parents=True)
    assert commit(tmp_path / "venv" / "notebooks") is None, "another project's commit"
    (tmp_path / "new").write_text("")
    assert commit(tmp_path) == clean + "-dirty"


def test_what_a_notebook_started_ends_with_it(tmp_path: Path) -> None:
    notebooks = write_project(tmp_path)
    started = """
import subprocess, sys
process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
open("pid", "w").write(str(process.pid))
1 / 0
"""
    write_notebook(notebooks / "00_a.ipynb", started)
    with pytest.raises(NotebookFailed, match="ZeroDivisionError"):
        reproduce("tiny", out=tmp_path / "run", notebooks=notebooks)
    pid = int((notebooks / "pid").read_text())
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
