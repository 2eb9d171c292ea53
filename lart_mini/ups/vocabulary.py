"""The unified vocabulary: a word is an action, a coordinate or an end of task, and a text.

Section 3.2 of Foo et al., "Unified Pose Sequence Modeling" (CVPR 2023): with n_cls actions there are
n_cls + 3·n_bins + 3 words, and a pose is a sentence of three words a joint. The paper embeds the texts with
RoBERTa; here a smaller sentence transformer (MiniLM) stands in for it, GloVe is a second table, and random
vectors are the control. data_samples/text/ holds what `python -m lart_mini.build vocabulary` made of both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lart_mini import ava
from lart_mini.files import LARGEST_SEED, BadInput, finite_number, shipped, whole_number
from lart_mini.reading.arrays import open_npz

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

TASKS = ("lifting", "action2d", "early", "action3d")  # section 3.5: in this order, one an iteration
AXES = ("horizontal", "vertical", "depth")  # x, y, z; the paper writes out the first alone
MOST_BINS = 128  # an axis, in the shipped table
ENDS = ("action recognition", "pose estimation", "early action prediction")
END_OF = {"lifting": 1, "action2d": 0, "early": 2, "action3d": 0}  # which of ENDS closes a task's sentence
EMBEDDINGS = ("minilm", "glove", "random")
SHIPPED = shipped("data_samples") / "text" / "vocabulary.npz"


def check_task(task: object) -> str:
    """The task itself. Raises BadInput for what is none of TASKS."""
    if not isinstance(task, str) or task not in TASKS:
        raise BadInput("ups", "task", " | ".join(TASKS), task)
    return task


def ordinal(number: int) -> str:
    """1 → 1st, 2 → 2nd, 11 → 11th, 21 → 21st."""
    last = 0 if number // 10 % 10 == 1 else number % 10
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(last, 'th') }"


def texts(actions: Sequence[str], bins: int) -> tuple[str, ...]:
    """All words in the vocabulary's order: actions, bins of x, of y, of z, ends of task."""
    places = [f"The {ordinal(i + 1)} {axis} coordinate" for axis in AXES for i in range(bins)]
    return (*actions, *places, *(f"{end} ends here" for end in ENDS))


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """V words and their embeddings. Raises BadInput for a table of another size, or of other than numbers."""

    actions: tuple[str, ...]  # n_cls texts
    bins: int  # n_bins an axis, over ±reach about the hip
    table: Floats  # (V, E) unit vectors
    reach: float = 1.0  # metres

    def __post_init__(self) -> None:
        whole_number("vocabulary", "bins", self.bins, 2)
        reach = float(finite_number("vocabulary", "reach", self.reach, 1e-3))  # 2 and 2.0 have one digest
        object.__setattr__(self, "reach", reach)
        if len(set(self.actions)) < max(len(self.actions), 1):
            raise BadInput("vocabulary", "actions", "names, none of them twice", self.actions)
        words = len(self.actions) + 3 * self.bins + 3
        if self.table.ndim != 2 or len(self.table) != words or self.table.shape[1] < 1:
            raise BadInput("vocabulary", "table", f"{words} rows, one a word", f"shape {self.table.shape}")
        length = np.linalg.norm(self.table, axis=1)
        if not (np.abs(length - 1) < 1e-3).all():
            raise BadInput("vocabulary", "table", "rows of length 1", "another")

    def __len__(self) -> int:
        return len(self.table)

    @property
    def width(self) -> int:
        """Numbers of an embedding, E."""
        return int(self.table.shape[1])

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """The words (V), in order."""
        return texts(self.actions, self.bins)

    @cached_property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that tell vocabularies apart: words, reach and embeddings."""
        told = f"{self.reach}\n" + "\n".join(self.texts)
        rows = np.ascontiguousarray(self.table, "<f4").tobytes()
        return hashlib.sha256(told.encode() + rows).hexdigest()[:16]

    def end(self, task: str) -> int:
        """The word that closes a task's sentence (EOT). Raises BadInput for no task."""
        return len(self) - 3 + END_OF[check_task(task)]

    def pose_words(self, pose: Floats) -> Ints:
        """Joints (…, J, 3) in metres about the hip → words (…, 3·J): x, y, z joint by joint.

        What lies beyond the reach takes the outermost bin. Raises BadInput for what is no number.
        """
        if not np.isfinite(pose).all():
            raise BadInput("vocabulary", "pose", "finite coordinates", "nan or infinity")
        within = pose.clip(-self.reach, self.reach)
        place = np.floor((within + self.reach) / (2 * self.reach) * self.bins).astype(np.int64)
        words = place.clip(0, self.bins - 1) + len(self.actions) + np.arange(3) * self.bins
        return words.reshape(*pose.shape[:-2], -1)

    def pose_of(self, words: Ints) -> Floats:
        """The way back: words (…, 3·J) → the middles of their bins (…, J, 3) in metres.

        Raises BadInput for a word that is no bin of the axis whose turn it is.
        """
        triples = np.asarray(words).reshape(*np.shape(words)[:-1], -1, 3)
        place = triples - len(self.actions) - np.arange(3) * self.bins
        if ((place < 0) | (place >= self.bins)).any():
            raise BadInput("vocabulary", "words", "a bin of x, of y and of z in turn", "another word")
        return self.middles[place]

    @cached_property
    def middles(self) -> Floats:
        """Middles (n_bins,) of an axis' bins in metres."""
        return ((np.arange(self.bins) + 0.5) / self.bins * 2 - 1).astype(np.float32) * np.float32(self.reach)

    def sentences(self, task: str, wanted: Any) -> Ints:
        """Targets (B, K): poses (B, J, 3) for lifting, K = 3·J + 1, else class numbers (B,), K = 2."""
        end = self.end(task)
        words = self.pose_words(wanted) if task == "lifting" else np.asarray(wanted, np.int64)[:, None]
        if task != "lifting" and ((words < 0) | (words >= len(self.actions))).any():
            raise BadInput("vocabulary", "class", f"0 to {len(self.actions) - 1}", "another number")
        return np.pad(words, ((0, 0), (0, 1)), constant_values=end)

    def well_formed(self, words: Ints, task: str, joints: int) -> NDArray[np.bool_]:
        """Which sentences (B, K) can be read (B,): each word of the kind whose turn it is, then the end."""
        words, end = np.asarray(words), self.end(task)
        length = 3 * joints if task == "lifting" else 1
        if words.shape[1] <= length:
            return np.zeros(len(words), bool)
        kind = np.arange(length) % 3 if task == "lifting" else np.array([-1])  # -1: an action
        found = (words[:, :length] - len(self.actions)) // self.bins
        found = np.where(words[:, :length] < len(self.actions), -1, found)
        return (found == kind).all(axis=1) & (words[:, length] == end)

    def cosines(self) -> Floats:
        """Cosine (V, V) of each word with each."""
        return self.table @ self.table.T

    def nearest(self, text: str, count: int = 5) -> list[tuple[str, float]]:
        """The words nearest to one with their cosines, nearest first. Raises BadInput for an unknown one."""
        if text not in self.texts:
            raise BadInput("vocabulary", "text", "one of its words", text)
        row = self.texts.index(text)
        cosine = self.cosines()[row]
        order = [i for i in np.argsort(-cosine, kind="stable").tolist() if i != row][:count]
        return [(self.texts[i], float(cosine[i])) for i in order]


def load_vocabulary(
    actions: Sequence[str],
    bins: int = 64,
    embedding: str = "minilm",
    *,
    centred: bool = True,
    reach: float = 1.0,
    width: int = 384,
    seed: int = 0,
    path: str | Path | None = None,
) -> Vocabulary:
    """The vocabulary of these actions: `minilm`, `glove`, or `random` vectors of `width` from `seed`.

    `centred`: less the mean of its rows, since texts that differ in one word have cosines of 0.9 and more.
    Actions are AVA's names, or others that the file at `path` holds. Raises BadInput for a text without an
    embedding, for an unknown table, for numbers that none can have, and for a file that is no vocabulary.
    """
    if embedding not in EMBEDDINGS:
        raise BadInput("vocabulary", "embedding", " | ".join(EMBEDDINGS), embedding)
    whole_number("vocabulary", "bins", bins, 2)
    whole_number("vocabulary", "width", width, 1)
    whole_number("vocabulary", "seed", seed, 0, LARGEST_SEED)
    wanted = texts(actions, bins)
    if embedding == "random":
        table = np.random.default_rng(seed).normal(size=(len(wanted), width)).astype(np.float32)
    else:
        row, known = read_embeddings(path or SHIPPED, embedding)
        missing = [text for text in wanted if text not in row]
        if missing:
            found = f"none of {missing[0]!r}" + (f" and {len(missing) - 1} more" if missing[1:] else "")
            raise BadInput(path or SHIPPED, "texts", "an embedding of each word", found)
        table = known[[row[text] for text in wanted]]
    if centred:
        table = table - table.mean(axis=0)
    table = table / np.linalg.norm(table, axis=1, keepdims=True)
    return Vocabulary(tuple(actions), bins, table.astype(np.float32), reach)


def read_embeddings(path: str | Path, embedding: str) -> tuple[dict[str, int], Floats]:
    """Rows by text, and table (rows, E), of a vocabulary's file. Raises BadInput."""
    with open_npz(path, "an .npz of embedded texts") as stored:
        lines = str(stored.read("texts", (), kinds="U")).split("\n")
        whole = stored.read(embedding, (len(lines), None))
        scale = stored.read(f"{embedding}_scale", (len(lines), 1))
    return {text: row for row, text in enumerate(lines)}, whole.astype(np.float32) * scale.astype(np.float32)


def action_names(ids: Sequence[int]) -> tuple[str, ...]:
    """AVA's names of classes, as the shipped table has them. Raises BadInput for an id that AVA has not."""
    unknown = [number for number in ids if number not in ava.NAMES]
    if unknown:
        raise BadInput("vocabulary", "class", "ids of AVA's 80 classes", unknown[0])
    return tuple(ava.NAMES[number] for number in ids)
