"""How fast the evaluator is beside polars, which only parses the file, and beside the literal one.

    python benchmarks/evaluation.py                        from CSV to mAP, each in processes of its own
    python benchmarks/evaluation.py --boxes 99000          larger: every box of AVA's validation set
    python benchmarks/evaluation.py --decimals 3           rounded scores: ties, so the heap is played
    python benchmarks/evaluation.py --shuffled             rows in any order
    python benchmarks/evaluation.py --policy slowfast      another policy
    python benchmarks/evaluation.py --repeats 9 --only parse,fast

The rows are made up (seeded): labels by a long-tailed prior, scores that know a little of them. Parsing and
evaluating take turns, so that other work on the machine meets both; the ratio is the median over the turns.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import polars as pl

from lart_mini import ava, evaluation

ROOT = Path(__file__).resolve().parent.parent
VIDEOS = 64


def generate(boxes: int, folder: Path, decimals: int | None, shuffled: bool, seed: int = 0) -> None:
    """Write groundtruth.csv and detections.csv: `boxes` boxes in 64 videos, 60 rows a box."""
    random = np.random.default_rng(seed)
    seconds = ava.LAST_SECOND - ava.FIRST_SECOND + 1
    frame = np.sort(random.integers(0, VIDEOS * seconds, boxes))
    low = random.uniform(0, 0.6, (boxes, 2))
    corners = np.concatenate((low, low + random.uniform(0.1, 0.4, (boxes, 2))), axis=1)  # x1, y1, x2, y2
    prior = np.minimum(0.9, 0.55 / np.arange(1, 61))[random.permutation(60)]
    labels = random.random((boxes, 60)) < prior
    scores = 1 / (1 + np.exp(-(np.log(prior) + 1.5 * labels + random.normal(0, 1, (boxes, 60)))))
    jittered = np.clip(corners + random.normal(0, 0.02, corners.shape), 0, 1)
    jittered = np.concatenate((jittered[:, :2], np.maximum(jittered[:, 2:], jittered[:, :2] + 0.001)), axis=1)

    person, column = np.nonzero(labels)
    truth = _table(frame[person], corners[person], column).with_columns(person=pl.Series(person % 10))
    written = scores.astype(np.float32) if decimals is None else scores.round(decimals)
    found = _table(
        np.repeat(frame, 60), np.repeat(jittered.clip(0, 1), 60, axis=0), np.tile(range(60), boxes)
    )
    found = found.with_columns(score=pl.Series(written.ravel()))
    if shuffled:
        truth, found = (table.sample(fraction=1, shuffle=True, seed=seed) for table in (truth, found))
    evaluation.write_groundtruth(truth, folder / "groundtruth.csv")
    evaluation.write_detections(found, folder / "detections.csv")


def _table(frame: np.ndarray, corners: np.ndarray, column: np.ndarray) -> pl.DataFrame:
    seconds = ava.LAST_SECOND - ava.FIRST_SECOND + 1
    names = pl.Series([f"video_{number:05d}" for number in range(VIDEOS)])
    return pl.DataFrame(
        {
            "video": names.gather(frame // seconds),
            "second": ava.FIRST_SECOND + frame % seconds,
            **{name: corners[:, i].round(3) for i, name in enumerate(evaluation.CORNERS)},
            "action": np.array(ava.EVALUATED)[column],
        }
    )


def run_parse(folder: Path, policy: str) -> dict[str, float]:
    """Seconds polars needs for the detections alone, on as many threads as it takes by itself."""
    schema = evaluation.csv_schema("score")
    start = time.perf_counter()
    pl.read_csv(folder / "detections.csv", schema=schema, has_header=False)
    return {"seconds": time.perf_counter() - start}


def run_fast(folder: Path, policy: str) -> dict[str, float]:
    """Seconds from CSV to mAP."""
    start = time.perf_counter()
    result = evaluation.evaluate_files(folder / "groundtruth.csv", folder / "detections.csv", policy)
    return {"mAP": result.mean_ap, "seconds": time.perf_counter() - start}


def run_reference(folder: Path, policy: str) -> dict[str, float]:
    """Seconds from CSV to mAP of tests/reference/evaluation.py."""
    path = ROOT / "tests" / "reference" / "evaluation.py"
    spec = importlib.util.spec_from_file_location("reference_evaluation", path)
    assert spec and spec.loader
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    start = time.perf_counter()
    rows = (reference.read_csv(folder / name) for name in ("groundtruth.csv", "detections.csv"))
    per_class = reference.per_class_ap(*rows, policy)
    return {"mAP": reference.mean_ap(per_class), "seconds": time.perf_counter() - start}


RUNS = {"parse": run_parse, "fast": run_fast, "reference": run_reference}


def child(which: str, folder: Path, policy: str) -> dict[str, float]:
    """What a process of its own says of one run: its figures, its processor time, its peak of memory."""
    command = [sys.executable, __file__, "--policy", policy, "--only", which, "--child", str(folder)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def main() -> None:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("--boxes", type=int, default=57_700)
    parser.add_argument("--decimals", type=int)
    parser.add_argument("--shuffled", action="store_true")
    parser.add_argument("--repeats", type=int, default=5, help="turns of parsing and evaluating")
    parser.add_argument("--policy", choices=list(evaluation.POLICIES), default="activitynet")
    parser.add_argument("--only", default=",".join(RUNS), help="some of parse,fast,reference")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        begun = time.process_time()
        figures = RUNS[options.only](Path(options.child), options.policy)
        figures["processor_seconds"] = time.process_time() - begun  # of all its threads
        figures["gigabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(json.dumps(figures))
        return
    with tempfile.TemporaryDirectory() as name:
        # In a process of its own: on Linux a child's peak of memory begins with what its parent held.
        made = (options.boxes, Path(name), options.decimals, options.shuffled)
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            pool.submit(generate, *made).result()
        size = (Path(name) / "detections.csv").stat().st_size / 2**20
        rows = f"{60 * options.boxes:,} rows{', shuffled' if options.shuffled else ''}"
        threads = pl.thread_pool_size()
        print(f"policy {options.policy}, {rows}, {size:.0f} MiB of CSV, polars on {threads} threads")
        turns: dict[str, list[dict[str, float]]] = {which: [] for which in options.only.split(",")}
        for turn in range(options.repeats):
            for which, results in turns.items():
                if turn == 0 or which != "reference":
                    results.append(child(which, Path(name), options.policy))
    report(turns)


def report(turns: dict[str, list[dict[str, float]]]) -> None:
    """Print the fastest turn of each, its peak of memory, and what one costs in terms of the other."""
    for which, results in turns.items():
        best = min(results, key=lambda figures: figures["seconds"])
        best["gigabytes"] = max(figures["gigabytes"] for figures in results)
        print(f"{which:<10}", *(f"  {key} {value:.9g}" for key, value in best.items()))
    if {"parse", "fast"} <= set(turns):
        for key in ("seconds", "processor_seconds"):
            pairs = zip(turns["fast"], turns["parse"], strict=True)
            ratios = sorted(fast[key] / parse[key] for fast, parse in pairs)
            middle = statistics.median(ratios)
            print(f"fast / parse, {key}: median {middle:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")
    if {"reference", "fast"} <= set(turns):
        slow, fast = turns["reference"][0], min(turns["fast"], key=lambda figures: figures["seconds"])
        print(f"reference / fast  {slow['seconds'] / fast['seconds']:.1f}")
        print(f"difference  {abs(slow['mAP'] - fast['mAP']):.1e}")


if __name__ == "__main__":
    main()
