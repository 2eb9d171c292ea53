"""What a training step costs beside the literal one, which computes every token and writes every mask out.

    python benchmarks/train_step.py                               paper preset on mini_ava, CPU
    python benchmarks/train_step.py --appearance 1152             with appearance vectors as a second input
    python benchmarks/train_step.py --device cuda --precision bf16 --batch 64 --steps 20 --warm-up 5
    python benchmarks/train_step.py --grow --plot step.png --json step.json    cost against T, P and gaps

A step is forward, backward and AdamW. Both versions start from the same weights and see the same batches:
tracklets of mini_ava's training part as they come in training, P = 5 slots, T = 128 frames, 40 % of the
detected tokens masked. The versions take turns; memory is measured with each in a process of its own.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lart_mini.data import mini_ava
from lart_mini.lart import LART, LARTConfig, TokenBatch, TrackletDataset, masked_bce, random_mask, stats_of
from lart_mini.training import BucketSampler

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ("literal", "packed")
SMALL = {"width": 128, "pose_width": 128, "depth": 4, "heads": 4}  # of --grow


def reference(name: str) -> Any:
    """A literal version out of tests/reference."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tests" / "reference" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def literal_model(config: LARTConfig) -> nn.Module:
    """tests/reference/dense.py, wrapped so that it reads a TokenBatch."""
    module = reference("dense")

    class Literal(module.DenseLART):  # type: ignore[name-defined, misc]
        def forward(self, batch: TokenBatch) -> Tensor:
            return super().forward(batch.pose, batch.detected, batch.masked, batch.appearance)

    return Literal(config)


def models(config: LARTConfig, device: str) -> dict[str, nn.Module]:
    """Both versions, with the same weights."""
    torch.manual_seed(0)
    packed, literal = LART(config), literal_model(config)
    literal.load_state_dict(packed.state_dict())
    return {"literal": literal.to(device).train(), "packed": packed.to(device).train()}


def real_batches(size: str, batch: int, count: int, appearance: int, epoch: int = 0) -> list[TokenBatch]:
    """`count` batches of mini_ava's training part, cut as in training but with all 5 slots kept."""
    tracklets = mini_ava(size).tracklets("ava-train")
    stats = stats_of(tracklets)
    dataset = TrackletDataset(tracklets, frames=128, people=5, stats=stats, train=True, mask_ratio=0.4)
    sampler = BucketSampler([dataset.size(i) for i in range(len(dataset))], batch)
    sampler.set_epoch(epoch)
    whole = [indices for indices in sampler if len(indices) == batch]
    batches = []
    for step in range(count):
        items = [dataset[i].tensors() for i in whole[step % len(whole)]]
        joined = TokenBatch(**{name: torch.cat([item[name] for item in items]) for name in items[0]})
        if appearance:  # mini_ava has none; what the numbers are changes no cost
            joined = replace(joined, appearance=torch.randn(*joined.detected.shape, appearance))
        batches.append(joined)
    return batches


def made_up_batch(size: int, people: int, frames: int, gaps: float) -> TokenBatch:
    """Everybody present, a share `gaps` of the frames without a detection."""
    generator = torch.Generator().manual_seed(0)
    shape = (size, people, frames)
    detected = torch.rand(shape, generator=generator) >= gaps
    return TokenBatch(
        pose=torch.randn(*shape, 229, generator=generator),
        present=torch.ones(shape[:2], dtype=torch.bool),
        detected=detected,
        labels=(torch.rand(*shape, 60, generator=generator) < 0.05).float(),
        label_weight=detected.float(),
        masked=random_mask(detected, 0.4, generator),
    )


def adamw(model: nn.Module, fused: bool = False) -> torch.optim.Optimizer:
    """The optimizer, as it comes or as one kernel."""
    settings: dict[str, Any] = {"lr": 1e-4, "betas": (0.9, 0.95), "weight_decay": 0.05}
    return torch.optim.AdamW(model.parameters(), **settings, fused=fused or None)


def stepper(
    model: nn.Module, device: str, precision: str, optimizer: torch.optim.Optimizer | None = None
) -> Callable[[TokenBatch], tuple[Tensor]]:
    """One training step as a function of the batch, which gives the loss."""
    optimizer = optimizer or adamw(model)

    def step(batch: TokenBatch) -> tuple[Tensor]:
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16) if precision == "bf16" else nullcontext():
            logits = model(batch)
        loss = masked_bce(logits, batch)
        loss.backward()
        optimizer.step()
        return (loss.detach(),)

    return step


def timed_in_turn(
    steps: Mapping[str, Callable[[TokenBatch], Any]], batches: Sequence[TokenBatch], device: str, warm_up: int
) -> dict[str, float]:
    """Seconds a step of each version, after `warm_up` steps that do not count.

    The versions take turns on every batch, so that whatever else the machine does slows both alike.
    """
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    seconds = dict.fromkeys(steps, 0.0)
    for i in range(-warm_up, len(batches)):
        for version, step in steps.items():
            wait()
            start = time.perf_counter()
            step(batches[i % len(batches)])
            wait()
            seconds[version] += (time.perf_counter() - start) * (i >= 0) / len(batches)
    return seconds


def gradient_difference(pair: dict[str, nn.Module], batch: TokenBatch, device: str) -> tuple[float, float]:
    """Largest difference of a gradient without dropout, in float32, and the largest gradient."""
    gradients = {}
    for name, model in pair.items():
        model = copy.deepcopy(model).eval()
        masked_bce(model(batch.to(device)), batch.to(device)).backward()
        gradients[name] = {key: p.grad for key, p in model.named_parameters() if p.grad is not None}
    literal, packed = gradients["literal"], gradients["packed"]
    difference = max(float((literal[key] - packed[key]).abs().max()) for key in packed)
    return difference, max(float(gradient.abs().max()) for gradient in literal.values())


def peak_memory(device: str) -> float:
    """GiB: of the process on a CPU, of the tensors on a GPU."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def memory_alone(version: str, options: argparse.Namespace) -> dict[str, float]:
    """Memory of one version's training, in this process."""
    batches = real_batches(options.size, options.batch, options.steps, options.appearance)
    model = models(config_of(options), "cpu")[version].to(options.device)
    before = peak_memory(options.device)
    step = stepper(model, options.device, options.precision)
    for batch in batches[:2]:
        step(batch.to(options.device))
    return {"GiB": peak_memory(options.device), "GiB before the first step": before}


def config_of(options: argparse.Namespace) -> LARTConfig:
    appearance = {"appearance": options.appearance, "appearance_width": 256} if options.appearance else {}
    return LARTConfig.paper(**appearance)


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """Both versions: memory, each in its own process; then gradients side by side, and time in turns."""
    results: dict[str, Any] = {}
    for version in VERSIONS:  # before this process grows: a child's peak begins at its parent's size
        command = [sys.executable, __file__, *sys.argv[1:], "--child", version]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        results[version] = json.loads(output.splitlines()[-1])
    batches = real_batches(options.size, options.batch, options.steps, options.appearance)
    detected = torch.stack([batch.detected.float().mean() for batch in batches]).mean()
    people = torch.stack([batch.present.sum(dim=1).float().mean() for batch in batches]).mean()
    print(f"paper preset, T = 128, P = 5, batches of {options.batch}, {options.device}, {options.precision}")
    print(f"people in a sample {people:.2f}, share of the 640 tokens with a detection {detected:.0%}")
    results |= {"people": float(people), "detected": float(detected)}
    pair = models(config_of(options), options.device)
    difference, largest = gradient_difference(pair, batches[0], options.device)
    results |= {"gradient difference": difference, "largest gradient": largest}
    steps = {version: stepper(model, options.device, options.precision) for version, model in pair.items()}
    placed = [batch.to(options.device) for batch in batches]
    seconds = timed_in_turn(steps, placed, options.device, options.warm_up)
    for version in VERSIONS:
        results[version]["ms"] = 1000 * seconds[version]
        print(f"{version:<8}", *(f"  {key} {value:.4g}" for key, value in results[version].items()))
    results["ratio"] = seconds["literal"] / seconds["packed"]
    print(f"ratio     {results['ratio']:.2f}")
    print(f"largest difference of a gradient {difference:.1e}, largest gradient {largest:.1e} (float32)")
    return results


def grow(options: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds a step of a small model against T, P and the share of gaps, both versions."""
    usual = {"frames": 128, "people": 3, "gaps": 0.2}
    ranges: dict[str, list[float]] = {
        "frames": [32, 64, 128, 192],
        "people": [1, 2, 3, 4, 5],
        "gaps": [0, 0.2, 0.4, 0.6, 0.8],
    }
    results: dict[str, Any] = {}
    where = f"batches of {options.batch}, {options.device}, {options.precision}"
    print(f"4 layers of width 128, {where}; otherwise {usual}")
    for axis, values in ranges.items():
        results[axis] = []
        for value in values:
            place: dict[str, Any] = usual | {axis: value}
            pair = models(LARTConfig(frames=place["frames"], people=place["people"], **SMALL), options.device)
            batch = made_up_batch(options.batch, **place).to(options.device)
            row: dict[str, float] = {axis: value}
            steps = {name: stepper(model, options.device, options.precision) for name, model in pair.items()}
            seconds = timed_in_turn(steps, [batch] * options.steps, options.device, options.warm_up)
            row |= {version: 1000 * each for version, each in seconds.items()}
            results[axis].append(row)
            print(
                f"{axis:<7} {value:<5}  literal {row['literal']:8.1f} ms  packed {row['packed']:8.1f} ms",
                flush=True,
            )
    return results


def plot(results: dict[str, Any], path: Path) -> None:
    """The table of `grow` as a picture, one panel an axis."""
    from lart_mini.figures import new_figure

    figure = new_figure(9, 3.2, "Cost of a training step")
    names = {"frames": "frames T", "people": "people P", "gaps": "share of gaps"}
    for axes, (axis, label) in zip(figure.subplots(1, 3, sharey=True), names.items(), strict=True):
        for version, style in zip(VERSIONS, ("o--", "o-"), strict=True):
            rows = results[axis]
            axes.plot([row[axis] for row in rows], [row[version] for row in rows], style, label=version)
        axes.set_xlabel(label)
    figure.axes[0].set(ylabel="milliseconds a step", ylim=(0, None))
    figure.axes[0].legend(frameon=False)
    figure.savefig(path, dpi=100)


def main() -> None:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=["float32", "bf16"], default="float32")
    parser.add_argument("--batch", type=int, default=2, help="samples a step")
    parser.add_argument("--steps", type=int, default=4, help="steps that are timed")
    parser.add_argument("--warm-up", type=int, default=1, help="steps before, which do not count")
    parser.add_argument("--size", default="smoke", help="of mini_ava")
    parser.add_argument("--appearance", type=int, default=0, help="width of appearance vectors; 0: pose only")
    parser.add_argument("--grow", action="store_true", help="cost against T, P and the share of gaps")
    parser.add_argument("--plot", type=Path, help="picture of --grow")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--child", choices=VERSIONS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(memory_alone(options.child, options)))
        return
    results = grow(options) if options.grow else compare(options)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    if options.grow and options.plot:
        plot(results, options.plot)


if __name__ == "__main__":
    main()
