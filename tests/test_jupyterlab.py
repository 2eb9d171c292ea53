"""Notebooks in the real thing: JupyterLab in a browser, cells run, a slider moved, the one figure changed.

Needs playwright and a Chromium of the system (`apt-get install chromium`); skipped where either is missing.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from notebook_kit import ROOT, write_notebook

sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("no Chromium on this machine", allow_module_level=True)

SLIDER = """
from lart_mini import figures

def bars(height):
    figure = figures.new_figure(4, 2, f"height {height}")
    figure.subplots().bar([0, 1], [height, 1])
    return figure

figures.explore(bars, "two bars, the first one as high as the slider says", height=[1, 2, 3])
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A JupyterLab of its own: its address, and its folder with notebooks and a place for results."""
    home = tmp_path_factory.mktemp("lab")
    folder = home / "notebooks"
    write_notebook(folder / "10_slider.ipynb", SLIDER)
    shutil.copy(ROOT / "notebooks" / "02_smpl_tokens.ipynb", folder)
    own = {f"JUPYTER_{name}_DIR": str(home / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    told = (home / "log").open("w")
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.port=0",
         "--ServerApp.token=course", f"--ServerApp.root_dir={folder}", "--LabApp.expose_app_in_browser=True",
         f"--LabApp.user_settings_dir={home / 'settings'}", f"--LabApp.workspaces_dir={home / 'workspaces'}",
         "--LabApp.news_url=", "--ServerApp.terminals_enabled=False"],
        env=os.environ | own, stdout=told, stderr=told, cwd=folder,
    )  # fmt: skip
    try:
        for _ in range(600):
            found = list((home / "runtime").glob("jpserver-*.json"))
            if found:
                break
            assert server.poll() is None, (home / "log").read_text()
            time.sleep(0.1)
        address = json.loads(found[0].read_text())["url"]
        yield address, folder
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


def opened(browser: Any, lab: tuple[str, Path], notebook: str) -> Any:
    """The page of a notebook, once JupyterLab stands."""
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(120_000)
    page.goto(f"{lab[0]}lab/tree/{notebook}?token=course")
    page.wait_for_function("window.jupyterapp && document.querySelector('.jp-Notebook .jp-Cell')")
    page.wait_for_function(
        """() => {
            const own = window.jupyterapp.shell.currentWidget?.sessionContext, kernel = own?.session?.kernel;
            return own?.isReady && kernel?.connectionStatus === 'connected' && kernel.status === 'idle';
        }"""
    )
    page.wait_for_load_state("networkidle")
    return page


KERNEL = "window.jupyterapp.shell.currentWidget.sessionContext.session?.kernel"
CODE = "window.jupyterapp.shell.currentWidget.content.model.sharedModel.toJSON().cells" \
       ".filter(cell => cell.cell_type === 'code')"  # fmt: skip


def run_all(page: Any, seconds: int) -> list[dict[str, Any]]:
    """Run all cells to their end; their outputs. Asked again where the kernel was exchanged."""
    page.evaluate("window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
    ended = f"() => {CODE}.every(cell => cell.execution_count !== null) && {KERNEL}?.status === 'idle'"
    for last in (False, False, True):
        page.evaluate("void window.jupyterapp.commands.execute('notebook:run-all-cells')")
        try:
            page.wait_for_function(ended, timeout=1000 * seconds)
            break
        except sync_api.TimeoutError:
            if last:
                raise
    return [output for cell in page.evaluate(CODE) for output in cell["outputs"]]


def pictures(page: Any) -> list[str]:
    """The pictures that the notebook shows now."""
    shown = page.locator(".jp-OutputArea-output img")
    return shown.evaluate_all("all => all.map(one => one.src)")


def trouble(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Errors, and what went to stderr."""
    return [one for one in outputs if one["output_type"] == "error" or one.get("name") == "stderr"]


def test_a_slider_changes_the_one_figure_in_place(browser: Any, lab: tuple[str, Path]) -> None:
    page = opened(browser, lab, "10_slider.ipynb")
    assert not trouble(run_all(page, 60))
    handle = page.locator(".widget-slider .noUi-handle")
    handle.wait_for()
    before = pictures(page)
    assert len(before) == 1
    handle.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "old => document.querySelector('.jp-OutputArea-output img').src !== old", arg=before[0]
    )
    assert len(pictures(page)) == 1
    page.close()


def test_a_notebook_runs_and_stands_in_light_and_dark(
    browser: Any, lab: tuple[str, Path], tmp_path: Path
) -> None:
    page = opened(browser, lab, "02_smpl_tokens.ipynb")
    outputs = run_all(page, 240)
    assert not trouble(outputs)
    assert sum("image/png" in output.get("data", {}) for output in outputs) > 3
    looks = []
    for theme in ("JupyterLab Light", "JupyterLab Dark"):
        page.evaluate("theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", theme)
        looks.append(page.screenshot(path=tmp_path / f"{theme}.png"))  # to be looked at
    assert looks[0] != looks[1]
    page.close()
