"""The editions of a notebook. The committed one is the master: executed, with its solutions shown.

COURSE/source/NN/NN.ipynb    what nbgrader makes an assignment of, and grades by
COURSE/student/NN/NN.ipynb   blanks instead of solutions, no outputs but what is to be expected
COURSE/instructor/NN.ipynb   executed, solutions folded, notes for whoever teaches

Cells of the master are told apart by nbgrader's metadata (a blank, a check) and by tags: `expected` (the
student sees what it gave), `solution` (of an exercise) and `instructor` (a note for whoever teaches), which
the student does not get.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

from lart_mini.files import BadInput, atomic_path, optional
from lart_mini.runs.plan import read_notebook

NEIGHBOUR = re.compile(r"\]\((\d\d_\w+)\.ipynb")  # a link to another notebook
STORED = ("*.json", "*.parquet")  # in benchmarks/
KEPT_BACK = {"solution", "instructor"}  # tags of what a student does not get
CONFIG = '''"""What nbgrader needs to know of this course."""

from lart_mini.course.grading import GRADING

c = get_config()  # noqa: F821
c.merge(GRADING)
'''


def tags(cell: NotebookNode) -> set[str]:
    """A cell's tags."""
    return set(cell.metadata.get("tags", []))


def is_blank(cell: NotebookNode) -> bool:
    """Is something in it that the reader writes?"""
    return bool(cell.metadata.get("nbgrader", {}).get("solution"))


def source_edition(master: NotebookNode) -> NotebookNode:
    """What nbgrader takes: no solutions of exercises, no notes; what a student should come to see."""
    made = deepcopy(master)
    made.cells = []
    for cell in master.cells:
        if tags(cell) & KEPT_BACK:
            continue
        own = list(_answer_apart(cell)) if "prediction" in tags(cell) else [deepcopy(cell)]
        for one in own:
            if one.cell_type == "markdown":  # each notebook has a folder of its own there
                one.source = NEIGHBOUR.sub(r"](../\1/\1.ipynb", one.source)
        made.cells += [*own, *(_expected(cell) if "expected" in tags(cell) else [])]
    return made


def _answer_apart(cell: NotebookNode) -> Iterator[NotebookNode]:
    """What a student opens to write a prediction in, and the answer, which must not be read there."""
    asked, folded, answer = cell.source.partition("<details>")
    first = deepcopy(cell)
    first.source = asked.rstrip()
    yield first
    if folded:
        yield new_markdown_cell(folded + answer, id=f"{cell.id}-answer")


def _expected(cell: NotebookNode) -> Iterator[NotebookNode]:
    """A cell with what the master's gave: its printed lines, its pictures."""
    lines, pictures = [], {}
    for number, output in enumerate(cell.get("outputs", [])):
        data = output.get("data", {})
        if output.output_type == "stream":
            lines += ["```text", output.text.rstrip(), "```"]
        elif "image/png" in data:
            name = f"expected-{number}.png"
            words = output.metadata.get("image/png", {}).get("alt", "the picture")
            pictures[name] = {"image/png": data["image/png"]}
            lines.append(f"![{words}](attachment:{name})")
    if lines:
        shown = ["<details><summary>What you should come to see</summary>", "", *lines, "", "</details>"]
        made = new_markdown_cell("\n".join(shown), id=f"{cell.id}-expected")
        if pictures:
            made["attachments"] = pictures
        yield made


def instructor_edition(master: NotebookNode) -> NotebookNode:
    """The master with its solutions folded."""
    made = deepcopy(master)
    for cell in made.cells:
        if is_blank(cell) or "solution" in tags(cell):
            cell.metadata.setdefault("jupyter", {})["source_hidden"] = True
    return made


def write_course(notebooks: Path, out: Path) -> Iterator[str]:
    """Write all editions of a folder's notebooks to `out`, a line a notebook.

    A notebook without a blank is left out. What else lies in `out` (submissions, a gradebook) stays. Raises
    BadInput without nbgrader, and where nbgrader refuses a notebook.
    """
    api = nbgrader_in(out)
    with atomic_path(out / "nbgrader_config.py") as temporary:
        temporary.write_text(CONFIG, encoding="utf-8")
    for path in sorted(notebooks.glob("[0-9][0-9]_*.ipynb")):
        master = read_notebook(path)
        blanks = [cell.metadata.nbgrader.grade_id for cell in master.cells if is_blank(cell)]
        if not blanks:
            continue
        _write(source_edition(master), out / "source" / path.stem / path.name)
        _write(instructor_edition(master), out / "instructor" / path.name)
        made: Mapping[str, Any] = api.generate_assignment(path.stem, force=True, create=True)
        if not made["success"]:
            raise BadInput(path, "nbgrader", "an assignment", made.get("error") or made.get("log"))
        yield f"{path.stem}: {len(blanks)} blanks ({', '.join(blanks)})"
    stored = notebooks.parent / "benchmarks"  # what was measured, and notebooks show
    for folder in (".", "source", "student"):  # each beside an edition's notebooks
        for path in (path for kind in STORED for path in stored.glob(kind)):
            (out / folder / "benchmarks").mkdir(exist_ok=True)
            shutil.copy(path, out / folder / "benchmarks")


def _write(notebook: NotebookNode, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        nbformat.write(notebook, temporary)


def nbgrader_in(out: Path) -> Any:
    """nbgrader for a course in `out`. It calls alembic by name, which stands beside this Python."""
    apps = optional("nbgrader.apps", "lart_mini[course]", "course")
    from lart_mini.course.grading import GRADING

    beside = str(Path(sys.executable).parent)
    if beside not in os.environ.get("PATH", "").split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join([beside, os.environ.get("PATH", "")])
    config = deepcopy(GRADING)
    config.CourseDirectory.root = str(out.resolve())
    api = apps.NbGraderAPI(config=config)
    api.log.setLevel(logging.ERROR)
    return api
