"""How busy a GPU is while LART trains: steps, the loader, a whole training, and the card's matrix rate.

    python benchmarks/gpu.py --json benchmarks/gpu.json         presets mini and paper, gpu size
    python benchmarks/gpu.py --device cpu --size smoke --batch 2 --steps 1 --presets small    a rehearsal
    python benchmarks/gpu.py --device cpu --size laptop --loader --presets paper              the loader alone

For each preset, in one run on batches of mini_ava's training part (40 % of the detected tokens masked):

- milliseconds a step: the literal version (every token computed, masks written out, AdamW as it comes),
  packed (only tokens that are read), packed with AdamW as one kernel; that recorded as a CUDA graph for each
  size of batch, that with compiled blocks, and that with both;
- samples a second of the loader alone: one by one, as the kit did it before, and whole batches;
- `fit` itself, as it comes (recorded) and compiled too: milliseconds a step with everything, and the share
  of its wall time, first to last, in which the GPU computes;
- model FLOP/s (matrix products and attention, forward and backward) as a share of a large product's here.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode
from train_step import adamw, models, reference, stepper, timed_in_turn

from lart_mini.data import mini_ava
from lart_mini.lart import (
    LART,
    StageConfig,
    TokenBatch,
    TrackletDataset,
    masked_bce,
    plan_ahead,
    preset,
    stats_of,
    train,
    training_set,
)
from lart_mini.training import BucketSampler, recorded

WAYS = (
    "literal",
    "packed",
    "packed, fused",
    "packed, fused, recorded",
    "packed, fused, compiled",
    "packed, fused, compiled, recorded",
)
ROOT = Path(__file__).resolve().parent.parent


def whole_batches(dataset: TrackletDataset, batch: int) -> list[list[int]]:
    """Items of each full batch of an epoch."""
    sampler = BucketSampler([dataset.size(i) for i in range(len(dataset))], batch)
    return [indices for indices in sampler if len(indices) == batch]


def matrix_rate(device: str, precision: torch.dtype) -> float:
    """FLOP/s of a large matrix product: the best of ten."""
    size = 8192 if device == "cuda" else 1024
    a, b = (torch.randn(size, size, device=device, dtype=precision) for _ in range(2))
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    seconds = []
    for _ in range(12):
        wait()
        began = time.perf_counter()
        a @ b
        wait()
        seconds.append(time.perf_counter() - began)
    return 2 * size**3 / min(seconds[2:])


def flops(model: LART, batch: TokenBatch) -> int:
    """Of a training step on this batch, forward and backward."""
    with FlopCounterMode(display=False) as counter:
        masked_bce(model(batch), batch).backward()
    model.zero_grad()
    return counter.get_total_flops()


def step_times(config: Any, batches: Sequence[TokenBatch], options: argparse.Namespace) -> dict[str, float]:
    """Milliseconds a step of each version; those that do not fit into the memory are left out."""
    found = {}
    for name in WAYS:
        if ("compiled" in name and options.eager) or ("recorded" in name and options.device == "cpu"):
            continue
        model = models(config, options.device)["literal" if name == "literal" else "packed"]
        if "compiled" in name:
            model.compile(dynamic=True)
        optimizer = adamw(model, fused="fused" in name)
        step: Callable[[TokenBatch], Any] = stepper(model, options.device, options.precision, optimizer)
        with ExitStack() as stack:
            if "recorded" in name:
                step = stack.enter_context(recorded(step, optimizer, torch.device(options.device)))
            # Twice over all of them: that is when a size is recorded.
            warm_up = options.warm_up or 2 * len(batches)
            try:
                found[name] = 1000 * timed_in_turn({name: step}, batches, options.device, warm_up)[name]
            except torch.OutOfMemoryError:
                continue
    return found


def loader_rates(
    dataset: TrackletDataset, tracklets: Sequence[Any], stats: Any, options: argparse.Namespace
) -> dict[str, float]:
    """Samples a second, one thread, of both ways to put a batch together, which take turns."""
    place = torch.device("cpu")
    ways: dict[str, Callable[[list[int]], Any]] = {
        "one by one": reference("loader").one_by_one(dataset, tracklets, stats, labels="ground truth"),
        "whole batches": lambda indices: dataset.place(dataset.load(indices), place),
        "what a GPU waits for": dataset.load,
    }
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    batches = whole_batches(dataset, options.batch)[: options.steps] or [[0] * options.batch]
    seconds = dict.fromkeys(ways, 0.0)
    for turn in range(2):  # the first one warms up
        for indices in batches:
            for name, way in ways.items():
                began = time.perf_counter()
                way(indices)
                seconds[name] += (time.perf_counter() - began) * turn
    torch.set_num_threads(threads)
    return {name: options.batch * len(batches) / spent for name, spent in seconds.items()}


def covered(spans: Sequence[tuple[float, float]]) -> float:
    """Length of the union of intervals."""
    total, end = 0.0, float("-inf")
    for start, stop in sorted(spans):
        total += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return total


def whole_training(
    config: Any, dataset: TrackletDataset, settings: StageConfig, options: argparse.Namespace
) -> dict[str, float]:
    """`train` itself: milliseconds a step, and the share of its wall time in which the GPU computes."""
    torch.manual_seed(0)
    model = LART(config)
    train(model, dataset, replace(settings, epochs=1), progress=False)  # what compiles, does so here
    history = train(model, dataset, settings, progress=False)
    steps = len(history.loss)
    found = {"ms": 1000 * history.seconds / steps, "tokens/s": history.tokens_per_second}
    activity = ProfilerActivity.CUDA if options.device == "cuda" else ProfilerActivity.CPU
    with profile(activities=[activity]) as seen:
        began = time.perf_counter()
        train(model, dataset, settings, progress=False)
        wall = time.perf_counter() - began
    kind = DeviceType.CUDA if options.device == "cuda" else DeviceType.CPU
    events = [event for event in seen.profiler.kineto_results.events() if event.device_type() == kind]
    spans = [(event.start_ns(), event.start_ns() + event.duration_ns()) for event in events]
    spent: Counter[str] = Counter()
    for event in events:
        spent[event.name()] += event.duration_ns()
    for name, nanoseconds in spent.most_common(options.kernels):
        print(f"    {nanoseconds / 1e6 / steps:8.3f} ms a step  {name[:90]}")
    busy, last = covered(spans) / 1e9, max(end for _, end in spans)
    half = last - 1e9 * wall / 2  # by then every size of batch has come
    later = covered([(max(start, half), end) for start, end in spans if end > half]) / 1e9
    shares = {"busy": busy / wall, "busy, later half": later / (wall / 2)}
    return found | shares | {"GPU ms": 1000 * busy / steps, "kernels": len(spans) / steps}


def measure(name: str, options: argparse.Namespace, rate: float, results: dict[str, Any]) -> Iterator[None]:
    """All that is measured of a preset, put into `results` step by step."""
    config = preset(name)
    tracklets = mini_ava(options.size).tracklets("ava-train")
    stats = stats_of(tracklets)
    settings = StageConfig.pretrain(
        epochs=options.epochs, batch_size=options.batch, warmup_epochs=1, compile=True
    )
    dataset = training_set(tracklets, stats, config, "finetune", settings)
    assert isinstance(dataset, TrackletDataset)
    if options.loader:
        results["loader"] = loader_rates(dataset, tracklets, stats, options)
        yield
        return
    chosen = whole_batches(dataset, options.batch)[: options.steps]
    batches = []
    for indices in chosen:
        placed = dataset.place(plan_ahead(dataset.load(indices), config), torch.device(options.device))
        batches.append(TokenBatch(**{name: tensor.clone() for name, tensor in placed.tensors().items()}))
    work = sum(flops(LART(config).to(options.device), batch) for batch in batches) / len(batches)
    results |= {"tokens": float(sum(batch.tokens() for batch in batches)) / len(batches), "GFLOP": work / 1e9}
    shares = results["share of the matrix rate"] = dict[str, float]()
    results["steps"] = step_times(config, batches, options)
    shares |= {way: work / (ms / 1000) / rate for way, ms in results["steps"].items()}
    results["loader"] = loader_rates(dataset, tracklets, stats, options)
    yield
    for way in ("fit",) if options.eager else ("fit", "fit, compiled"):
        how = replace(settings, compile="compiled" in way)
        results[way] = whole_training(config, dataset, how, options)
        shares[way] = work / (results[way]["ms"] / 1000) / rate
        yield


def told(name: str, found: dict[str, Any]) -> str:
    """A preset's results as lines."""
    slow = found["loader"]["one by one"]
    loader = [
        f"  loader, {way:<24}{rate:11,.0f} samples/s   x {rate / slow:5.2f}"
        for way, rate in found["loader"].items()
    ]
    if "steps" not in found:
        return "\n".join([name, *loader])
    lines = [f"{name}: {found['tokens']:,.0f} tokens and {found['GFLOP'] / 1000:,.2f} TFLOP a step"]
    first = next(iter(found["steps"].values()))
    for way, share in found["share of the matrix rate"].items():
        ms = found[way]["ms"] if way in found else found["steps"][way]
        lines.append(f"  {way:<33}{ms:9.1f} ms   x {first / ms:5.2f}   {share:6.1%} of the matrix rate")
    for way in [way for way in found if way.startswith("fit")]:
        told = "busy {busy:.0%} (later half {busy, later half:.0%}), {GPU ms:.1f} ms, {kernels:,.0f} kernels"
        lines.append(f"  {way}: {told.format(**found[way])} a step, {found[way]['tokens/s']:,.0f} tokens/s")
    return "\n".join([*lines, *loader])


def main() -> None:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    parser.add_argument("--presets", nargs="+", default=["mini", "paper"])
    parser.add_argument("--size", default="gpu", help="of mini_ava")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=20, help="steps that are timed")
    parser.add_argument("--warm-up", type=int, default=0, help="steps before; by default twice as many")
    parser.add_argument("--epochs", type=int, default=2, help="of the whole training")
    parser.add_argument("--loader", action="store_true", help="measure the loader alone")
    parser.add_argument("--eager", action="store_true", help="compile nothing")
    parser.add_argument("--kernels", type=int, default=0, help="list so many that take longest in `fit`")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("no CUDA device here (--device cpu for a rehearsal)")
    options.precision = "bf16" if options.device == "cuda" else "float32"
    rate = matrix_rate(options.device, torch.bfloat16 if options.device == "cuda" else torch.float32)
    card = torch.cuda.get_device_name() if options.device == "cuda" else platform.processor() or "CPU"
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    results: dict[str, Any] = {"card": card, "torch": torch.__version__, "commit": commit}
    results |= {"command": " ".join(["python", *sys.argv]), "matrix TFLOP/s": rate / 1e12, "presets": {}}
    print(f"{card}, torch {torch.__version__}: {rate / 1e12:.2f} TFLOP/s in a {options.precision} product")
    for name in options.presets:
        found = results["presets"][name] = {}
        for _ in measure(name, options, rate, found):
            if options.json:  # what is measured is kept
                options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        print(told(name, found), flush=True)


if __name__ == "__main__":
    main()
