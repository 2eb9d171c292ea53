"""Runs: notebooks run with a size's parameters, what they record, and the report (08)."""

from lart_mini.runs.notebooks import NotebookFailed, reproduce
from lart_mini.runs.record import record, recorded
from lart_mini.runs.report import write_report

__all__ = [
    "NotebookFailed",
    "record",
    "recorded",
    "reproduce",
    "write_report",
]
