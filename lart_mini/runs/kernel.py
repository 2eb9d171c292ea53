"""One notebook in a kernel of its own, watched: a hang is told by silence, never by a clock."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import nbformat
import psutil  # type: ignore[import-untyped]
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

from lart_mini.files import PACKAGE, atomic_path, told
from lart_mini.progress import FRONT_ENDS
from lart_mini.runs.plan import SILENCE, NotebookFailed, read_notebook

BUSY = 0.001  # of a core: a kernel that waits uses less, one that works more, however slow the machine
PATIENCE = 10**6  # seconds for what jupyter wants a limit; the watch is what ends a kernel that hangs


class OwnKernel(KernelSpecManager):
    """Every notebook runs on the Python that runs the kit, whatever its name means to Jupyter here."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """The one kernel there is."""
        # Jupyter puts in what stands in braces, once: so the path may have braces itself.
        argv = ["{resource_dir}", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        name = {"name": kernel_name, "display_name": kernel_name, "language": "python"}
        # Nobody watches it, also where the runner was called from a live notebook or from VS Code.
        return KernelSpec(argv=argv, resource_dir=sys.executable, env=dict.fromkeys(FRONT_ENDS, ""), **name)


class WatchedClient(NotebookClient):
    """nbclient's, several of them in one event loop: it leaves signals alone, and counts what it hears."""

    silence = SILENCE  # looks, one a second
    heard = 0  # messages
    silent = False  # was it ended for its silence?

    @asynccontextmanager
    async def async_setup_kernel(self, **kwargs: Any) -> AsyncIterator[None]:
        """Start a kernel and the watch over it; end both."""
        manager: Any = self.create_kernel_manager()
        manager.kernel_spec_manager = OwnKernel()
        await self.async_start_new_kernel(**kwargs)
        watch = asyncio.create_task(self.watch())
        try:
            await self.async_start_new_kernel_client()
            yield
        finally:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch
            started = descendants(manager.provisioner.pid)
            if self.km is not None:  # else a kernel that never answered has been cleaned up
                await self._async_cleanup_kernel()
            for process in started:  # joblib's workers would go on for minutes
                with suppress(psutil.NoSuchProcess):
                    process.kill()

    async def watch(self) -> None:
        """Kill the kernel once nothing has moved for so many looks.

        Looks are counted instead of seconds, so that a machine that was asleep, or starved, is no hang.
        """
        manager: Any = self.km
        pid, moved, quiet = manager.provisioner.pid, (0.0, 0), 0
        while quiet < self.silence:
            await asyncio.sleep(1)
            now = (cpu_seconds(pid), self.heard)
            if abs(now[0] - moved[0]) > BUSY * self.silence or now[1] != moved[1]:
                moved, quiet = now, 0
            else:
                quiet += 1
        self.silent = True
        await manager.shutdown_kernel(now=True)

    def process_message(self, msg: dict[str, Any], cell: Any, cell_index: int) -> Any:
        """As nbclient's, counted."""
        self.heard += 1
        return super().process_message(msg, cell, cell_index)


def descendants(pid: int | None) -> list[psutil.Process]:
    """The processes that a process and its children have started; none where it is gone."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []


def cpu_seconds(pid: int) -> float:
    """What a process and all its descendants have computed so far; 0 where it is gone."""
    total = 0.0
    with suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                total += sum(process.cpu_times()[:4])  # own and of children that have ended
    return total


async def run_notebook(
    notebook: Path,
    run_dir: Path,
    parameters: Mapping[str, Any],
    threads: int = 1,
    cores: int = 1,
    *,
    silence: int = SILENCE,
    cell_done: Callable[[], object] = lambda: None,
) -> None:
    """Run a notebook in its own folder and write it, as it ran, to `run_dir`.

    threads: of torch and numpy; cores: processes that joblib takes where it is asked for all.
    silence: seconds without computing and output after which it is ended. `cell_done` is called after each
    code cell. Raises NotebookFailed.
    """
    from papermill.parameterize import parameterize_notebook

    for loud in ("papermill", "traitlets"):  # what they complain of is told in one line
        logging.getLogger(loud).setLevel(logging.CRITICAL)
    given = {"run_dir": _from_folder(run_dir, notebook.parent), **parameters}
    content = read_notebook(notebook)
    content.metadata.setdefault("papermill", {})  # as papermill's own reader does, tags too
    for cell in content.cells:
        cell.metadata.setdefault("tags", [])
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    content = parameterize_notebook(content, given, kernel_name="python3", language="python")
    client = WatchedClient(
        content,
        timeout=None,
        startup_timeout=PATIENCE,
        iopub_timeout=PATIENCE,
        shutdown_kernel="immediate",
        extra_arguments=["--log-level=ERROR"],
        on_cell_executed=lambda **_: cell_done(),
    )
    client.silence = silence
    # What a notebook computes must not depend on how many run beside it: its threads are fixed.
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "LOKY_MAX_CPU_COUNT": str(cores)}
    environment["LART_MINI_NOTEBOOK"] = notebook.stem
    # The package that runs here is the one that the notebook imports.
    paths = [str(PACKAGE.parent), os.environ.get("PYTHONPATH")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    try:
        await client.async_execute(cwd=str(notebook.parent), env=environment)
    except CellExecutionError as error:
        problem = f"{error.ename}: {error.evalue}"
    except (DeadKernelError, RuntimeError, OSError) as error:
        problem = f"silent for {silence} s" if client.silent else "the kernel died (out of memory?)"
        if not client.heard:
            raise NotebookFailed(f"{notebook.name}: {_no_kernel(error)}") from None
    else:
        problem = ""
    finally:
        with atomic_path(run_dir / notebook.name) as temporary:
            nbformat.write(content, temporary)
    if problem:
        raise NotebookFailed(f"{notebook.name}: {_last_cell(content)}: {' '.join(problem.split())}")


def _from_folder(run_dir: Path, folder: Path) -> str:
    """The way from a folder to `run_dir`; from the root where they are on two of Windows' drives."""
    try:
        return os.path.relpath(run_dir, folder)
    except ValueError:
        return str(run_dir.resolve())


def _no_kernel(error: Exception) -> str:
    """Why there is no kernel, in one line."""
    return told(f"no kernel: {sys.executable} -m ipykernel_launcher ended at once: {error}")


def _last_cell(content: nbformat.NotebookNode) -> str:
    """Which code cell failed: the first that has no count, or has an error among its outputs."""
    code = [cell for cell in content.cells if cell.cell_type == "code"]
    for number, cell in enumerate(code, start=1):
        failed = any(output.output_type == "error" for output in cell.outputs)
        if cell.execution_count is None or failed:
            return f"cell {number}"
    return f"cell {len(code)}"
