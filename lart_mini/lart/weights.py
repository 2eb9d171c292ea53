"""A LART's weights: our own checkpoints, and the published one, read weights only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, from_numpy

from lart_mini.files import BadInput
from lart_mini.lart.config import LARTConfig
from lart_mini.lart.model import LART
from lart_mini.lart.tokens import Stats, load_stats
from lart_mini.reading.pickles import plain_dict, record
from lart_mini.reading.torch_files import load_torch
from lart_mini.tracklets.tracklet import VECTOR_WIDTH
from lart_mini.training.checkpoints import check_tensors, load_checkpoint, save_checkpoint


def save_model(path: str | Path, model: LART, stats: Stats, meta: dict[str, Any] | None = None) -> None:
    """Write the model's weights and config, the stats its input is normalised by, and `meta` (JSON)."""
    beside = {f"stats.{part}": from_numpy(getattr(stats, part).copy()) for part in ("mean", "std")}
    save_checkpoint(path, model, model.config, beside, meta)


def load_model(path: str | Path) -> tuple[LART, Stats, dict[str, Any]]:
    """The model (CPU, eval mode), its stats, and `meta`. Raises BadInput for anything but a checkpoint."""
    beside = {"stats.mean": (VECTOR_WIDTH,), "stats.std": (VECTOR_WIDTH,)}
    model, found, meta = load_checkpoint(path, LARTConfig, LART, beside)
    if (found["stats.std"] < 0).any():
        raise BadInput(path, "stats.std", "no number below 0", f"{found['stats.std'].min():g}")
    if not isinstance(meta, dict):
        raise BadInput(path, "meta", "an object", type(meta).__name__)
    return model, Stats(*(found[name].float().numpy() for name in beside)), meta


def read_model(path: str | Path, stats: str | Path | None = None) -> tuple[LART, Stats]:
    """Our checkpoint, or the published one, which needs the file of statistics published with it.

    `stats` given stands in for our checkpoint's own. Raises BadInput.
    """
    if Path(path).suffix == ".safetensors":
        model, own, _ = load_model(path)
        return model, own if stats is None else load_stats(stats)
    if stats is None:
        raise BadInput(path, "stats", "mean_std.npy, which belongs to the published weights", "none")
    sizes = LARTConfig.released()  # the encoding's table has room for more than was trained on
    return load_released(path, people=sizes.people, frames=sizes.frames), load_stats(stats)


# What the published file names beside its weights: settings and the trainer's notes. Each name gets a
# record that does nothing in its place, so that none of it runs; any other name is refused, never looked up.
INERT = {
    "omegaconf.dictconfig": "DictConfig",
    "omegaconf.listconfig": "ListConfig",
    "omegaconf.base": "ContainerMetadata Metadata",
    "omegaconf.nodes": "AnyNode BooleanNode BytesNode EnumNode FloatNode IntegerNode PathNode StringNode",
    "typing": "Any Dict List Optional Tuple Union",
    "builtins": "bool bytes dict float int list object str tuple",
    "pathlib": "Path PosixPath PurePosixPath WindowsPath",
    "pathlib._local": "Path PosixPath PurePosixPath WindowsPath",
    "argparse": "Namespace",
}
INERT_DICTS = {
    "collections": "defaultdict",
    "lightning.fabric.utilities.data": "AttributeDict",
    "lightning.pytorch.utilities.parsing": "AttributeDict",
    "pytorch_lightning.utilities.parsing": "AttributeDict",
}
STAND_INS = {
    f"{module}.{name}": maker
    for names, maker in ((INERT, record), (INERT_DICTS, plain_dict))
    for module, listed in names.items()
    for name in listed.split()
}
# Our names of weights, and the published file's.
RENAMED = (
    (r"^blocks\.(\d+)\.norm1\.", r"transformer.layers.\1.0.norm."),
    (r"^blocks\.(\d+)\.attention\.qkv\.", r"transformer.layers.\1.0.fn.to_qkv."),
    (r"^blocks\.(\d+)\.attention\.out\.", r"transformer.layers.\1.0.fn.to_out.0."),
    (r"^blocks\.(\d+)\.norm2\.", r"transformer.layers.\1.1.norm."),
    (r"^blocks\.(\d+)\.mlp\.0\.", r"transformer.layers.\1.1.fn.net.0."),
    (r"^blocks\.(\d+)\.mlp\.2\.", r"transformer.layers.\1.1.fn.net.3."),
    (r"^pose_encoder\.", "pose_shape_encoder."),
    (r"^joints_encoder\.", "joint_encoder."),
    (r"^appearance_encoder\.", "apperance_encoder."),
    (r"^head\.", "action_head_ava.0.0."),
    (r"^encoding$", "pos_embedding"),
)
# What LART's action scores do not depend on: `smpl.` is the trainer's copy of the body.
UNUSED = re.compile(r"(class_token|pe)$|(conv_en|conv_de|smpl_head|loca_head|action_head_kinetics|smpl)\.")


def load_released(
    path: str | Path,
    *,
    heads: int = 16,
    dim_head: int = 64,
    people: int | None = None,
    frames: int | None = None,
) -> LART:
    """LART's published Lightning checkpoint as a model in eval mode: weights only, nothing in the file runs.

    Everything is inferred from the shapes of the weights but the number of heads and their width. people,
    frames: the most a sample may have; None: all that the table of encodings has (10 and 250).
    Raises BadInput for anything else than such a file, naming the weight, what was expected, and what found.
    """
    published = _Published(path, _released_weights(path))
    config, weights = published.config(heads, dim_head, people, frames), dict(published.weights)
    table = weights["pos_embedding"].permute(2, 1, 0)  # (person, time, D)
    weights["pos_embedding"] = table[: config.people, : config.frames]
    with torch.device("meta"):  # shapes only, the weights follow
        model = LART(config)
    check_tensors(path, {_released_name(n): w.shape for n, w in model.state_dict().items()}, weights)
    for name, weight in weights.items():
        if not weight.is_floating_point() or not weight.isfinite().all():
            raise BadInput(path, name, "finite numbers", f"{weight.dtype}, not all of them finite numbers")
    ours = {name: weights[_released_name(name)].float().contiguous() for name in model.state_dict()}
    model.load_state_dict(ours, assign=True)
    return model.eval()


def _released_weights(path: str | Path) -> dict[str, Tensor]:
    """The published file's tensors that LART's scores depend on, without the prefix `encoder.`."""
    content = load_torch(path, STAND_INS)
    state = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not state:
        raise BadInput(path, "state_dict", "weights by name", type(state).__name__)
    weights = {}
    for name, weight in state.items():
        if not isinstance(name, str) or not isinstance(weight, Tensor):
            raise BadInput(path, f"state_dict[{name!r}]", "a tensor", type(weight).__name__)
        name = name.removeprefix("encoder.")
        if not UNUSED.match(name):
            weights[name] = weight.detach()
    return weights


def _released_name(name: str) -> str:
    for ours, theirs in RENAMED:
        name = re.sub(ours, theirs, name)
    return name


@dataclass(frozen=True)
class _Published:
    """The published weights, and what their shapes say. All raise BadInput where these contradict a LART."""

    path: str | Path
    weights: dict[str, Tensor]

    def shape(self, name: str, axes: int = 2) -> tuple[int, ...]:
        """Shape of a weight that must be there."""
        if name not in self.weights:
            raise BadInput(self.path, name, "a weight", "no such tensor")
        shape = tuple(self.weights[name].shape)
        if len(shape) != axes or 0 in shape:
            raise BadInput(self.path, name, f"{axes} axes, none empty", f"shape {shape}")
        return shape

    def widths(self, encoder: str) -> tuple[int, ...]:
        """Of an encoder's input, hidden layers and output; (0, 0) where there is none."""
        found = (re.fullmatch(rf"{encoder}\.(\d+)\.weight", name) for name in self.weights)
        layers = sorted(int(match[1]) for match in found if match)
        shapes = [self.shape(f"{encoder}.{layer}.weight") for layer in layers]
        return (shapes[0][1], *(outputs for outputs, _ in shapes)) if shapes else (0, 0)

    def config(self, heads: int, dim_head: int, people: int | None, frames: int | None) -> LARTConfig:
        """The config of the model these weights belong to."""
        (width,) = self.shape("mask_token", axes=1)
        table = self.shape("pos_embedding", axes=3)
        asked = (width, frames or table[1], people or table[2])
        self._agree(
            "pos_embedding", f"shape {asked} or longer", table, table[1] >= asked[1] and table[2] >= asked[2]
        )
        qkv = "transformer.layers.0.0.fn.to_qkv.weight"
        rows, wanted = self.shape(qkv)[0], 3 * heads * dim_head
        self._agree(qkv, f"{wanted} rows for {heads} heads of width {dim_head}", rows, rows == wanted)
        classes = self.shape("action_head_ava.0.0.weight")[0]
        self._agree("action_head_ava.0.0.weight", "60 or 80 classes", classes, classes in (60, 80))
        encoders = ("pose_shape_encoder", "joint_encoder", "apperance_encoder")
        pose, joints, appearance = (self.widths(encoder) for encoder in encoders)
        outputs = [pose[-1], joints[-1], appearance[-1]]
        self._agree(", ".join(encoders), f"{width} outputs together", outputs, sum(outputs) == width)
        layers = (re.match(r"transformer\.layers\.(\d+)\.", name) for name in self.weights)
        sizes: dict[str, Any] = {
            "people": asked[2],
            "frames": asked[1],
            "width": width,
            "depth": len({match[1] for match in layers if match}),
            "heads": heads,
            "head_width": dim_head,
            "mlp_ratio": self.shape("transformer.layers.0.1.fn.net.0.weight")[0] / width,
            "pose_width": pose[-1],
            "pose_hidden": pose[1:-1],
            "joints_width": joints[-1],
            "joints_hidden": joints[1:-1],
            "appearance": appearance[0],
            "appearance_width": appearance[-1],
            "appearance_hidden": appearance[1:-1],
            "classes": classes,
        }
        try:
            return LARTConfig.released(**sizes)
        except ValueError as error:
            raise BadInput(self.path, "weights", "shapes of a LART", error) from None

    def _agree(self, name: str, expected: str, found: object, agrees: bool) -> None:
        if not agrees:
            raise BadInput(self.path, name, expected, found)
