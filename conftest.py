"""nbval: what it does not compare (ids, dates, rendering), and patience with busy machines."""

from __future__ import annotations

import pytest

NOT_COMPARED = ("text/html", "image/png", "image/svg+xml", "application/javascript")
SECONDS = 600  # for an output on its way from the kernel, which nbval gives up after 5


def pytest_itemcollected(item: pytest.Item) -> None:
    notebook = item.parent
    if hasattr(notebook, "skip_compare"):
        notebook.skip_compare = (*notebook.skip_compare, *NOT_COMPARED)
        item.output_timeout = SECONDS  # type: ignore[attr-defined]
