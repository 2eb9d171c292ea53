"""Runs: notebooks run with a profile's parameters, what they record, and the report (08)."""

from lart_mini.runs.plan import NotebookFailed
from lart_mini.runs.record import record, recorded
from lart_mini.runs.report import write_report
from lart_mini.runs.reproduce import reproduce

__all__ = [
    "NotebookFailed",
    "record",
    "recorded",
    "reproduce",
    "write_report",
]
