"""All kinds of cases, and the shelf of inputs that take long to make."""

from __future__ import annotations

import os
import traceback
from importlib import import_module
from pathlib import Path

import arrays
import commands
import pickles
import pictures
import settings
import skeletons
import tables
import torch
import weights
from runner import Maker

torch.set_num_threads(1)
# Imported once, here: children fork from a process that has read all code.
for module in ("lightning_fabric", "nbconvert", "papermill", "scipy.sparse", "smplx"):
    import_module(module)
for module in ("lart.predict", "lart.recipe", "runs.report", "tracklets.contents"):
    import_module(f"lart_mini.{module}")
FAMILIES = (pickles, weights, arrays, tables, settings, commands, skeletons, pictures)
MAKERS: dict[str, Maker] = {kind: maker for family in FAMILIES for kind, maker in family.MAKERS.items()}
FILLERS = (*arrays.FILLERS, *commands.FILLERS, *skeletons.FILLERS, *pictures.FILLERS)


def fill_shelf(shelf: Path) -> None:
    """Make what cases copy, in a child, since it may start threads. Raises RuntimeError."""
    shelf.mkdir(parents=True)
    pid = os.fork()
    if pid == 0:
        try:
            for fill in FILLERS:
                fill(shelf)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if os.waitpid(pid, 0)[1]:
        raise RuntimeError("the shelf of inputs could not be filled")
