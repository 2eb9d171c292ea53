"""A small source for stores, and how two stores are compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from published_files import published, write
from test_tracklets import make_tracklet

from lart_mini.tracklets.released import write_released
from lart_mini.tracklets.tracklet import Tracklet

WIDTH = 7  # of appearance, as in published_files


def member(keyframe: int, track: int, first: int, length: int, appearance: int = WIDTH) -> Tracklet:
    one = make_tracklet(length, seed=100 * keyframe + track, track=track, appearance=appearance)
    name = f"ava-train_a_b-cdefghi_{keyframe:06d}_{track}_{length}"
    return replace(one, name=name, keyframe=keyframe, frame=np.arange(first, first + length)).validate()


def write_source(folder: Path) -> Path:
    """Scenes of our own and published files, with and without appearance, in folders; gives the root."""
    rng = np.random.default_rng(0)
    for keyframe, sizes in ((60, [(50, 20), (45, 30), (58, 9)]), (90, [(70, 25), (200, 12)])):
        for track, (first, length) in enumerate(sizes):
            tracklet = member(keyframe, track, first, length, appearance=0 if track == 1 else WIDTH)
            if track == 2:  # frame numbers with gaps
                tracklet = replace(tracklet, frame=tracklet.frame + np.arange(length) // 3)
            path = folder / str(track) / f"{tracklet.name}.pkl"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_released(tracklet, path, compress=track == 0)
    (folder / "published").mkdir()
    for track in range(4):
        write(published(rng, 140 + track, 16 + track), folder / "published", track)
    own = published(rng, 140, 10) | {"camera": rng.normal(size=(10, 1, 3))}
    write(own, folder / "published", track=9)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}
