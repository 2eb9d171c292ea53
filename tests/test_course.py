"""Blanks, their checks, and the editions that nbgrader makes and grades."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import torch
from mistakes import MISTAKES
from notebook_kit import NOTEBOOKS, ROOT

import lart_mini
from lart_mini.cli import main
from lart_mini.course import BLANKS, Blank, NotAttempted, Slip, Wrong, check, hold_against
from lart_mini.course.editions import KEPT_BACK, is_blank, nbgrader_in, tags, write_course
from lart_mini.course.form import write_new
from lart_mini.course.grading import GRADING, imports_of
from lart_mini.files import BadInput

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")
MASTERS = {path.stem: nbformat.read(path, as_version=4) for path in NOTEBOOKS}
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
FORMED = [stem for stem, master in MASTERS.items() if any(map(is_blank, master.cells))]


def is_check(cell: nbformat.NotebookNode) -> bool:
    """Does it hold a blank against the package?"""
    return bool(cell.metadata.get("nbgrader", {}).get("grade"))


def solutions() -> dict[str, tuple[str, str]]:
    """Blank → the imports of its notebook, and the cell that solves it."""
    found = {}
    for master in MASTERS.values():
        code = [cell for cell in master.cells if cell.cell_type == "code"]
        imports = "\n".join(imports_of(cell.source) for cell in code)
        found |= {cell.metadata.nbgrader.grade_id: (imports, cell.source) for cell in code if is_blank(cell)}
    return found


SOLUTIONS = solutions()


def written(name: str, old: str = "", new: str = "") -> Callable[..., Any]:
    """The solution of a blank as a function, with every `old` in it replaced: imports and the cell alone."""
    imports, source = SOLUTIONS[name]
    assert old in source
    namespace: dict[str, Any] = {}
    exec(imports, namespace)
    exec(source.replace(old, new) if old else source, namespace)
    return namespace[name]


def stub(source: str) -> str:
    """A cell as a student gets it."""
    before, rest = source.split(BEGIN)
    return before + "raise NotImplementedError" + rest.split(END)[1]


def test_blanks_of_notebooks_and_of_the_kit_are_the_same() -> None:
    assert set(SOLUTIONS) == set(BLANKS)
    assert set(MISTAKES) == set(BLANKS)
    cells = [cell for master in MASTERS.values() for cell in master.cells]
    assert len(BLANKS) == sum(map(is_blank, cells)), "two blanks of one name"
    for stem in FORMED:
        own = [cell.metadata.nbgrader.grade_id for cell in MASTERS[stem].cells if is_blank(cell)]
        assert len(own) >= 3, stem
        assert {BLANKS[name].notebook for name in own} == {stem}
        checks = [cell.source.strip() for cell in MASTERS[stem].cells if is_check(cell)]
        assert checks == [f"check({name})" for name in own]


@pytest.mark.parametrize("name", BLANKS)
def test_the_solution_is_right_and_the_stub_is_not_attempted(name: str) -> None:
    assert "right" in hold_against(BLANKS[name], written(name))
    imports, source = SOLUTIONS[name]
    namespace: dict[str, Any] = {}
    exec(imports, namespace)
    exec(stub(source), namespace)
    with pytest.raises(NotAttempted, match="not attempted"):
        hold_against(BLANKS[name], namespace[name])


@pytest.mark.parametrize(
    ("name", "old", "new", "says"),
    [(name, *mistake) for name, mistakes in MISTAKES.items() for mistake in mistakes],
)
def test_a_mistake_is_told_by_its_cause(name: str, old: str, new: str, says: str) -> None:
    with pytest.raises(Wrong) as wrong:
        hold_against(BLANKS[name], written(name, old, new))
    assert says in str(wrong.value), str(wrong.value)


def test_every_blank_has_two_mistakes_whose_cause_is_named() -> None:
    for name, mistakes in MISTAKES.items():
        causes = {slip.cause for slip in BLANKS[name].slips}
        told = {cause for cause in causes for _, _, says in mistakes if says in cause}
        assert len(told) >= 2, f"{name}: {told}"


# --------------------------------------------------------------------------------------- what a check says


def doubled(x: Any) -> Any:
    """A blank of the tests' own: twice x."""
    return 2 * x


LEARNT = torch.nn.Parameter(torch.arange(6.0).reshape(2, 3) * 2)
DOUBLED = Blank("doubled", "test", doubled, lambda: [(np.arange(6.0).reshape(2, 3),)])


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda x: None, "None (is there a return?)"),
        (lambda x: x + "2", "raises UFuncTypeError"),
        (lambda x: 2 * x.T, "shape (3, 2), expected (2, 3)"),
        (lambda x: 2 * x.T, "axes 0 and 1 have changed places"),
        (lambda x: (2 * x).ravel(), "their shape is not"),
        (lambda x: -2 * x, "the sign is turned round"),
        (lambda x: 3 * x, "1.5 times what it should be"),
        (lambda x: 2 * x + 7, "7 too large"),
        (lambda x: np.roll(2 * x, -1, axis=1), "one place too early along axis 1"),
        (lambda x: np.flip(2 * x, axis=0), "axis 0 runs the wrong way"),
        (lambda x: np.where(x == 4, 0, 2 * x), "first at [1, 1]: it gives 0, expected 8; 1 of 6 differ"),
        (lambda x: (2 * x) > 3, "bool (2, 3)"),
        (lambda x: [2 * x], "gives shape (1, 2, 3)"),
        (lambda x: [[0, 2], [6]], "gives [[0, 2], [6]], no array (are its rows of one length?), expected"),
        (lambda x: list(LEARNT + 1), "first at [0, 0]: it gives 1, expected 0"),
        (lambda x: torch.softmax(torch.arange(3), 0), "it raises NotImplementedError"),
        (lambda x: torch.zeros(2, 3, dtype=torch.bfloat16), "first at [0, 1]: it gives 0, expected 2"),
    ],
)  # fmt: skip
def test_a_wrong_answer_is_told_where_and_how(answer: Callable[..., Any], says: str) -> None:
    with pytest.raises(Wrong) as wrong:
        hold_against(DOUBLED, answer)
    assert says in str(wrong.value), str(wrong.value)


def test_what_can_be_an_array_is_one() -> None:
    for answer in (lambda x: (2 * x).tolist(), lambda x: list(LEARNT), lambda x: LEARNT.bfloat16()):
        assert "right" in hold_against(DOUBLED, answer)


def test_answers_of_several_parts() -> None:
    blank = Blank("parts", "test", lambda x: {"a": [x, 2 * x]}, lambda: [(np.arange(3.0),)])
    assert "right" in hold_against(blank, lambda x: {"a": (x, 2 * x + 1e-9)})
    for answer, says in (
        (lambda x: {"b": 0}, "keys are ['b'], expected ['a']"),
        (lambda x: {"a": [x]}, "part 'a': it gives [[0, 1, 2]], expected [[0, 1, 2], [0, 2, 4]]"),
        (lambda x: {"a": [x, x]}, "part 'a': part 1: first at [1]"),
        (lambda x: 3, "it gives 3, expected a dict"),
    ):
        with pytest.raises(Wrong) as wrong:
            hold_against(blank, answer)
        assert says in str(wrong.value), str(wrong.value)


def test_a_slip_that_cannot_judge_an_answer_is_passed_over() -> None:
    slips = (Slip("never", lambda got, wanted, x: got.no_such_thing), Slip("always", lambda *_: True))
    blank = Blank("doubled", "test", doubled, lambda: [(1.0,)], slips)
    with pytest.raises(Wrong, match="always"):
        hold_against(blank, lambda x: 0.0)


def test_an_answer_cannot_change_what_it_is_held_against() -> None:
    def in_place(x: Any) -> Any:
        x *= 2
        return x

    assert "right" in hold_against(DOUBLED, in_place)


def test_a_check_tells_what_was_tried_in_the_readers_own_words() -> None:
    def halves(numbers: Any, by: float) -> list[float]:
        return [number / by for number in numbers]

    blank = Blank("halves", "test", halves, lambda: [(np.array([4, 6.0]), 2), (np.zeros(9), 2)])
    for answer, says in (
        (lambda mine, n: [mine[0]], "example 1 of 2 (mine = [4, 6], n = 2): it gives [4], expected [2, 3]"),
        (lambda *given: [1.0], "(given = [4, 6], 2)"),
        (lambda x, n: halves(x, n) if len(x) == 2 else [], "it gives [], expected [0, 0, 0,"),
        (lambda x, n: [x[2], 0], "axis 0 with size 2\nin the line: (lambda x, n: [x[2], 0]"),
    ):
        with pytest.raises(Wrong) as wrong:
            hold_against(blank, answer)
        assert says in str(wrong.value), str(wrong.value)


def test_a_slip_warns_of_nothing(recwarn: pytest.WarningsRecorder) -> None:
    slip = Slip("nothing is divided", lambda got, wanted, x: bool(np.isnan(np.mean(x[:0]))))
    with pytest.raises(Wrong, match="nothing is divided"):
        hold_against(Blank("doubled", "test", doubled, lambda: [(np.ones(2),)], (slip,)), lambda x: x)
    assert not recwarn.list


def test_a_function_that_is_no_blank() -> None:
    with pytest.raises(BadInput, match="one of the blanks, under its own name, found doubled"):
        check(doubled)


# ------------------------------------------------------------------------------------------------ editions


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("course")
    lines = list(write_course(NOTEBOOKS[0].parent, out))
    assert len(lines) == len(FORMED)
    return out


def edition(course: Path, stem: str) -> nbformat.NotebookNode:
    return nbformat.read(course / "student" / stem / f"{stem}.ipynb", as_version=4)


@pytest.mark.parametrize("stem", FORMED)
def test_a_student_gets_blanks_and_no_solutions(course: Path, stem: str) -> None:
    master, own = MASTERS[stem], edition(course, stem)
    nbformat.validate(own)
    text = "\n".join(cell.source for cell in own.cells)
    assert BEGIN not in text and END not in text
    blanks = [cell for cell in own.cells if is_blank(cell)]
    for cell in blanks:
        assert "raise NotImplementedError" in cell.source
        solution = SOLUTIONS[cell.metadata.nbgrader.grade_id][1].split(BEGIN)[1].split(END)[0]
        assert solution.strip() not in text
    assert len(blanks) == len(list(filter(is_blank, master.cells)))
    assert not any(cell.get("outputs") for cell in own.cells)
    assert not any(KEPT_BACK & tags(cell) for cell in own.cells)
    for cell, after in zip(own.cells, own.cells[1:], strict=False):
        if "prediction" in tags(cell):  # whoever opens it to write reads no answer
            assert "<details>" not in cell.source and after.source.startswith("<details><summary>Answer")
    shown = [cell for cell in own.cells if cell.id.endswith("-expected")]
    assert len(shown) == sum("expected" in tags(cell) for cell in master.cells)


@pytest.mark.parametrize("stem", FORMED)
def test_an_instructor_gets_all_of_it_with_solutions_folded(course: Path, stem: str) -> None:
    own = nbformat.read(course / "instructor" / f"{stem}.ipynb", as_version=4)
    nbformat.validate(own)
    assert [cell.source for cell in own.cells] == [cell.source for cell in MASTERS[stem].cells]
    assert all(cell.metadata.jupyter.source_hidden for cell in own.cells if is_blank(cell))


LINK = re.compile(r"""\]\(([^)\s]+)\)|(?:href|src)=["']([^"']+)["']|"(\.\./[^"]+)\"""")
MADE = "../runs/"  # what a run writes itself


def links_of(cell: nbformat.NotebookNode) -> set[str]:
    """Where a cell leads: links of its text and outputs, and the files that its code opens."""
    texts = [cell.source] if cell.cell_type == "markdown" else re.findall(r'"\.\./[^"]+"', cell.source)
    for output in cell.get("outputs", []):
        texts += [str(output.get("data", {}).get(kind, "")) for kind in ("text/markdown", "text/html")]
    found = {"".join(groups) for text in texts for groups in LINK.findall(text)}
    return {link for link in found if not link.startswith(("http", "data:", MADE))}


@pytest.mark.parametrize("stem", FORMED)
@pytest.mark.parametrize("where", ["master", "source/{}", "student/{}", "instructor"])
def test_every_link_of_every_edition_leads_somewhere(course: Path, where: str, stem: str) -> None:
    folder = NOTEBOOKS[0].parent if where == "master" else course / where.format(stem)
    own = nbformat.read(folder / f"{stem}.ipynb", as_version=4)
    for cell in own.cells:
        for link in links_of(cell):
            if link.startswith("attachment:"):
                assert link.removeprefix("attachment:") in cell.attachments, link
            else:
                assert (folder / link).is_file(), f"{cell.id}: {link}"
        if cell.cell_type == "code":  # what a cell makes is not made anew for an edition
            assert not re.search(r"href=|\.ipynb", cell.source), f"{cell.id} makes a link"


def submit(course: Path, stem: str, student: str, written: Mapping[str, str]) -> Path:
    """A submission in which these blanks are written; the others are as the student got them."""
    own = edition(course, stem)
    for cell in filter(is_blank, own.cells):
        cell.source = written.get(cell.metadata.nbgrader.grade_id, cell.source)
    path = course / "submitted" / student / stem / f"{stem}.ipynb"
    path.parent.mkdir(parents=True)
    nbformat.write(own, path)
    return path


def points(course: Path, stem: str, student: str) -> float:
    api = nbgrader_in(course)
    graded = api.autograde(stem, student, force=True, create=True)
    assert graded["success"], graded["log"]
    return api.get_submission(stem, student)["score"]


def solved(stem: str) -> dict[str, str]:
    """The cells that solve a notebook's blanks."""
    return {name: source for name, (_, source) in SOLUTIONS.items() if BLANKS[name].notebook == stem}


@pytest.mark.parametrize("stem", FORMED)
def test_nbgrader_gives_points_for_what_is_right_alone(course: Path, stem: str) -> None:
    """All right; and one mistake above blanks as the student got them. Points of some: the next test."""
    right = solved(stem)
    name = next(iter(right))
    old, new, _ = MISTAKES[name][0]
    wrong = {name: right[name].replace(old, new)}
    for student, written, expected in (("solved", right, len(right)), ("wrong", wrong, 0)):
        submit(course, stem, student, written)
        assert points(course, stem, student) == expected, student


def test_a_bad_submission_harms_nothing(
    course: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cell that is no Python, one that never ends, one that removes files, and one that is right."""
    monkeypatch.setitem(GRADING.ExecuteGraded, "timeout", 20)
    stem, precious = "04_masked_transformer", tmp_path / "precious.txt"
    precious.write_text("marks of the others")
    removing = f"import shutil\nshutil.rmtree({str(tmp_path)!r})\nshutil.rmtree('../..')\n"
    submit(
        course,
        stem,
        "bad",
        {
            "encode_places": "def encode_places(people, frames, D:\n",
            "may_attend": removing + SOLUTIONS["may_attend"][1],
            "attend": "def attend(Q, K, V, allowed):\n    while True:\n        pass\n",
            "likeness": SOLUTIONS["likeness"][1],
        },
    )
    before = sorted(course.rglob("*"))
    assert points(course, stem, "bad") == 1
    with nbgrader_in(course).gradebook as book:
        found = {grade.name: grade.score for grade in book.find_submission_notebook(stem, stem, "bad").grades}
    assert found == {f"check_{name}": name == "likeness" for name in BLANKS if BLANKS[name].notebook == stem}
    assert precious.read_text() == "marks of the others"
    assert set(before) <= {*course.rglob("*")}


def test_a_guarded_kernel_writes_in_its_own_folder_and_not_beside_it() -> None:
    """In a child, since nothing undoes the guard."""
    code = "import tempfile; from lart_mini.course import guard; guard.guard(); own = tempfile.gettempdir()\n"
    code += "open(own + '/mine', 'w').close()\nopen(own + '2', 'w')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and re.search(r"writes no files: \S+2$", done.stderr.strip())


@pytest.mark.parametrize("handed_in", ["mine.ipynb", None])
def test_a_renamed_or_missing_notebook_has_no_points_and_the_gradebook_says_so(
    course: Path, handed_in: str | None
) -> None:
    stem, student = "04_masked_transformer", "renamed" if handed_in else "missing"
    right = solved(stem)
    if not (course / "submitted" / "orderly").exists():
        submit(course, stem, "orderly", right)
    assert points(course, stem, "orderly") == len(right)
    path = submit(course, stem, student, right)
    if handed_in:
        path.rename(path.with_name(handed_in))
    else:
        path.unlink()
    api = nbgrader_in(course)
    graded = api.autograde(stem, student, force=True, create=True)
    assert not graded["success"] and re.search("No notebooks (found|were matched)", graded["log"])
    found = {one["student"]: one for one in api.get_submissions(stem)}
    assert not found[student]["autograded"] and found[student]["score"] == 0
    assert found["orderly"]["autograded"] and found["orderly"]["score"] == len(right)


# ------------------------------------------------------------------------------------------- a new notebook


def test_a_new_notebook_runs_and_passes_hygiene_as_made(tmp_path: Path) -> None:
    for folder in ("lart_mini", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("data_samples", "benchmarks", "profiles", "pyproject.toml", "README.md"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "notebooks").mkdir()
    shutil.copy(NOTEBOOKS[0], tmp_path / "notebooks")

    def python(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path)},
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    made = python("-m", "lart_mini.cli", "new-notebook", "10_tiny_topic").split()
    assert [Path(path).name for path in made] == ["tiny_topic.py", "tiny_topic.py", "10_tiny_topic.ipynb"]
    assert all((tmp_path / path).is_relative_to(tmp_path) for path in made)
    own = "hygiene and 10_tiny_topic or told_by_its_cause and _10"
    files = "tests/test_hygiene.py", "tests/test_course.py"
    done = python("-m", "pytest", "-p", "no:cacheprovider", *files, "-k", own)
    assert int(re.findall(r"(\d+) passed", done)[-1]) > 10


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tiny", "NN_topic, such as 10_my_topic, found tiny"),
        ("10_../../x", "NN_topic"),
        ("04_another", "a number and a topic that are free"),
        ("44_masked_transformer", "a number and a topic that are free"),
    ],
)
def test_a_new_notebook_needs_a_free_name(
    name: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(NOTEBOOKS[0].parent.iterdir())
    with pytest.raises(SystemExit) as left:
        main(["new-notebook", name])
    said = capsys.readouterr().err
    assert left.value.code == 2 and expected in said and said.count("\n") == 1
    assert sorted(NOTEBOOKS[0].parent.iterdir()) == before


@pytest.mark.parametrize("there", ["lart_mini/course/blanks", "tests/mistakes"])
def test_a_new_notebook_replaces_no_blanks_and_no_mistakes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str
) -> None:
    """Those of a notebook in another folder than --notebooks."""
    monkeypatch.setattr(lart_mini, "__file__", str(tmp_path / "lart_mini" / "__init__.py"))
    file = tmp_path / there / "topic.py"
    for folder in (file.parent, tmp_path / "tests" / "mistakes"):
        folder.mkdir(parents=True, exist_ok=True)
    file.write_text("mine")
    with pytest.raises(BadInput, match=f"a number and a topic that are free, found {file}"):
        list(write_new("20_topic", tmp_path / "notebooks"))
    assert file.read_text() == "mine" and [file] == [path for path in tmp_path.rglob("*") if path.is_file()]
