"""How a training goes, step by step, in a CSV file and, where TensorBoard is installed, for it too."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from lart_mini.files import atomic_path

COLUMNS = ("step", "epoch", "loss", "lr", "tokens", "seconds")


class Metrics:
    """Appends a row a step to a CSV file; without a path it writes nothing.

    A training that goes on from step `first` keeps the rows before it and loses those behind: they are
    written again. TensorBoard's files go into the folder of the same name without its ending.
    """

    def __init__(self, path: str | Path | None, first: int) -> None:
        self.path = None if path is None else Path(path)
        self.file: Any = None
        self.board: Any = None
        if self.path is None:
            return
        path = self.path
        text = path.read_text(encoding="utf-8", errors="replace") if path.exists() and first else ""
        rows = text.splitlines()[1:]
        kept = [row for row in rows if row.split(",")[0].isdigit() and int(row.split(",")[0]) < first]
        with atomic_path(path) as temporary:
            temporary.write_text("\n".join([",".join(COLUMNS), *kept]) + "\n", encoding="utf-8")
        self.file = path.open("a", encoding="utf-8", buffering=1)
        if importlib.util.find_spec("tensorboard"):
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(str(path.with_suffix("")), purge_step=first)

    def add(self, step: int, epoch: int, loss: float, lr: float, tokens: int, seconds: float) -> None:
        """One step: mean loss, learning rate, tokens of its batch, seconds of training up to its end.

        Raises OSError that names the file where the disk is full.
        """
        if self.file is not None:
            try:
                self.file.write(f"{step},{epoch},{loss:.6g},{lr:.6g},{tokens},{seconds:.3f}\n")
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(self.path)) from None
        if self.board is not None:
            self.board.add_scalar("loss", loss, step)
            self.board.add_scalar("lr", lr, step)

    def close(self) -> None:
        """Write out what is left."""
        for out in (self.file, self.board):
            if out is not None:
                out.close()
