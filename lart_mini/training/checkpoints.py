"""Checkpoints: weights, config and notes in one safetensors file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, from_numpy

from lart_mini.files import BadInput, atomic_path
from lart_mini.lart.model import LART, LARTConfig
from lart_mini.lart.tokens import Stats

FORMAT = "lart_mini.checkpoint.1"


def save_checkpoint(path: str | Path, model: LART, stats: Stats, meta: dict[str, Any] | None = None) -> None:
    """Write the model's weights and config, the stats its input is normalised by, and `meta` (JSON)."""
    weights = model.state_dict().items()
    tensors = {f"model.{name}": value.detach().cpu().contiguous() for name, value in weights}
    tensors |= {f"stats.{part}": from_numpy(getattr(stats, part).copy()) for part in ("mean", "std")}
    config = json.dumps(asdict(model.config))
    header = {"format": FORMAT, "config": config, "meta": json.dumps(meta or {})}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, header)


def load_checkpoint(path: str | Path) -> tuple[LART, Stats, dict[str, Any]]:
    """The model (CPU, eval mode), its stats, and `meta`. Raises BadInput for anything but a checkpoint."""
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}
    except SafetensorError as error:
        raise BadInput(path, "file", "a safetensors checkpoint", " ".join(str(error).split())[:80]) from None
    if header.get("format") != FORMAT:
        raise BadInput(path, "format", FORMAT, header.get("format"))
    try:
        config = _config(json.loads(header["config"]))
        meta = json.loads(header["meta"])
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(path, "config", "a LARTConfig", " ".join(str(error).split())[:80]) from None
    model = LART(config)
    expected = {f"model.{name}": value.shape for name, value in model.state_dict().items()}
    expected |= {"stats.mean": (229,), "stats.std": (229,)}
    _check_tensors(path, expected, tensors)
    mean, std = (tensors.pop(f"stats.{part}").numpy().astype(np.float32) for part in ("mean", "std"))
    model.load_state_dict({name.removeprefix("model."): value for name, value in tensors.items()})
    return model.eval(), Stats(mean, std), meta


def _config(values: dict[str, Any]) -> LARTConfig:
    missing = [field.name for field in fields(LARTConfig) if field.name not in values]
    if missing:
        raise ValueError(f"one without {', '.join(missing)}")
    plain: dict[str, Any] = {name: tuple(x) if isinstance(x, list) else x for name, x in values.items()}
    return LARTConfig(**plain)


def _check_tensors(path: str | Path, expected: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    for name in sorted(expected.keys() ^ tensors.keys()):
        found = "no such tensor" if name in expected else "a tensor that the config has no place for"
        raise BadInput(path, name, "the tensors that the config asks for", found)
    for name, shape in expected.items():
        if tensors[name].shape != shape:
            raise BadInput(path, name, f"shape {tuple(shape)}", f"shape {tuple(tensors[name].shape)}")
