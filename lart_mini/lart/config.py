"""All that can be chosen: the model's sizes and switches, how samples are put together, how a stage trains.

Every field is a size, or one point in which the paper and its code differ. A preset is a choice of all of the
model's; the profile (`paper` or `released`) says whose habits samples and training follow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from lart_mini.files import BadInput
from lart_mini.tracklets.tracklet import VECTOR_WIDTH
from lart_mini.training.config import Bounds, TrainConfig, check_fields

Source = Literal["paper", "released"]
STAGES = ("pretrain", "finetune")


# Starts with which many layers learn, each left open by the paper.
DEEP_STARTS: dict[str, Any] = {
    "encoder_start": "variance kept",
    "branch_start": "by depth",
    "head_start": "class shares",
}


LARGEST_ENCODING = 1 << 27  # numbers
MOST_LAYERS = 16  # hidden ones of an encoder
# Least and most of each size: far beyond any LART, and far below what no machine has room for.
LIMITS: Bounds = {
    "people": (1, 1024),
    "frames": (1, 100_000),
    "depth": (1, 256),
    "heads": (1, 4096),
    "mlp_ratio": (1e-3, 64),
    "classes": (1, 100_000),
    "dropout": (0, 0.999),
    **dict.fromkeys(("width", "pose_width"), (1, 65_536)),
    **dict.fromkeys(("pose_hidden", "joints_hidden", "appearance_hidden"), (1, 65_536)),
    **dict.fromkeys(("head_width", "joints_width", "appearance", "appearance_width"), (0, 65_536)),
}


@dataclass(frozen=True)
class LARTConfig:
    """What decides the model's shape and behaviour. Raises ValueError where fields do not fit together."""

    people: int = 5  # most people in a sample, the ego first
    frames: int = 128  # most frames in a sample
    width: int = 128  # of a token, D; divisible by 4 (encoding)
    depth: int = 4  # transformer blocks
    heads: int = 4  # of self-attention in each block
    head_width: int = 0  # of a head's queries, keys and values; 0: width / heads
    qkv_bias: bool = True  # have queries, keys and values a bias (released code: no)
    mlp_ratio: float = 4.0  # hidden width of a block's MLP / width
    pose_width: int = 128  # what the pose encoder gives
    pose_hidden: tuple[int, ...] | None = None  # its hidden widths; None: two of pose_width (C.2.1)
    joints_width: int = 0  # what the joints encoder gives; 0: joints are no input (the paper)
    joints_hidden: tuple[int, ...] | None = None  # its hidden widths; None: two of joints_width
    appearance: int = 0  # width of the appearance vectors; 0: pose only
    appearance_width: int = 0  # what the appearance encoder gives
    appearance_hidden: tuple[int, ...] | None = None  # its hidden widths; None: two of appearance_width
    classes: int = 60  # evaluated AVA classes
    dropout: float = 0.1  # after the encoding and after each half of a block
    inner_dropout: bool = False  # on attention weights and after GELU, not after the encoding (released)
    norm: Literal["post", "pre"] = "post"  # LayerNorm after each half (paper) or before it (released code)
    encoding_order: Literal["time first", "person first"] = "time first"  # of D's halves (released: second)
    encoding_trained: bool = False  # is the encoding a weight that starts as the waves (released code)
    token_order: Literal["person", "time"] = "person"  # token t + i * T (paper) or t * P + i (released code)
    gaps_attended: bool = True  # at test missing detections are attended to (paper) or not (released code)
    undetected: Literal["skipped", "computed"] = "skipped"  # tokens nobody reads: left out, or not (released)
    # Where weights start, of which the paper says nothing; "torch" is PyTorch's own start.
    encoder_start: Literal["torch", "variance kept"] = "torch"  # or: what encoders give varies as their input
    branch_start: Literal["torch", "by depth"] = "torch"  # or: each branch's last matrix x (2 depth)^-1/2
    head_start: Literal["rare", "class shares"] = "rare"  # bias: 1 % each, or the log-odds of training labels

    def __post_init__(self) -> None:
        check_fields("model", self, LIMITS)
        for name in ("pose_hidden", "joints_hidden", "appearance_hidden"):
            if len(getattr(self, name) or ()) > MOST_LAYERS:
                raise BadInput("model", name, f"at most {MOST_LAYERS} layers", len(getattr(self, name)))
        if self.width % 4 or (self.width % self.heads and not self.head_width):
            raise ValueError(f"width {self.width} must be divisible by 4 and by heads ({self.heads})")
        if self.people * self.frames * self.width > LARGEST_ENCODING:
            found = f"{self.people}, {self.frames} and {self.width}"
            raise ValueError(f"people, frames and width make too large an encoding: {found}")
        if (self.appearance > 0) != (self.appearance_width > 0):
            raise ValueError("appearance and appearance_width must both be 0 or both above 0")

    @property
    def profile(self) -> str:
        """`released` for a model that computes and reads what the released code does, else `paper`."""
        return "released" if self.undetected == "computed" else "paper"

    @classmethod
    def mini(cls, **changes: Any) -> LARTConfig:
        """About 0.6 M parameters, for a laptop's CPU: shallow, and normed as the released code is.

        Depth and width were chosen on a fold of the training takes; so was the norm, which an early run
        on validation takes had favoured.
        """
        return replace(cls(width=192, pose_width=192, depth=2, mlp_ratio=1.0, norm="pre"), **changes)

    @classmethod
    def paper(cls, **changes: Any) -> LARTConfig:
        """Section 4.4: 16 layers, 16 heads, tokens of 512; the pose encoder gives 256 (C.2.1).

        Pose only, the paper says both that tokens have 512 numbers and that 256 go into the transformer: here
        a linear layer widens them. With appearance=1152, appearance_width=256 the encoders' outputs make 512.
        The hidden width of the blocks' MLP is not stated; 4 times the width is the vanilla transformer's.
        Nor is the start of the weights. From PyTorch's own, sixteen layers normed after each half do not
        learn: the first steps drive all tokens to one vector (benchmarks/deep.py). DEEP_STARTS are starts,
        not layers: the model that the paper describes stays as it is.
        """
        return replace(cls(width=512, depth=16, heads=16, pose_width=256, **DEEP_STARTS), **changes)

    @classmethod
    def released(cls, **changes: Any) -> LARTConfig:
        """The released code's default: joints as a third input, appearance from Hiera, narrow blocks."""
        default = cls(
            people=5,
            frames=125,
            width=512,
            pose_width=128,
            pose_hidden=(VECTOR_WIDTH,),
            joints_width=128,
            joints_hidden=(256, 256),
            appearance=2048,
            appearance_width=256,
            appearance_hidden=(512, 512),
            encoding_order="person first",
            encoding_trained=True,
            token_order="time",
            depth=16,
            heads=16,
            head_width=64,
            qkv_bias=False,
            mlp_ratio=1.0,
            inner_dropout=True,
            norm="pre",
            gaps_attended=False,
            undetected="computed",
        )
        return replace(default, **changes)


# The released code's model of pose alone: no other input, tokens of 128, and its MLP stays 512 wide.
POSE_ALONE = {"joints_width": 0, "appearance": 0, "appearance_width": 0, "width": 128, "mlp_ratio": 4.0}
PRESETS: dict[str, Callable[..., LARTConfig]] = {
    "mini": LARTConfig.mini,
    "small": partial(LARTConfig.mini, people=3, frames=64, width=64, pose_width=64),  # many are compared
    "paper": LARTConfig.paper,
    "released": partial(LARTConfig.released, **POSE_ALONE),
}


def preset(name: str, appearance: int = 0) -> LARTConfig:
    """The preset of that name for appearance vectors of that width; 0: pose alone. Raises BadInput."""
    if name not in PRESETS:
        raise BadInput("training", "preset", " | ".join(PRESETS), name)
    if appearance == 0:
        return PRESETS[name]()
    if name == "released":
        return LARTConfig.released(appearance=appearance)
    return PRESETS[name](appearance=appearance, appearance_width=256)


@dataclass(frozen=True)
class Assembly:
    """How a sample is put together; each field is one point in which the paper and its code differ."""

    start: Literal["random", "first"] = "random"  # the window's first row in a longer ego
    last_frame: Literal["kept", "dropped"] = "kept"  # is the ego's last frame ever part of a window
    spanning: Literal["kept", "dropped"] = "kept"  # others that begin before the window and end after it
    slots: Literal["seen", "drawn"] = "seen"  # an other out of sight leaves its slot to the next, or empty
    undetected: Literal["zero", "kept"] = "zero"  # what the tracklet holds in frames without a detection
    joints: bool = False  # are joints + camera part of the batch

    def __post_init__(self) -> None:
        check_fields("samples", self, {})


Profile = Literal["paper", "released"] | Assembly

ASSEMBLIES = {
    "paper": Assembly(),
    "released": Assembly(
        start="first", last_frame="kept", spanning="dropped", slots="drawn", undetected="kept", joints=True
    ),
}


def assembly_of(profile: Profile, train: bool = False) -> Assembly:
    """The Assembly itself, or the one of that name; `released` drops the last frame in training only.

    Raises BadInput for another name.
    """
    if isinstance(profile, Assembly):
        return profile
    if profile not in ASSEMBLIES:
        raise BadInput("samples", "profile", " | ".join(ASSEMBLIES), profile)
    dropped = train and profile == "released"
    return replace(ASSEMBLIES[profile], last_frame="dropped") if dropped else ASSEMBLIES[profile]


def assembly_for(config: LARTConfig, profile: str | None = None, train: bool = False) -> Assembly:
    """How the samples of a model are put together, by default as its own profile does. Raises BadInput."""
    own = assembly_of(profile or config.profile, train)  # type: ignore[arg-type]
    return replace(own, joints=config.joints_width > 0)


@dataclass(frozen=True)
class StageConfig(TrainConfig):
    """How one of the two stages is trained; defaults are Table 7's where it speaks."""

    weight_decay: float = 0.05  # of what `decayed` names
    decayed: Literal["matrices", "all"] = "matrices"  # matrices: not biases, norms, and the mask token
    mask_ratio: float = 0.4  # share of detected tokens replaced by the mask token
    drop_path: float = 0.0  # chance that a residual branch is skipped, the same in all blocks
    layer_decay: float = 1.0  # learning rate of each layer relative to the one above it
    layer_decay_as: Source = "paper"  # released: it reaches the encoders only, blocks learn as the head does

    @classmethod
    def pretrain(cls, **changes: Any) -> StageConfig:
        """Table 7, column Kinetics-400."""
        return cls(**changes)

    @classmethod
    def finetune(cls, **changes: Any) -> StageConfig:
        """Table 7, column AVA."""
        return cls(**{"mask_ratio": 0.0, "drop_path": 0.1, "layer_decay": 0.9} | changes)

    @classmethod
    def released(cls, stage: str, **changes: Any) -> StageConfig:
        """What the released scripts of a stage say, where they and Table 7 differ.

        `pretrain`: 64 GPUs of 8 tracklets, all labels, lr 1e-4 for every 256 tracklets of a step.
        `finetune`: 8 GPUs, lr as it stands, layer decay as it took effect.
        """
        common: dict[str, Any] = {"schedule_by": "epoch", "drop_path": 0.4, "loss_scale": 10.0, "clip": 2.0}
        common |= {"ema": 0.9999, "ema_warmup": False}
        if stage == "pretrain":
            batch_size = changes.get("batch_size", 512)
            own = {"batch_size": batch_size, "lr": 1e-4 * batch_size / 256, "decayed": "all"}
        else:
            own = {"batch_size": 64, "lr": 7e-4, "mask_ratio": 0.0, "layer_decay": 0.95}
            own |= {"layer_decay_as": "released"}
        return cls(**common | own | changes)

    @classmethod
    def of(cls, stage: str, profile: str = "paper", **changes: Any) -> StageConfig:
        """A stage's settings as the `paper` or the `released` code has them. Raises BadInput."""
        for field, value, known in (("stage", stage, STAGES), ("profile", profile, ("paper", "released"))):
            if value not in known:
                raise BadInput("training", field, " | ".join(known), value)
        if profile == "released":
            return cls.released(stage, **changes)
        return cls.pretrain(**changes) if stage == "pretrain" else cls.finetune(**changes)
