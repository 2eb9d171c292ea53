"""All that decides a UPS: its sizes, and a named field for each point that the paper leaves open."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from lart_mini.files import BadInput
from lart_mini.training.config import Bounds, check_fields
from lart_mini.ups.vocabulary import TASKS, Vocabulary

# Each joint's neighbour towards the body's middle (the middle: itself), by the number of joints.
TREES: dict[int, tuple[int, ...]] = {
    17: (0, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15),  # Human3.6M
    18: (1, 1, 1, 2, 3, 1, 5, 6, 2, 8, 9, 5, 11, 12, 0, 0, 14, 15),  # OpenPose, as Kinetics' skeletons
    # NTU: spine base, middle and top, neck, head, arms, legs, tips of hands and thumbs
    25: (1, 20, 20, 2, 20, 4, 5, 6, 20, 8, 9, 10, 0, 12, 13, 14, 0, 16, 17, 18, 20, 22, 7, 24, 11),
}  # fmt: skip
LIMITS: Bounds = {
    "joints": (1, 25), "frames": (1, 4096), "actions": (1, 10_000), "bins": (2, 4096),
    "encoder_layers": (1, 64), "decoder_layers": (1, 64), "blocks": (1, 64), "kernel": (1, 63),
    "temperature": (1e-3, 1e3), "word_dropout": (0, 1),
    **dict.fromkeys(("text_width", "width", "task_width"), (1, 16_384)),
    **dict.fromkeys(("heads", "frame_heads"), (1, 1024)), "joint_width": (1, 4096), "place_width": (0, 4096),
}  # fmt: skip


@dataclass(frozen=True)
class UPSConfig:
    """All that decides the model; where the paper leaves a point open, its field says so."""

    actions: int = 17  # n_cls
    bins: int = 64  # n_bins an axis (open)
    text_width: int = 384  # E, of an embedded text (the paper: RoBERTa's 768)
    joints: int = 17  # J: 17, 18 or 25
    frames: int = 10  # N, most
    joint_width: int = 12  # d of a joint's token (open); a frame's token is J·d wide
    width: int = 96  # D of the decoder (open)
    heads: int = 4  # of the decoder's attention (open)
    frame_heads: int = 4  # of TEM's attention over frames (open)
    encoder_layers: int = 3  # section 4
    decoder_layers: int = 2  # section 4: 3
    blocks: int = 1  # H, parallel blocks a layer (section 4: 2); 1: no routing
    routes: tuple[int, ...] | None = None  # block of each task and layer, task by task; None: learnt
    task_width: int = 256  # q, of task and block embeddings
    embedding_std: float = 1 / 16  # of both at first (open): q^-1/2; with 1 a route is drawn once, at birth
    temperature: float = 1.0  # of Gumbel-softmax (open)
    kernel: int = 3  # frames that the tokenizer's convolutions see (open)
    place_width: int = 16  # of the vector that tells the decoder which frame a token is (open)
    memory: Literal["frames", "joints"] = "frames"  # what the decoder attends to: N tokens, or N·J (open)
    told: bool = True  # has the decoder a first token a task (ours), or one for all (the paper)
    word_dropout: float = 0.7  # share of told words that are blanked in training (ours)

    def __post_init__(self) -> None:
        check_fields("ups", self, LIMITS)
        if self.joints not in TREES:
            raise BadInput("ups", "joints", " | ".join(map(str, TREES)), self.joints)
        if self.width % self.heads or (self.joints * self.joint_width) % self.frame_heads:
            found = f"{self.width} and {self.joints * self.joint_width}"
            raise BadInput("ups", "widths", "widths that the heads divide", found)
        if self.kernel % 2 == 0:
            raise BadInput("ups", "kernel", "an odd number of frames", self.kernel)
        steps = len(TASKS) * self.encoder_layers
        fits = self.routes is None or (len(self.routes) == steps and max(self.routes) < self.blocks)
        if not fits:
            raise BadInput("ups", "routes", f"{steps} numbers of blocks below {self.blocks}", self.routes)

    @property
    def words(self) -> int:
        """Words of the vocabulary, V."""
        return self.actions + 3 * self.bins + 3

    @property
    def length(self) -> int:
        """Words of the longest answer, K: three a joint, and the end."""
        return 3 * self.joints + 1

    @classmethod
    def mini(cls, vocabulary: Vocabulary, **changes: Any) -> UPSConfig:
        """About 1.1 M parameters, for a laptop's CPU; sized for a vocabulary."""
        return replace(cls(**sizes(vocabulary)), **changes)

    @classmethod
    def paper(cls, vocabulary: Vocabulary, **changes: Any) -> UPSConfig:
        """Section 4: three and three layers, H = 2, q = 256, the decoder as wide as RoBERTa-base.

        The paper says d for the width of words and of joint tokens. A frame's token of 17·768 numbers would
        need a billion weights a block, so the joints' d is CTR-GCN's 64 here.
        """
        big: dict[str, Any] = {"frames": 243, "joint_width": 64, "width": 768, "heads": 12, "frame_heads": 4}
        big |= {"decoder_layers": 3, "blocks": 2, "place_width": 64}
        return replace(cls(**sizes(vocabulary)), **big | changes)


def sizes(vocabulary: Vocabulary) -> dict[str, Any]:
    """What a vocabulary decides: fields of the config."""
    return {"actions": len(vocabulary.actions), "bins": vocabulary.bins, "text_width": vocabulary.width}
