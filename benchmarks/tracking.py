"""How fast the tracker is beside a literal one, how good it is term by term, and what its amounts come from.

    python benchmarks/tracking.py speed             five people, one core: frames a second
    python benchmarks/tracking.py judge             validation takes, five seeds: table by term switched off
    python benchmarks/tracking.py measure           training takes: what TrackerConfig's amounts were set by

`judge` needs trackeval: pip install -c constraints.txt -e ".[tracking]".
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import polars as pl
from joblib import Parallel, delayed

from lart_mini.people import load_body, load_library
from lart_mini.scenes import compose, segments
from lart_mini.tracking import (
    TRUTH,
    Detections,
    Measured,
    Observed,
    Tracker,
    TrackerConfig,
    judge,
    track,
)

ROOT = Path(__file__).resolve().parent.parent
LART = TrackerConfig.lart()
TRACKERS = {
    "3D: place, pose, appearance": LART,
    "without place": replace(LART, use_place=False),
    "without pose": replace(LART, use_pose=False),
    "without appearance": replace(LART, use_appearance=False),
    "with overlap as well": replace(LART, use_iou=True),
    "overlap only": TrackerConfig.iou(),
    TRUTH: None,
}


def literal_costs():
    """The costs of tests/reference/tracking.py: one pair and one number at a time."""
    spec = importlib.util.spec_from_file_location("literal", ROOT / "tests" / "reference" / "tracking.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.costs


def composed(split: str, seed: int, count: int, people: tuple[int, int] = (3, 5)) -> list[Observed]:
    """`count` scenes of a split's takes, detected."""
    pool, model = segments(load_library(), split), load_body()
    return [Observed.of(compose(pool, (seed, i), model, people=people)) for i in range(count)]


def speed(options: argparse.Namespace) -> None:
    """Frames a second over scenes of five people, the best of three runs; then the literal tracker."""
    crowded = [o for o in composed("train", 0, options.scenes, (5, 5)) if len(o.scene.actors) == 5][:4]
    people = np.mean([len(observed.detections) / observed.scene.frames for observed in crowded])
    frames = sum(observed.scene.frames for observed in crowded)

    def rate(config: TrackerConfig) -> float:
        begin = time.perf_counter()
        for observed in crowded:
            track(observed.detections, config)
        return frames / (time.perf_counter() - begin)

    print(f"{len(crowded)} scenes of 5 people, {people:.1f} detections a frame, {frames} frames")
    for name in ("3D: place, pose, appearance", "with overlap as well", "overlap only"):
        fast = max(rate(TRACKERS[name]) for _ in range(3))
        with mock.patch("lart_mini.tracking.tracker.costs", literal_costs()):
            slow = rate(TRACKERS[name])
        print(f"{name:30s} {fast:7.0f} frames/s, literal {slow:6.0f}, ratio {fast / slow:5.1f}", flush=True)


def judged(seed: int, count: int) -> pl.DataFrame:
    """One row a tracker and kind of scene, for the scenes of one seed."""
    members = composed("val", seed, count)
    crossing = [observed for observed in members if observed.scene.crossing]
    parts = {f"all {count}": members, "crossing": crossing}
    tables = [judge(part, TRACKERS).with_columns(scenes=pl.lit(name)) for name, part in parts.items()]
    return pl.concat(tables).with_columns(seed=pl.lit(seed), crossing=pl.lit(len(crossing)))


def table(options: argparse.Namespace) -> None:
    """Means over seeds, ± their standard deviation, and in how many seeds 3D is ahead of overlap only."""
    seeds = range(options.seeds)
    rows = pl.concat(Parallel(options.jobs)(delayed(judged)(seed, options.scenes) for seed in seeds))
    for kind, part in rows.group_by("scenes", maintain_order=True):
        crossing = part.unique("seed")["crossing"].sort().to_list()
        print(f"\n{kind[0]} scenes, {options.seeds} seeds (people cross in {crossing})")
        for name in TRACKERS:
            own = part.filter(pl.col("tracker") == name)
            figures = [
                f"{100 * own[c].mean():5.1f} ± {100 * own[c].std():3.1f}" for c in ("HOTA", "IDF1", "MOTA")
            ]
            print(f"{name:30s}", *figures, f"{own['switches'].mean():6.1f} ± {own['switches'].std():4.1f}")
        ours, theirs = (part.filter(pl.col("tracker") == n).sort("seed") for n in list(TRACKERS)[::5])
        print("3D ahead of overlap only: IDF1 in", int((ours["IDF1"] > theirs["IDF1"]).sum()), "seeds,",
              "fewer switches in", int((ours["switches"] < theirs["switches"]).sum()))  # fmt: skip


class Oracle(Tracker):
    """Links by the truth, and notes how far each track's prediction is from each detection."""

    def __init__(self) -> None:
        super().__init__(replace(LART, n_init=1))
        self.notes: list[np.ndarray] = []
        self.actors: dict[int, int] = {}

    def update(self, frame: int, detections: Detections, shot: bool = False) -> np.ndarray:
        """As Tracker's."""
        self.seen_actor = detections.actor
        ids = super().update(frame, detections, shot)
        self.actors.update(zip(ids.tolist(), detections.actor.tolist(), strict=True))
        return ids

    def _assigned(self, seen: Measured) -> tuple:
        tracks = self.tracks
        own = np.array([self.actors[one] for one in tracks.id.tolist()], int)
        same = own[:, None] == self.seen_actor[None]
        pose = ((seen.pose[None] - tracks.pose[:, None]) ** 2).sum(-1)
        looks = ((seen.appearance[None] - tracks.appearance[:, None]) ** 2).sum(-1)
        off = np.abs(seen.place[None] - tracks.place[:, None, :, 0])
        noise = np.array([LART.place_noise, LART.place_noise, LART.depth_noise])
        off /= np.sqrt(tracks.place[:, None, :, 2] + noise**2)
        missed = np.broadcast_to(tracks.missed[:, None], same.shape)
        numbers = np.dstack([same, missed, pose, looks, off])
        self.notes.append(numbers[(own >= 0)[:, None] & (self.seen_actor >= 0)[None]])
        rows, columns = np.nonzero(same)
        return (rows, columns), np.setdiff1d(np.arange(len(self.seen_actor)), columns)


def measure(options: argparse.Namespace) -> None:
    """Squared distances of the same and of other people, and how far out predicted places are."""
    notes, places = [], []
    for observed in composed("train", 77, options.scenes):
        oracle, found = Oracle(), observed.detections[observed.detections.actor >= 0]
        for frame in range(observed.scene.frames):
            oracle.update(frame, found.window(frame, 1))
        notes += oracle.notes
        places.append(Measured.of(found).place)
    same, missed, pose, looks, *off = np.concatenate(notes).T
    same = same > 0
    for name, squared in (("pose", pose), ("appearance", looks)):
        for kind, rows in (("same, one frame on", same & (missed == 1)), ("other", ~same)):
            mean, freedom = squared[rows].mean(), 2 * squared[rows].mean() ** 2 / squared[rows].var()
            print(f"{name:10s} {kind:20s} mean {mean:6.2f}, degrees of freedom {freedom:4.1f}")
    for first, last in ((1, 1), (2, 4), (5, 12), (13, 50)):
        rows = same & (missed >= first) & (missed <= last)
        spread = [f"{np.median(axis[rows]) / 0.6745:.2f}" for axis in off]
        print(f"after {first:2d} to {last:2d} frames ({rows.sum():5d}): pose {pose[rows].mean():5.2f},",
              "place off by", *spread, "of the predicted standard deviation")  # fmt: skip
    spread = np.linalg.slogdet(2 * np.pi * np.e * np.cov(np.concatenate(places).T))[1] / 2
    print(f"places of everybody: mean −ln density {spread:.2f}")


def main() -> None:
    """Run one of the three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=["speed", "judge", "measure"])
    parser.add_argument("--scenes", type=int, default=24, help="a seed")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=-1)
    options = parser.parse_args()
    {"speed": speed, "judge": table, "measure": measure}[options.what](options)


if __name__ == "__main__":
    main()
