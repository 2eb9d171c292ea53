"""Checkpoints: weights, config and notes in one safetensors file; and where a training is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from lart_mini.files import BadInput, atomic_path, sha256
from lart_mini.reading.text import parse_json, read_json

FORMAT = "lart_mini.checkpoint.1"
MOST_NOTES = 10_000_000  # values in `meta`: a history has two a step, the paper's pre-training 700,000 steps
FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)

C = TypeVar("C")
M = TypeVar("M", bound=nn.Module)


def save_checkpoint(
    path: str | Path,
    model: nn.Module,
    config: Any,
    beside: Mapping[str, Tensor] | None = None,
    meta: dict[str, Any] | None = None,
) -> None:
    """Write a model's weights, its `config` (a dataclass), tensors that go with it, and `meta` (JSON).

    The same content gives the same bytes.
    """
    tensors = {f"model.{name}": x.detach().cpu().contiguous() for name, x in model.state_dict().items()}
    header = {"format": FORMAT, "config": json.dumps(asdict(config)), "meta": json.dumps(meta or {})}
    with atomic_path(path) as temporary:
        save_file(tensors | dict(beside or {}), temporary, header)
        _sort_header(temporary)


def _sort_header(path: Path) -> None:
    """Put a safetensors file's notes in order: its writer has them in another order each time."""
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        told = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(length)
        assert len(told) == length, "the same header in another order"
        file.seek(8)
        file.write(told)


def load_checkpoint(
    path: str | Path,
    kind: type[C],
    build: Callable[[C], M],
    beside: Mapping[str, tuple[int, ...]] | None = None,
) -> tuple[M, dict[str, Tensor], dict[str, Any]]:
    """The model (CPU, eval mode) that `build` makes of the file's config of `kind`, `beside`, and `meta`.

    `beside`: names and shapes of the tensors that go with it. Raises BadInput for anything but a checkpoint.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}
    except FileNotFoundError:
        raise
    except (SafetensorError, OSError, ValueError) as error:
        found = getattr(error, "strerror", None) or error
        raise BadInput(path, "file", "a safetensors checkpoint", found) from None
    if header.get("format") != FORMAT:
        raise BadInput(path, "format", FORMAT, header.get("format"))
    try:
        config = _config(kind, parse_json(header["config"], path, "config"))
        meta = parse_json(header["meta"], path, "meta", MOST_NOTES)
        with torch.device("meta"):  # shapes alone: nothing is made before the file is known to fill it
            own = build(config).state_dict()
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        found = error
        if isinstance(error, BadInput):
            found = f"{error.field} {error.found} ({error.expected} expected)"
        raise BadInput(path, "config", f"a {kind.__name__}", found) from None
    expected = {f"model.{name}": value for name, value in own.items()}
    shapes = {name: tuple(value.shape) for name, value in expected.items()} | dict(beside or {})
    check_tensors(path, shapes, tensors)
    for name, tensor in tensors.items():
        if name in expected and not expected[name].is_floating_point():
            continue
        if tensor.dtype not in FLOATS or not tensor.isfinite().all():
            raise BadInput(path, name, "finite numbers", f"{tensor.dtype}, not all of them finite numbers")
    model = build(config)
    model.load_state_dict({name.removeprefix("model."): tensors[name] for name in expected})
    return model.eval(), {name: tensors[name] for name in beside or {}}, meta


def _config(kind: type[C], values: dict[str, Any]) -> C:
    missing = [field.name for field in fields(kind) if field.name not in values]  # type: ignore[arg-type]
    if missing:
        raise ValueError(f"one without {', '.join(missing)}")
    return kind(**{name: tuple(x) if isinstance(x, list) else x for name, x in values.items()})


def read_card(path: Path) -> dict[str, Any]:
    """The card beside a checkpoint that comes with the kit. Raises BadInput where it is of other weights."""
    card = read_json(path.with_suffix(".json"))
    expected = card.get("sha256") if isinstance(card, dict) else None
    found = sha256(path) if path.is_file() else "no file"
    if expected != found:
        raise BadInput(path, "sha256", f"{expected}, as the card says", found)
    return card


def check_tensors(path: str | Path, expected: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Raise BadInput for a tensor that is missing, of another shape, or that nobody expects."""
    for name in sorted(expected.keys() ^ tensors.keys()):
        found = "no such tensor" if name in expected else "a tensor that the config has no place for"
        raise BadInput(path, name, "the tensors that the config asks for", found)
    for name, shape in expected.items():
        if tensors[name].shape != shape:
            raise BadInput(path, name, f"shape {tuple(shape)}", f"shape {tuple(tensors[name].shape)}")


@dataclass(frozen=True)
class Kept:
    """Where one training is kept: `<name>-<digest>` with .safetensors, .state and .csv; nowhere: all None.

    The digest is of all that decides the result: trainings that differ never share a file.
    """

    decisive: dict[str, Any]
    checkpoint: Path | None = None
    state: Path | None = None
    log: Path | None = None

    @classmethod
    def of(cls, folder: str | Path | None, name: str, decisive: dict[str, Any]) -> Kept:
        """The files of training `name` in `folder`; `decisive` (JSON): all that decides its result."""
        told = json.dumps(decisive, sort_keys=True)
        if folder is None:
            return cls(json.loads(told))
        digest = hashlib.sha256(told.encode()).hexdigest()[:8]
        paths = [Path(folder) / f"{name}-{digest}{ending}" for ending in (".safetensors", ".state", ".csv")]
        return cls(json.loads(told), *paths)

    @property
    def finished(self) -> bool:
        """Is there a checkpoint?"""
        return self.checkpoint is not None and self.checkpoint.exists()

    def done(self) -> None:
        """Remove the state, which a checkpoint has made needless."""
        if self.state is not None:
            self.state.unlink(missing_ok=True)
