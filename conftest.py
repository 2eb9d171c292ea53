"""What nbval does not compare: pictures and players, whose bytes carry ids, dates and rendering."""

from __future__ import annotations

import pytest

NOT_COMPARED = ("text/html", "image/png", "image/svg+xml", "application/javascript")


def pytest_itemcollected(item: pytest.Item) -> None:
    notebook = item.parent
    if hasattr(notebook, "skip_compare"):
        notebook.skip_compare = (*notebook.skip_compare, *NOT_COMPARED)
