"""How nbgrader runs a submission: blanks and checks alone, in limited time, changing no files."""

from __future__ import annotations

import ast
from copy import deepcopy
from typing import Any

from nbformat import NotebookNode
from traitlets.config import Config

from lart_mini.files import optional

Execute = optional("nbgrader.preprocessors", "lart_mini[course]", "course").Execute

IMPORT_SECONDS = 600  # imports are ours, and take long where much else is going on
CELL_SECONDS = 60  # a cell that takes longer is ended, and counts as wrong


def imports_of(source: str) -> str:
    """The import statements at the top level of a cell, nothing else; none of what is no Python."""
    try:
        statements = ast.parse(source).body
    except SyntaxError:
        return ""
    return "\n".join(ast.unparse(one) for one in statements if isinstance(one, (ast.Import, ast.ImportFrom)))


class ExecuteGraded(Execute):  # type: ignore[misc, valid-type]
    """Runs blanks and checks; of every other cell its imports alone.

    So a notebook is graded in seconds, without data and training. A check tries its blank with arguments of
    its own, so nothing else is needed. Before all, the kernel is guarded (`lart_mini.course.guard`).
    """

    timeout: int | None  # seconds of a cell; nbgrader's

    def preprocess_cell(
        self, cell: NotebookNode, resources: dict[str, Any], index: int
    ) -> tuple[NotebookNode, dict[str, Any]]:
        """As nbgrader's."""
        if cell.cell_type != "code":
            return cell, resources
        if not getattr(self, "guarded", False):
            self.guarded = True
            self._aside("from lart_mini.course import guard; guard.guard()", cell, resources, index)
        mine = cell.metadata.get("nbgrader", {})
        if mine.get("solution") or mine.get("grade"):
            return super().preprocess_cell(cell, resources, index)
        imports = imports_of(cell.source)
        if imports:
            self._aside(imports, cell, resources, index)
        return cell, resources

    def _aside(self, source: str, cell: NotebookNode, resources: dict[str, Any], index: int) -> None:
        """Run something in the kernel that leaves no trace in the notebook."""
        other, limit = deepcopy(cell), self.timeout
        other.source, self.timeout = source, IMPORT_SECONDS
        try:
            super().preprocess_cell(other, resources, index)
        finally:
            self.timeout = limit


GRADING = Config()
GRADING.CourseDirectory.course_id = "lart_mini"
GRADING.CourseDirectory.release_directory = "student"
GRADING.ClearSolutions.code_stub = {"python": "raise NotImplementedError  # your code here"}
GRADING.ClearSolutions.enforce_metadata = True
GRADING.ExecuteGraded.timeout = CELL_SECONDS
GRADING.LimitOutput.max_lines = 200
GRADING.Autograde.autograde_preprocessors = [
    ExecuteGraded,
    "nbgrader.preprocessors.IgnorePattern",
    "nbconvert.preprocessors.ClearMetadataPreprocessor",
    "nbgrader.preprocessors.LimitOutput",
    "nbgrader.preprocessors.SaveAutoGrades",
    "nbgrader.preprocessors.AssignLatePenalties",
    "nbgrader.preprocessors.CheckCellMetadata",
]
