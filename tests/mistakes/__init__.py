"""Typical mistakes by blank, a module a notebook: what a student writes instead, and what the check says.

Each is an edit of the solution in the master notebook: the text that is there, the text written instead, and
some words of the check's message.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

MISTAKES: dict[str, list[tuple[str, str, str]]] = {}
for _module in iter_modules(__path__):
    MISTAKES |= import_module(f"mistakes.{_module.name}").MISTAKES
