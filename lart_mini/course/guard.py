"""A kernel in which a careless submission harms nothing: files outside its folder stay as they are.

It stops accidents and pranks, not an attacker: whoever grades strangers' code does so in a container.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

REMOVING = {"os.remove", "os.rmdir", "os.rename", "os.truncate", "os.link", "os.symlink", "os.mkdir",
            "os.chmod", "os.chown", "shutil.rmtree", "shutil.move", "shutil.copyfile"}  # fmt: skip
STARTING = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork",
            "os.kill", "socket.connect"}  # fmt: skip
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def guard() -> None:
    """From now on this process writes in its temporary folder alone, and starts no other; nothing undoes it.

    What it tries all the same raises PermissionError.
    """
    folder, nowhere = Path(tempfile.mkdtemp(prefix="lart_mini-graded-")).resolve(), Path(os.devnull).resolve()

    def outside(path: Any) -> bool:
        if isinstance(path, int):  # an open file
            return False
        real = Path(os.path.realpath(os.fsdecode(path)))
        return not real.is_relative_to(folder) and real != nowhere

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in STARTING:
            raise PermissionError(f"a graded notebook starts no process and calls nobody ({event})")
        if event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING:
            if outside(arguments[0]):
                raise PermissionError(f"a graded notebook writes no files: {arguments[0]}")
        elif event in REMOVING and any(
            outside(one) for one in arguments if isinstance(one, (str, bytes, os.PathLike))
        ):
            raise PermissionError(f"a graded notebook changes no files ({event} of {arguments[0]})")

    tempfile.tempdir = str(folder)
    sys.addaudithook(hook)
