"""Progress bars where somebody watches: on a terminal or in a live notebook, not where output is kept."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any

from tqdm.auto import tqdm

FRONT_ENDS = ("JPY_SESSION_NAME", "VSCODE_PID", "VSCODE_CWD")  # environment variables of their kernels


def live_front_end() -> bool:
    """True in JupyterLab, Notebook, VS Code, Colab; False under papermill, nbval, nbconvert: nobody is there.

    Jupyter's server names the session in each kernel's environment, VS Code its own process; headless runners
    start kernels without.
    """
    return any(map(os.environ.get, FRONT_ENDS)) or "google.colab" in sys.modules


def watched() -> bool:
    """Is there somebody to see a bar? A kernel needs a live front end, a script a terminal."""
    return live_front_end() if "ipykernel" in sys.modules else sys.stderr.isatty()


def progress(items: Iterable[Any] | None = None, **options: Any) -> tqdm:
    """tqdm with its own options, silent where nobody watches: bars would end up in committed notebooks."""
    return tqdm(items, **({"leave": False} | options | {"disable": options.get("disable") or not watched()}))
