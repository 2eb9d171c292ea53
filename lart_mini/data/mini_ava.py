"""mini_ava, the default data: composed on first use from the motion library and a seed, cached, checked.

Four splits named as the released tracklets are: `ava-train` (labelled), `kinetics-train` (whole ten-second
clips, no labels: the teacher's pseudo labels come later), `ava-val`, and `ava-test` (other performers than in
training). As in AVA, a video's second 900 is its frame 0 and ground truth stands at 1 Hz from second 902 on.
Scenes are filmed, people are detected, and `lart_mini.tracking` links the detections: in windows of four
seconds about AVA's key frames, each on its own, and over whole clips of Kinetics (supplement C.1).
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from itertools import cycle
from pathlib import Path

import polars as pl
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

from lart_mini import ava
from lart_mini.data.cache import cache_root, keep
from lart_mini.data.folds import split_by_fold
from lart_mini.data.videos import (
    PERFECT,
    TRACKERS,
    Video,
    compose_scene,
    detected,
    groundtruth_of,
    groundtruth_rows,
    video_of,
)
from lart_mini.evaluation import ava_csv
from lart_mini.files import LARGEST_SEED, BadInput, process_count, whole_number
from lart_mini.people import body, clips
from lart_mini.progress import progress
from lart_mini.scenes.scene import Scene
from lart_mini.scenes.takes import Segment, scored_actions, segments
from lart_mini.tracklets import npz
from lart_mini.tracklets.tracklet import Tracklet

SPLITS = ("ava-train", "kinetics-train", "ava-val", "ava-test")
# The takes a split may use: pre-training clips and labelled clips share the training takes.
TAKES = {"ava-train": "train", "kinetics-train": "train", "ava-val": "val", "ava-test": "test"}
LABELLED = tuple(split for split in SPLITS if split != "kinetics-train")
FILES = sorted(
    [*(f"{split}.npz" for split in SPLITS), *(f"{split}.csv" for split in LABELLED), "videos.json"]
)
CLIP_COLUMNS = ["video", "second", "person", "clip"]
CLIPS = "clips.csv"  # of a fold: the clip that each of ava-val's ground-truth boxes shows
FOLD_FILES = sorted([*(file for file in FILES if "ava-test" not in file), CLIPS])
# Raised by one with every change of what is composed: caches of another version are composed anew. A test
# holds figures of a small data set to it.
VERSION = 3


@dataclass(frozen=True)
class Size:
    """How much to compose: videos a split, tracked four-second windows a video."""

    train: int
    kinetics: int
    val: int
    test: int
    windows: int


SIZES = {
    "smoke": Size(train=32, kinetics=8, val=20, test=6, windows=1),
    "laptop": Size(train=120, kinetics=60, val=72, test=24, windows=2),
    "gpu": Size(train=1200, kinetics=600, val=720, test=240, windows=2),
}
# The laptop's size, validation and all, with ten times the videos to learn from: its own 120 come first.
SIZES["many"] = replace(SIZES["laptop"], train=1200)


@dataclass(frozen=True)
class Variant:
    """A data set of the very same scenes and detections whose ground truth says something else."""

    name: str
    recipe: str  # all that its ground truth depends on beside what mini_ava's does
    rows: Callable[[Scene, list[tuple]], list[tuple]]  # a scene and mini_ava's rows of it → its own


def _as_they_are(_: Scene, rows: list[tuple]) -> list[tuple]:
    return rows


PLAIN = Variant("mini_ava", "", _as_they_are)


@dataclass(frozen=True)
class MiniAva:
    """A composed data set on disk; see `mini_ava`."""

    path: Path

    def tracklets(self, split: str) -> list[Tracklet]:
        """Tracklets of a split (one of SPLITS), in a fixed order."""
        return npz.load_tracklets(self._file(split, "npz"))

    def groundtruth(self, split: str) -> Path:
        """AVA-format CSV of a split's ground truth; kinetics-train has none."""
        return self._file(split, "csv")

    def clips(self) -> pl.DataFrame:
        """Of a fold: the clip that each ground-truth box of ava-val shows (CLIP_COLUMNS); else BadInput."""
        if not (self.path / CLIPS).exists():
            raise BadInput(self.path, "clips", f"a fold, which has {CLIPS}", "none")
        return pl.read_csv(self.path / CLIPS, glob=False)

    def videos(self, split: str | None = None) -> pl.DataFrame:
        """One row a video: split, video, frames, actors, takes, composited."""
        table = pl.read_json(self.path / "videos.json")
        return table if split is None else table.filter(pl.col("split") == split)

    def summary(self) -> pl.DataFrame:
        """One row a split: videos, composited videos, tracklets, frames, detected share, boxes, classes."""
        rows = []
        for split in SPLITS:
            videos, members = self.videos(split), self.tracklets(split)
            truth = ava_csv.read_groundtruth(self.groundtruth(split)) if split in LABELLED else None
            frames = sum(len(t) for t in members)
            rows.append(
                {
                    "split": split,
                    "videos": len(videos),
                    "composited": int(videos["composited"].sum()),
                    "tracklets": len(members),
                    "frames": frames,
                    "detected": sum(int(t.detected.sum()) for t in members) / max(frames, 1),
                    "boxes": 0 if truth is None else truth.select("video", "second", "person").n_unique(),
                    "classes": 0 if truth is None else truth["action"].n_unique(),
                }
            )
        return pl.DataFrame(rows)

    def boxes_per_class(self) -> pl.DataFrame:
        """One row an AVA class that occurs: id, name, category, ground-truth boxes in each labelled split."""
        counts = {}
        for split in LABELLED:
            counts[split] = Counter(ava_csv.read_groundtruth(self.groundtruth(split))["action"].to_list())
        present = sorted(set().union(*counts.values()))
        return pl.DataFrame(
            [
                {"id": i, "name": ava.NAMES[i], "category": ava.CLASSES[i - 1].category}
                | {split: count[i] for split, count in counts.items()}
                for i in present
            ]
        )

    def _file(self, split: str, suffix: str) -> Path:
        path = self.path / f"{split}.{suffix}"
        if split not in SPLITS or not path.exists():
            raise BadInput(self.path, "split", f"one of {', '.join(SPLITS)} with a .{suffix} file", split)
        return path


def mini_ava(
    size: str = "smoke",
    seed: int = 0,
    cache: str | Path | None = None,
    jobs: int = -1,
    tracker: str = "lart",
    fold: tuple[int, int] | None = None,
) -> MiniAva:
    """The data set of a size (one of SIZES) and seed, composed if the cache does not hold it yet.

    `tracker` says who links the detections, which are the same for all (see `video_of`). `fold` (k, K): the
    takes of fold k of K, from 0 on, are `ava-val`, and all others are learnt from (`folds.assign`); other
    performers are among them, so that there is no `ava-test`.

    The cache is `cache`, or LART_MINI_CACHE, or ~/.cache/lart_mini. A data set's folder carries a digest of
    its recipe (sizes, seed, tracker, motion library, body, and VERSION); its files are
    checked against their stored digests, and a damaged folder is composed again. One process composes a data
    set, others wait for it. `jobs`: processes, -1 for one a core; the result does not depend on it.

    Raises BadInput for a size, seed, tracker, fold or `jobs` that is none, and for no folder to keep data in.
    """
    return MiniAva(kept(size, seed, cache, jobs, (tracker,), fold)[tracker])


def linked(
    size: str = "smoke",
    seed: int = 0,
    cache: str | Path | None = None,
    jobs: int = -1,
    trackers: Sequence[str] = TRACKERS,
    fold: tuple[int, int] | None = None,
) -> dict[str, MiniAva]:
    """`mini_ava` of each of `trackers`; what the cache does not hold is made of scenes composed only once."""
    return {one: MiniAva(path) for one, path in kept(size, seed, cache, jobs, trackers, fold).items()}


def kept(
    size: str,
    seed: int,
    cache: str | Path | None,
    jobs: int,
    trackers: Sequence[str],
    fold: tuple[int, int] | None = None,
    variant: Variant = PLAIN,
) -> dict[str, Path]:
    """Each tracker's folder, composed where the cache does not hold it; raises as `mini_ava` does."""
    if size not in SIZES:
        raise BadInput("mini_ava", "size", " | ".join(SIZES), size)
    for tracker in trackers:
        if tracker not in (*TRACKERS, PERFECT):
            raise BadInput("mini_ava", "tracker", " | ".join(TRACKERS), tracker)
    whole_number("mini_ava", "seed", seed, 0, LARGEST_SEED)
    jobs = process_count(jobs)
    root = cache_root(cache)
    if fold is not None:
        split_by_fold(clips.load_library(), fold)  # raises BadInput
    part = "" if fold is None else f"fold{fold[0] + 1}of{fold[1]}-"
    recipes = {one: recipe_digest(SIZES[size], seed, one, fold, variant.recipe) for one in trackers}
    names = {one: f"{variant.name}-{size}-{seed}-{part}{recipe[:12]}" for one, recipe in recipes.items()}
    paths = {tracker: root / name for tracker, name in names.items()}
    where = {path: tracker for tracker, path in paths.items()}

    def compose_into(made: dict[Path, Path]) -> None:
        _compose(
            SIZES[size], seed, {where[path]: folder for path, folder in made.items()}, jobs, fold, variant
        )

    keep(list(where), FILES if fold is None else FOLD_FILES, compose_into)
    return paths


def recipe_digest(
    size: Size, seed: int, tracker: str, fold: tuple[int, int] | None = None, beside: str = ""
) -> str:
    """Digest of all that the data depend on; a data set of another recipe has another folder."""
    digest = hashlib.sha256(json.dumps([VERSION, asdict(size), seed, tracker]).encode())
    if fold is not None:
        digest.update(json.dumps(fold).encode())
    digest.update(beside.encode())
    for path in sorted(p for p in clips.LIBRARY.glob("*") if p.is_file() and p.name != clips.CONTACTS):
        digest.update(path.read_bytes())
    model = body.load_body()
    for array in (model.v_template, model.shapedirs, model.posedirs, model.joint_regressor, model.weights):
        digest.update(array.tobytes())
    digest.update(json.dumps(model.vertex_ids, sort_keys=True).encode())
    return digest.hexdigest()


# ------------------------------------------------------------------------------------------------- composing


def _compose(
    size: Size,
    seed: int,
    out: dict[str, Path],
    jobs: int,
    fold: tuple[int, int] | None = None,
    variant: Variant = PLAIN,
) -> None:
    """Fill the folder of each tracker."""
    about: dict[str, list[dict]] = {tracker: [] for tracker in out}
    for split, pool, count, chance in plan(size, seed, fold):
        made = compose_linked(pool, split, count, size.windows, chance, jobs, tuple(out), variant)
        for tracker, folder in out.items():
            videos = [video[tracker] for video in made]
            npz.save_tracklets([t for v in videos for t in v.tracklets], folder / f"{split}.npz")
            about[tracker] += [v.about for v in videos]
            if split in LABELLED:
                ava_csv.write_groundtruth(groundtruth_of(videos), folder / f"{split}.csv")
            if fold is not None and split == "ava-val":
                boxes = [row for video in videos for row in video.clips]
                pl.DataFrame(boxes, schema=CLIP_COLUMNS, orient="row").write_csv(folder / CLIPS)
    for tracker, folder in out.items():
        pl.DataFrame(about[tracker]).write_json(folder / "videos.json")


def plan(
    size: Size, seed: int, fold: tuple[int, int] | None = None
) -> list[tuple[str, list[Segment], int, tuple[int, ...]]]:
    """What a data set consists of: of each split its name, its takes, how many videos, and their seed.

    A fold validates 2 / K as many videos as the single split: all folds together twice as many. It has no
    other performers, and so no ava-test.
    """
    library, chance = clips.load_library(), tuple[int, ...]((seed,))
    if fold is not None:
        library, chance = split_by_fold(library, fold), (seed, *fold)
        size = replace(size, val=max(1, 2 * size.val // fold[1]), test=0)
    counts = (size.train, size.kinetics, size.val, size.test)
    pools = [segments(library, TAKES[split]) for split in SPLITS]
    numbered = enumerate(zip(SPLITS, pools, counts, strict=True))
    return [(split, pool, count, (*chance, i)) for i, (split, pool, count) in numbered if pool]


def compose_videos(
    pool: list[Segment],
    split: str,
    count: int,
    windows: int,
    seed: tuple[int, ...],
    jobs: int = -1,
    tracker: str = "lart",
) -> list[Video]:
    """`count` videos of `windows` windows, the evaluated actions of `pool` leading in turn.

    Video i has the seed (*seed, i): it is the same scene with the same detections, whoever links them.
    """
    made = compose_linked(pool, split, count, windows, seed, jobs, (tracker,))
    return [video[tracker] for video in made]


def compose_linked(
    pool: list[Segment],
    split: str,
    count: int,
    windows: int,
    seed: tuple[int, ...],
    jobs: int,
    trackers: Sequence[str],
    variant: Variant = PLAIN,
) -> list[dict[str, Video]]:
    """The videos of `compose_videos` by tracker; each scene is composed once for all of them."""
    model, actions = body.load_body(), scored_actions(pool)

    def video(index: int, action: int) -> dict[str, Video]:
        # In one thread: the last bits of a matrix product depend on how many share it.
        with threadpool_limits(1):
            scene = compose_scene(pool, split, windows, action, (*seed, index), model)
            seen = detected(scene, split)  # the same for all who link them
            rows = variant.rows(scene, groundtruth_rows(scene, split, index))
            return {
                tracker: video_of(scene, split, index, model, tracker, seen=seen, rows=rows)
                for tracker in trackers
            }

    leading = zip(range(count), cycle(actions), strict=False)
    made = Parallel(n_jobs=jobs, return_as="generator")(delayed(video)(*task) for task in leading)
    return list(progress(made, total=count, desc=f"composing {split}"))


def scene_of(
    split: str, index: int, size: str = "smoke", seed: int = 0, fold: tuple[int, int] | None = None
) -> Scene:
    """The scene of video `index` of `split`, the very one that `mini_ava(size, seed, fold=fold)` is made of.

    Raises BadInput for a split, index, size, seed or fold that is none.
    """
    if size not in SIZES:
        raise BadInput("mini_ava", "size", " | ".join(SIZES), size)
    whole_number("mini_ava", "seed", seed, 0, LARGEST_SEED)
    found = _planned(SIZES[size], seed, fold, clips.LIBRARY)
    if split not in found:
        raise BadInput("mini_ava", "split", " | ".join(found), split)
    _, pool, count, chance = found[split]
    whole_number("mini_ava", f"video of {split}", index, 0, count - 1)
    actions = scored_actions(pool)
    with threadpool_limits(1):
        leading = actions[index % len(actions)]
        return compose_scene(pool, split, SIZES[size].windows, leading, (*chance, index), body.load_body())


@lru_cache(maxsize=2)
def _planned(
    size: Size, seed: int, fold: tuple[int, int] | None, library: Path
) -> dict[str, tuple[str, list[Segment], int, tuple[int, ...]]]:
    """`plan` by split, of a library that is read once by those who want one scene after another."""
    return {one[0]: one for one in plan(size, seed, fold)}
