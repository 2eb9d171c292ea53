"""Published ST-GCN++ weights of pyskl and MMAction2: read weights only, and held against annotations.

Their backbone is `STGCNPP` under other names; their head is a mean over joints and frames, then over two
people, and a linear layer. Accuracies come out as published with `streams`' input alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lart_mini.files import BadInput, finite_number
from lart_mini.progress import progress as progress_bar
from lart_mini.reading.torch_files import load_torch
from lart_mini.skeletr.annotations import Skeleton, read_annotations
from lart_mini.skeletr.stgcnpp import LAYOUTS, STGCNPP, Layout, STGCNConfig
from lart_mini.skeletr.store import SkeletonStore, split_of, write_store
from lart_mini.skeletr.streams import FRAMES, FUSION, PEOPLE, STREAMS, Stream, check_layout, evaluation_input

Model = tuple[STGCNPP, nn.Linear, Layout]
# Our names of weights, and the published ones behind `backbone.`, where they stand behind it.
RENAMED = (
    (r"^norm\.", "data_bn."),
    (r"^blocks\.(\d+)\.", r"gcn.\1."),
    (r"\.space\.graph$", ".gcn.A"),
    (r"\.space\.(conv)\.", r".gcn.\1."),
    (r"\.space\.norm\.", ".gcn.bn."),
    (r"\.space\.short\.", ".gcn.down."),
    (r"\.time\.branches\.([0-3])\.3\.", r".tcn.branches.\1.3.conv."),
    (r"\.time\.branches\.", ".tcn.branches."),
    (r"\.time\.mix\.3\.", ".tcn.bn."),
    (r"\.time\.mix\.", ".tcn.transform."),
    (r"\.residual\.0\.", ".residual.conv."),
    (r"\.residual\.1\.", ".residual.bn."),
)
HEADS = ("cls_head.fc_cls.", "cls_head.fc.")  # pyskl's and MMAction2's
WEIGHTS_ALONE = (
    "weights and plain settings only (torch.save({'state_dict': model.state_dict()}, path), "
    "where the file was made, leaves the rest out)"
)


def load_pyskl(path: str | Path, strides: Sequence[int] | None = None) -> Model:
    """A published checkpoint as (backbone, head, layout), in eval mode; nothing in the file runs.

    Its forms: {meta, state_dict, …} of pyskl or of MMAction2, and the names alone. Widths, channels and
    layout come from the shapes. `strides`, a number a block, stand in no shape: by default 2 where the width
    grows or a residual has weights without need, as in all published ones.
    Raises BadInput for anything else, naming every weight that is missing or left over.
    """
    weights = _weights(path)
    named = [head for head in HEADS if f"{head}weight" in weights]
    if len(named) != 1:
        raise BadInput(path, "head", " or ".join(f"{head}weight" for head in HEADS), named or "neither")
    head = {part: weights.pop(f"{named[0]}{part}", torch.empty(0)) for part in ("weight", "bias")}
    behind = any(name.startswith("backbone.") for name in weights)
    weights = {name.removeprefix("backbone.") if behind else name: x for name, x in weights.items()}
    config = _config(path, weights, strides)
    with torch.device("meta"):  # shapes only, the weights follow
        backbone, linear = STGCNPP(config), nn.Linear(config.widths[-1], max(1, len(head["weight"])))
    own = {_published_name(name): weight.shape for name, weight in backbone.state_dict().items()}
    _check(path, own | {f"{named[0]}{part}": x.shape for part, x in linear.state_dict().items()},
           weights | {f"{named[0]}{part}": x for part, x in head.items()})  # fmt: skip
    backbone.load_state_dict(
        {name: weights[_published_name(name)] for name in backbone.state_dict()}, assign=True
    )
    linear.load_state_dict(head, assign=True)
    return backbone.eval(), linear.eval(), LAYOUTS[config.layout]


def _weights(path: str | Path) -> dict[str, Tensor]:
    try:
        content = load_torch(path)
    except BadInput as problem:
        if problem.field != "pickle":
            raise
        raise BadInput(path, "pickle", WEIGHTS_ALONE, problem.found) from None
    state = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not state:
        raise BadInput(path, "state_dict", "weights by name", type(state).__name__)
    for name, weight in state.items():
        if not isinstance(name, str) or not isinstance(weight, Tensor):
            raise BadInput(path, f"state_dict[{name!r}]", "a tensor", type(weight).__name__)
    return dict(state)


def _config(path: str | Path, weights: Mapping[str, Tensor], strides: Sequence[int] | None) -> STGCNConfig:
    """The sizes that these weights' shapes tell of."""

    def shape(name: str, axes: int) -> tuple[int, ...]:
        found = tuple(weights[name].shape) if name in weights else None
        if found is None or len(found) != axes or 0 in found:
            told = "no such tensor" if found is None else f"shape {found}"
            raise BadInput(path, name, f"a weight of ST-GCN++ with {axes} axes", told)
        return found

    joints = shape("gcn.0.gcn.A", 3)[-1]
    layout = next((one.name for one in LAYOUTS.values() if one.joints == joints), None)
    if layout is None:
        known = ", ".join(f"{one.joints} ({one.name})" for one in LAYOUTS.values())
        raise BadInput(path, "gcn.0.gcn.A", f"a layout of {known} joints", f"{joints}")
    blocks = sorted({int(match[1]) for name in weights if (match := re.match(r"gcn\.(\d{1,4})\.", name))})
    if blocks != list(range(len(blocks))):
        raise BadInput(path, "blocks", f"gcn.0 to gcn.{len(blocks) - 1}", blocks)
    widths = tuple(shape(f"gcn.{block}.tcn.transform.0.weight", 1)[0] for block in blocks)
    if strides is None:
        grows = (False, *(before != width for before, width in pairwise(widths)))
        strides = [1 + (grow or f"gcn.{i}.residual.conv.weight" in weights) for i, grow in enumerate(grows)]
    channels = shape("data_bn.weight", 1)[0] // joints
    try:
        return STGCNConfig(layout, channels, widths, tuple(strides), padded="zeros")
    except BadInput as problem:
        raise BadInput(path, problem.field, problem.expected, problem.found) from None


def _published_name(name: str) -> str:
    for ours, theirs in RENAMED:
        name = re.sub(ours, theirs, name)
    return name


def _check(path: str | Path, expected: Mapping[str, torch.Size], weights: Mapping[str, Tensor]) -> None:
    """Raise BadInput for all names that are missing or left over, and the first tensor that is not sound."""
    missing, left = sorted(expected.keys() - weights.keys()), sorted(weights.keys() - expected.keys())
    if missing or left:
        lists = [f"{len(names)} {what}: {', '.join(names)}" for names, what in
                 ((missing, "missing"), (left, "left over")) if names]  # fmt: skip
        raise BadInput(path, "state_dict", "ST-GCN++'s names, each once", "; ".join(lists))
    for name, shape in expected.items():
        weight = weights[name]
        if weight.shape != shape:
            raise BadInput(path, name, f"shape {tuple(shape)}", f"shape {tuple(weight.shape)}")
        counts = name.endswith("num_batches_tracked")
        if weight.is_floating_point() == counts or not weight.isfinite().all():
            raise BadInput(path, name, "finite numbers", f"{weight.dtype}, not all of them finite numbers")
        if name.endswith("running_var") and (weight < 0).any():
            raise BadInput(path, name, "no number below 0", f"{weight.min():g}")


# ---------------------------------------------------------------------------------------------- evaluation


@dataclass(frozen=True)
class Accuracy:
    """How often the right class is the first, or one of five; and the first class by class, averaged."""

    top1: float
    top5: float
    mean_class: float
    annotations: int

    def text(self) -> str:
        """In one line, in percent."""
        parts = (("top-1", self.top1), ("top-5", self.top5), ("mean class accuracy", self.mean_class))
        told = ", ".join(f"{name} {100 * value:.2f} %" for name, value in parts)
        return f"{told} of {self.annotations:,} annotations"


def accuracy(scores: NDArray[np.float64], label: NDArray[np.int64]) -> Accuracy:
    """Of scores (N, classes) and labels (N,)."""
    rank = np.argsort(-scores, axis=1, kind="stable")
    first = rank[:, 0] == label
    by_class = [first[label == one].mean() for one in np.unique(label)]
    among = (rank[:, :5] == label[:, None]).any(1)
    return Accuracy(float(first.mean()), float(among.mean()), float(np.mean(by_class)), len(label))


@torch.inference_mode()
def class_scores(
    backbone: STGCNPP,
    head: nn.Linear,
    store: SkeletonStore,
    which: NDArray[np.int64],
    stream: Stream = "joint",
    batch_size: int = 4,
    progress: bool = True,
) -> NDArray[np.float64]:
    """Probabilities (N, classes) of annotations `which` (N,), the mean over ten clips, as published."""
    layout, device = LAYOUTS[backbone.config.layout], head.weight.device
    empty = torch.zeros(1, FRAMES, layout.joints, 3, device=device)
    nobody = backbone.sequences(empty).mean((2, 3))  # of a person who is missing: the same in all clips
    found = []
    for start in progress_bar(range(0, len(which), batch_size), unit="batch", disable=not progress):
        part = which[start : start + batch_size]
        x = evaluation_input(store, part, layout, stream).to(device)  # (B,K,M,T,V,C)
        there = torch.arange(PEOPLE) < torch.from_numpy(store.people[part])[:, None]  # (B,M)
        slots = there[:, None].expand(x.shape[:3]).to(device)  # (B,K,M)
        features = nobody.expand(*x.shape[:3], -1).clone()
        features[slots] = backbone.sequences(x[slots]).mean((2, 3))
        found.append(head(features.mean(2)).softmax(-1).mean(1))
    return torch.cat(found).double().cpu().numpy()


def named_streams(checkpoints: Sequence[Path], names: Sequence[str]) -> dict[Stream, Path]:
    """Checkpoints by the name of their stream. Raises BadInput for other names or numbers."""
    known: dict[str, Stream] = {name: name for name in STREAMS}
    if len(checkpoints) != len(names) or len(set(names)) != len(names) or not set(names) <= set(known):
        expected = f"one of {', '.join(known)} for each checkpoint, none twice"
        raise BadInput("--stream", "streams", expected, f"{', '.join(names)} for {len(checkpoints)}")
    return {known[name]: path for name, path in zip(names, checkpoints, strict=True)}


def evaluate_pyskl(
    checkpoints: Mapping[Stream, str | Path],
    annotations: str | Path,
    split: str,
    weights: Mapping[Stream, float] = FUSION,
    device: torch.device | None = None,
) -> dict[str, Accuracy]:
    """Accuracy of published weights on a split, for each stream; for several also `fused`.

    annotations: a store, or an annotation file, which is converted for this time alone. Fused: each stream's
    scores times its weight, added up. Raises BadInput as `load_pyskl` and `convert_annotations`, for weights
    that add up to 0, and where checkpoint and annotations have other joints, or a label has no class.
    """
    for weight in weights.values():
        finite_number("--weights", "weight", weight, 0)
    if sum(weights[stream] for stream in checkpoints) == 0:
        raise BadInput("--weights", "weights", "one above 0", tuple(weights.values()))
    models = {stream: load_pyskl(path) for stream, path in checkpoints.items()}
    with ExitStack() as stack:
        if Path(annotations).is_file():
            folder = Path(stack.enter_context(TemporaryDirectory())) / "store"
            classes = min(head.out_features for _, head, _ in models.values())
            splits, skeletons = read_annotations(annotations, classes=classes)
            split_of(annotations, splits, split)
            first = next(skeletons)
            _fit(checkpoints, models, first, annotations)
            store = write_store(folder, splits, chain([first], skeletons))
            store.source = Path(annotations)
        else:
            store = SkeletonStore(annotations)
            _fit(checkpoints, models, store, annotations)
        which = store.split(split)
        found, fused = dict[str, Accuracy](), np.zeros(1)
        for stream, (backbone, head, _) in models.items():
            _check_labels(checkpoints[stream], head, store, which)
            backbone.to(device), head.to(device)
            scores = class_scores(backbone, head, store, which, stream)
            found[stream] = accuracy(scores, store.label[which])
            fused = fused + weights[stream] * scores
        return found | ({"fused": accuracy(fused, store.label[which])} if len(found) > 1 else {})


def _fit(
    checkpoints: Mapping[Stream, str | Path], models: Mapping[Stream, Model], shown: Skeleton | SkeletonStore,
    source: str | Path,
) -> None:  # fmt: skip
    """Raise BadInput where what annotations show is not what a checkpoint reads."""
    for stream, (backbone, _, layout) in models.items():
        check_layout(checkpoints[stream], layout, shown, source)
        if backbone.config.channels != 3:
            raise BadInput(checkpoints[stream], "channels", "3, of a joint", backbone.config.channels)


def _check_labels(path: str | Path, head: nn.Linear, store: SkeletonStore, which: NDArray[np.int64]) -> None:
    """Raise BadInput where a checkpoint has no class of an annotation's label."""
    over = which[store.label[which] >= head.out_features]
    if len(over):
        name, label = store.frame_dir[over[0]], store.label[over[0]]
        raise BadInput(
            store.source, f"{name}, label", f"below {head.out_features}, the classes of {path}", label
        )
