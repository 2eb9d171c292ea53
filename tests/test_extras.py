"""What may be missing: one line with the pip command, exit code 2. And libGL, which `import cv2` needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lart_mini.build import __main__ as build
from lart_mini.files import BadInput, optional
from lart_mini.people.body import Body
from lart_mini.tracking.metrics import score


def missing(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """As if a package were not installed."""
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)


def test_optional_imports_what_is_there() -> None:
    assert optional("numpy.linalg", "numpy", "arrays") is np.linalg


def test_trackers_are_not_judged_without_trackeval(monkeypatch: pytest.MonkeyPatch) -> None:
    missing(monkeypatch, "trackeval")
    with pytest.raises(BadInput) as refused:
        score([])
    assert str(refused.value).startswith(
        'judging trackers: trackeval: expected installed (pip install "lart_mini[tracking]"), found '
    )
    assert "\n" not in str(refused.value)


def test_no_mesh_without_smplx(monkeypatch: pytest.MonkeyPatch, free_body: Body) -> None:
    missing(monkeypatch, "smplx")
    with pytest.raises(BadInput, match=r'the mesh: smplx: expected installed \(pip install "smplx"\), found'):
        free_body.smplx()


def test_body_is_not_rebuilt_without_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    missing(monkeypatch, "fast_simplification")
    assert build.main(["body", "--downloads", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr()
    assert told.out == "" and told.err.count("\n") == 1
    assert 'fast_simplification: expected installed (pip install "lart_mini[build]")' in told.err
    assert not list(tmp_path.iterdir())  # nothing downloaded, nothing written


def test_what_the_system_refuses_the_builder_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    assert build.main(["motion", "--downloads", str(tmp_path / "file"), "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr()
    assert told.out == "" and told.err.count("\n") == 1
    assert told.err.startswith("lart_mini.build: ") and str(tmp_path / "file") in told.err


WITHOUT_LIBGL = """
import importlib, pkgutil, sys

class NoLibGL:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "cv2":
            raise ImportError("libGL.so.1: cannot open shared object file: No such file or directory")

sys.meta_path.insert(0, NoLibGL())
import lart_mini
for module in pkgutil.walk_packages(lart_mini.__path__, "lart_mini."):
    importlib.import_module(module.name)
import numpy as np
from lart_mini.tracking import score
frames = [np.array([0, 1])] * 3
result = score([{
    "num_timesteps": 3, "num_gt_ids": 2, "num_tracker_ids": 2, "num_gt_dets": 6, "num_tracker_dets": 6,
    "gt_ids": frames, "tracker_ids": frames, "similarity_scores": [np.eye(2)] * 3,
}])
assert result == {"HOTA": 1.0, "IDF1": 1.0, "MOTA": 1.0, "switches": 0}, result
assert "cv2" not in sys.modules
"""


def test_everything_imports_and_trackers_are_judged_without_libgl() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_LIBGL], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
