"""How fast scenes are drawn, beside a literal z-buffer in numpy, in one run and one thread.

    python benchmarks/render.py --scenes 6 --frames 60

Whole frames (384 × 216: room, furniture, shadows, people, things, grain), processor seconds; views of what
stands still are drawn anew in each scene and counted. The literal one only fills the triangles of people and
things.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from pathlib import Path
from typing import Any

import numpy as np

from lart_mini.data import scene_of, world_of
from lart_mini.scenes import Renderer

ROOT = Path(__file__).resolve().parent.parent


def literal_z_buffer() -> Any:
    """tests/reference/zbuffer.py as a module."""
    spec = importlib.util.spec_from_file_location("zbuffer", ROOT / "tests" / "reference" / "zbuffer.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def seconds(run: Any, times: range) -> float:
    """Processor seconds of run(t) for every t."""
    begin = time.process_time()
    for t in times:
        run(t)
    return time.process_time() - begin


def fill(zbuffer: Any, renderer: Renderer, t: int) -> None:
    """People and things of frame `t`, by the literal z-buffer."""
    image, depth = np.zeros((*renderer.size, 3), np.float32), np.full(renderer.size, 60, np.float32)
    for piece in renderer.world.moving(t):
        mesh = piece.mesh
        points = (mesh.vertices - renderer.eye) @ renderer.world.scene.camera.rotation[t].T
        zbuffer.fill(points, mesh.faces, mesh.colours, image, depth, renderer.focal)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenes", type=int, default=6, help="with three people each")
    parser.add_argument("--frames", type=int, default=60)
    chosen = parser.parse_args()
    zbuffer, rows = literal_z_buffer(), []
    scenes = (scene for index in range(20) if len((scene := scene_of("ava-val", index)).actors) == 3)
    for _, scene in zip(range(chosen.scenes), scenes, strict=False):
        begin = time.process_time()
        renderer = Renderer(world_of(scene))
        made = time.process_time() - begin
        first = scene.frames - chosen.frames - 5
        times = range(first, first + chosen.frames)
        whole, masks = seconds(renderer.frame, times), seconds(renderer.masks, times)
        few = times[:: max(1, chosen.frames // 3)]
        literal = seconds(lambda t, one=renderer: fill(zbuffer, one, t), few) / len(few) * chosen.frames
        rows.append((made, whole, masks, literal, len(set(renderer._view_of[list(times)].tolist()))))
        print(
            f"{chosen.frames / whole:5.1f} frames/s, {chosen.frames / masks:5.1f} masks/s, literal z-buffer "
            f"{chosen.frames / literal:4.2f}/s; world {made:.2f} s, {rows[-1][4]} views"
        )
    total = np.array(rows)[:, 1:4].sum(axis=0)
    count = chosen.frames * len(rows)
    print(f"all: {count / total[0]:.1f} frames/s of processor time, {count / total[1]:.1f} masks/s")
    print(
        f"a whole frame is {total[2] / total[0]:.0f} times as fast as a literal z-buffer's people and things"
    )


if __name__ == "__main__":
    main()
