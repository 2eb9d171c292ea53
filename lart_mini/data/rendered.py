"""rendered: mini_ava's very scenes and detections as pictures, with the ground truth that the pictures show.

Only label 17 (carry/hold) differs from mini_ava's: whoever has a thing in hand carries it, if the ID mask
shows SEEN pixels of the thing or more at the key frame. An annotator labels what is seen; a label never
makes a thing. It is a data set of its own name, so that what is published of mini_ava stays valid.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache as remember
from itertools import groupby
from pathlib import Path

import polars as pl

from lart_mini import ava
from lart_mini.data.mini_ava import MiniAva, Variant, kept, scene_of
from lart_mini.evaluation.ava_csv import read_groundtruth
from lart_mini.files import sha256
from lart_mini.people import clips
from lart_mini.progress import progress
from lart_mini.scenes.render import SIZE, Renderer
from lart_mini.scenes.scene import Scene
from lart_mini.scenes.world import HOLDS, World

CARRY = 17
SEEN = 40  # pixels of SIZE
# Raised by one with every change of what is drawn: labels may move with it, and cached features of pictures
# do.
VERSION = 1


@dataclass(frozen=True)
class Rendered(MiniAva):
    """A rendered data set on disk: labels and tracklets; its pictures are drawn when they are asked for."""

    size: str = "smoke"
    seed: int = 0
    fold: tuple[int, int] | None = None

    def scene(self, split: str, index: int) -> Scene:
        """The scene of video `index` of `split`. Raises BadInput for a split or an index that is none."""
        return scene_of(split, index, self.size, self.seed, self.fold)

    def renderer(
        self, split: str, index: int, size: tuple[int, int] = SIZE, *, drawn: bool = True
    ) -> Renderer:
        """Draws the frames of video `index`; with `drawn` False what is held or handled is left out.

        Labels stay those of what is drawn: what is learnt of pictures without the things must vanish.
        """
        return Renderer(world_of(self.scene(split, index), drawn=drawn), size)


def rendered(
    size: str = "smoke",
    seed: int = 0,
    cache: str | Path | None = None,
    jobs: int = -1,
    tracker: str = "lart",
    fold: tuple[int, int] | None = None,
) -> Rendered:
    """The rendered data set of a size and seed, composed if the cache does not hold it; arguments as
    `mini_ava`'s.

    Raises BadInput as `mini_ava` does, and where OpenCV is missing.
    """
    variant = Variant("rendered", json.dumps([VERSION, SEEN, HOLDS, sha256(_contacts_file())]), held_rows)
    path = kept(size, seed, cache, jobs, (tracker,), fold, variant)[tracker]
    return Rendered(path, size, seed, fold)


def world_of(scene: Scene, *, holds: float = HOLDS, drawn: bool = True) -> World:
    """The scene's World with the library's own contacts."""
    return World(scene, _contacts(), holds=holds, drawn=drawn)


def held_rows(scene: Scene, rows: Sequence[tuple]) -> list[tuple]:
    """mini_ava's ground-truth rows of a scene, with 17 where a thing in hand is seen and nowhere else."""
    if not rows:
        return []
    world = world_of(scene)
    renderer, seen, found = Renderer(world), dict[int, dict[int, int]](), []
    for (video, second, *box, person), group in groupby(rows, lambda row: (*row[:6], row[7])):
        frame = ava.keyframe(second)
        actions = {row[6] for row in group} - {CARRY}
        things = world.held_by(person, frame)
        if things:
            counts = seen[frame] = seen.get(frame) or renderer.seen(frame)
            if max(counts.get(thing, 0) for thing in things) >= SEEN:
                actions.add(CARRY)
        found += [(video, second, *box, action, person) for action in sorted(actions)]
    return found


def with_takes(data: Rendered, split: str) -> pl.DataFrame:
    """The ground truth of a split (`read_groundtruth`) with a column `take`: whose motion each box shows.

    It composes the scenes, which takes about half a second each. Raises BadInput for a split that is none.
    """
    takes = {name: clip.take for name, clip in clips.load_library().items()}
    table, keys = read_groundtruth(data.groundtruth(split)), ["video", "second", "person"]
    boxes = table.select(keys).unique(maintain_order=True)
    found = []
    for index, video in enumerate(progress(data.videos(split)["video"].to_list(), desc=f"takes of {split}")):
        own = boxes.filter(pl.col("video") == video)
        actors = data.scene(split, index).actors if len(own) else []
        for second, person in own.select("second", pl.col("person").cast(pl.Int64)).iter_rows():
            actor = actors[person]
            found.append(takes[actor.takes[actor.shown[ava.keyframe(second)]].removesuffix("_mirrored")])
    boxes = boxes.sort("video", maintain_order=True).with_columns(take=pl.Series(found, dtype=pl.String))
    return table.join(boxes, on=keys, how="left", maintain_order="left")


def _contacts_file() -> Path:
    return clips.LIBRARY / clips.CONTACTS


@remember
def _contacts() -> dict[str, tuple[clips.Contact, ...]]:
    return clips.load_contacts(_contacts_file())
