"""All blanks by name, and the one call that a notebook makes."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from lart_mini.course import blanks
from lart_mini.course.check import Blank, hold_against
from lart_mini.files import BadInput

BLANKS: dict[str, Blank] = {
    blank.name: blank
    for module in iter_modules(blanks.__path__)
    for blank in import_module(f"{blanks.__name__}.{module.name}").BLANKS
}


def check(answer: Callable[..., Any]) -> None:
    """Hold the function that a reader wrote against the package's, and print that it is right.

    Raises NotAttempted or Wrong with what is missing, and BadInput for a function that is no blank.
    """
    name = getattr(answer, "__name__", str(answer))
    if name not in BLANKS:
        raise BadInput("check", "function", "one of the blanks, under its own name", name)
    print(hold_against(BLANKS[name], answer))
