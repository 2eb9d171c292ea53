"""All kinds of cases, and the shelf of inputs that take long to make."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

import arrays
import commands
import pickles
import settings
import tables
import torch
import weights
from runner import Maker

# Imported once, here: children fork from a process that has read all code.
import lightning_fabric
import nbconvert
import papermill
import scipy.sparse

import lart_mini.lart.predict
import lart_mini.lart.recipe
import lart_mini.runs.report
import lart_mini.tracklets.contents  # noqa: F401

torch.set_num_threads(1)
FAMILIES = (pickles, weights, arrays, tables, settings, commands)
MAKERS: dict[str, Maker] = {kind: maker for family in FAMILIES for kind, maker in family.MAKERS.items()}
FILLERS = (*arrays.FILLERS, *commands.FILLERS)


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
