"""What is asked: for each question its systems, all made by `experiment.run`, and who is compared with whom.

The paper's numbers are AVA's, in mAP points; where it gives none, the claim is in words. Model and learning
rate are notebook 08's, chosen on folds of training takes; no number was chosen on the boxes scored here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lart_mini.claims.direction import PIECE
from lart_mini.claims.experiment import HIDDEN, POOLS
from lart_mini.claims.question import Comparison, Question, System
from lart_mini.data.videos import PERFECT
from lart_mini.files import BadInput

LART, SHUFFLED = System(), System({"shuffled": True})
ONE_FRAME = System({"frames": 1, "batch_size": 64}, variant=1)  # a larger batch: no fewer labels a step
PRETRAINED = System({"pretrain_steps": 1.0})
MANY, CONTROL = "LART, many frames", "LART, shuffled labels (control)"

LADDER = Question(
    "The ladder",
    "Tables 2 and 5",
    {
        "perfect detections": System({"tracker": PERFECT}),
        "true labels on the tracker's boxes": System({"model": "true labels"}),
        CONTROL: SHUFFLED,
        "class prior": System({"model": "prior"}),
        "linear model of the key frame": System({"model": "linear"}),
        "LART, one frame": ONE_FRAME,
        MANY: LART,
        "LART, many frames, seeds averaged": System(averaged=True),
        "LART, pre-trained, then fine-tuned": PRETRAINED,
        "LART, pre-trained, seeds averaged": System(PRETRAINED.changes, averaged=True),
    },
    (
        Comparison(MANY, "LART, one frame", "time matters to the same network"),
        Comparison(MANY, "linear model of the key frame", "LART beats a linear model of one frame"),
        Comparison("LART, one frame", "linear model of the key frame", "the class of model matters"),
        Comparison("LART, pre-trained, then fine-tuned", MANY, "pre-training helps"),
        Comparison("LART, many frames, seeds averaged", MANY, "averaging seeds helps"),
        Comparison("perfect detections", MANY, "better detections help"),
        Comparison(MANY, CONTROL, "it is the labels that are learnt"),
    ),
)

HIDING = {
    "from scratch, no mask": {"steps": 2.0},
    "from scratch, tokens masked": {"steps": 2.0, "mask": 0.4},
    "from scratch, bursts masked": {"steps": 2.0, "mask": 0.4, "burst": 13},
    "pre-trained with tokens masked": {"steps": 0.0, "pretrain_steps": 2.0},
    "pre-trained so, fine-tuned without": {"pretrain_steps": 1.0},
    "pre-trained so, fine-tuned with": {"pretrain_steps": 1.0, "mask": 0.4},
    "pre-trained and fine-tuned with bursts": {"pretrain_steps": 1.0, "mask": 0.4, "burst": 13},
}
HIDDEN_ROWS = {f"{name}; {frames} hidden": (name, frames) for name in HIDING for frames in HIDDEN}


def _hidden_comparisons() -> Iterator[Comparison]:
    for frames in HIDDEN:
        for system, than, claim in (
            ("from scratch, tokens masked", "from scratch, no mask", "masks help from scratch"),
            ("pre-trained so, fine-tuned without", "from scratch, no mask", "masked pre-training helps"),
            (
                "pre-trained so, fine-tuned with",
                "pre-trained so, fine-tuned without",
                "masks help fine-tuning",
            ),
            ("from scratch, bursts masked", "from scratch, tokens masked", "bursts help more than tokens"),
        ):
            hides = f"; {frames} hidden"
            yield Comparison(system + hides, than + hides, f"{claim}, {frames} frames hidden")


DRAWN: Mapping[str, Any] = {"mirror": True, "speed": 0.25}
BODY: Mapping[str, Any] = {"inputs": "body"}
INPUT = Question(
    "Inputs and augmentation: which part of the gain is input, which is model",
    "section 3.1",
    {
        "person-vector": LART,
        "body": System(BODY),
        "person-vector, mirror and speed": System(DRAWN),
        "body, mirror and speed": System({**BODY, **DRAWN}),
        "body, one frame": System({**BODY, **ONE_FRAME.changes}, variant=1),
        "linear model of the key frame, person-vector": System({"model": "linear"}),
        "linear model of the key frame, body": System({"model": "linear", **BODY}),
        CONTROL: SHUFFLED,
    },
    (
        Comparison("body", "person-vector", "the body's own numbers help the sequence model"),
        Comparison(
            "linear model of the key frame, body",
            "linear model of the key frame, person-vector",
            "they help a linear model",
        ),
        Comparison("person-vector, mirror and speed", "person-vector", "mirror and speed help"),
        Comparison("body, mirror and speed", "body", "mirror and speed help beside the body's own numbers"),
        Comparison("body, mirror and speed", "person-vector", "both together help"),
        Comparison("body", "linear model of the key frame, body", "LART beats a linear model of one frame"),
        Comparison("body", "body, one frame", "time matters to the same network"),
    ),
)

WAYS: Mapping[str, Any] = {"task": "direction", "frames": PIECE}
DIRECTION = Question(
    "Forwards or backwards? Getting up, picking up, putting down and crouching",
    "not in the paper",
    {
        "LART, many frames": System(WAYS),
        "LART, many frames, body": System({**WAYS, **BODY}),
        "LART, one frame": System({**WAYS, **ONE_FRAME.changes}),
        "LART, where detections are missing (control)": System({**WAYS, "inputs": "nothing"}),
        CONTROL: System({**WAYS, "shuffled": True}),
    },
    (
        Comparison(MANY, "LART, one frame", "time can be read"),
        Comparison("LART, many frames, body", "LART, one frame", "time can be read"),
        Comparison("LART, many frames, body", MANY, "the body's own numbers help"),
        Comparison(MANY, "LART, where detections are missing (control)", "it is motion that is read"),
        Comparison(MANY, CONTROL, "it is the labels that are learnt"),
    ),
    measure="accuracy",
)

# A training takes whole epochs, and one of 1,200 scenes is about 740 to 810 steps, by the fold: 780 are asked
# for; every system takes them to within about 5 % (a run's `steps_taken`).
EQUAL_STEPS = 2.6
OF_SCENES: dict[str, Mapping[str, Any]] = {
    f"{scenes:,} scenes": {"scenes": scenes / 1200, "steps": EQUAL_STEPS}
    for scenes in (60, 120, 300, 600, 1200)
}
SCENES = Question(
    "More scenes of the same takes, at equal steps (of 1,200; a smaller size has the same shares of its own)",
    "not in the paper",
    {row: System(changes) for row, changes in OF_SCENES.items()}
    | {CONTROL: System({**OF_SCENES["1,200 scenes"], "shuffled": True})},
    (
        Comparison("120 scenes", "60 scenes", "twice as many scenes help"),
        Comparison("1,200 scenes", "60 scenes", "twenty times as many scenes help"),
        *(
            Comparison(f"{scenes:,} scenes", "120 scenes", "more scenes than the laptop's 120 help")
            for scenes in (300, 600, 1200)
        ),
        Comparison("1,200 scenes", CONTROL, "it is the labels that are learnt"),
    ),
)

LONG = 1.6  # 480 steps of 16 windows at the laptop's size, 60 epochs; the paper: 40 of all of AVA (4.2)


def _skeletr(name: str, **more: Any) -> System:
    return System({"model": "SkeleTR", "skeletr": name, "steps": LONG}, **more)


SKELETR_CONTROL = "SkeleTR, shuffled labels (control)"
SKELETR = Question(
    "SkeleTR: short sequences that see each other (SkeleTR's own paper)",
    "SkeleTR 4.2-4.7, Tables 1 and 3",
    {
        "GCN alone": _skeletr("GCN alone"),
        "SkeleTR, average pooling": _skeletr("1x1"),
        "SkeleTR, Mix Pooling": _skeletr("mix"),
        MANY: LART,
        "LART and SkeleTR, 2 : 1": System(fused=_skeletr("mix"), weights=(2.0, 1.0)),
        SKELETR_CONTROL: System({**_skeletr("mix").changes, "shuffled": True}),
    },
    (
        Comparison("SkeleTR, Mix Pooling", "GCN alone", "sequences see each other", "all", 4.1),
        Comparison("SkeleTR, Mix Pooling", "GCN alone", "the same, person interaction", "PI"),
        Comparison("SkeleTR, Mix Pooling", "SkeleTR, average pooling", "Mix Pooling", "all", 0.7),
        Comparison("SkeleTR, Mix Pooling", SKELETR_CONTROL, "it is the labels that are learnt"),
        Comparison("LART and SkeleTR, 2 : 1", MANY, "late fusion (the paper: with pixels)", "all", 3.0),
    ),
)
SKELETR_PARTS = Question(
    "SkeleTR's parts, one by one (SkeleTR's own paper)",
    "SkeleTR 4.6, Tables 4 and 5",
    {
        "SkeleTR, Mix Pooling": _skeletr("mix"),
        "SkeleTR, T×P": _skeletr("TxP"),
        "SkeleTR, sequences of 2 s": _skeletr("long"),
        "SkeleTR, true identities": _skeletr("true identities"),
        "SkeleTR, no place": _skeletr("no place"),
        "SkeleTR, mirror and speed": _skeletr("mirror and speed"),
        "SkeleTR, bones": _skeletr("bones"),
        "SkeleTR, joints and bones": _skeletr("mix", fused=_skeletr("bones")),
        SKELETR_CONTROL: System({**_skeletr("mix").changes, "shuffled": True}),
    },
    (
        Comparison("SkeleTR, Mix Pooling", "SkeleTR, T×P", "Mix Pooling over T×P, at less cost", "all", 0.2),
        Comparison("SkeleTR, Mix Pooling", "SkeleTR, sequences of 2 s", "a second over two", "all"),
        Comparison("SkeleTR, true identities", "SkeleTR, Mix Pooling", "true identities", "all"),
        Comparison("SkeleTR, Mix Pooling", "SkeleTR, no place", "the place embedding", "all"),
        Comparison("SkeleTR, mirror and speed", "SkeleTR, Mix Pooling", "mirror and speed", "all"),
        Comparison("SkeleTR, joints and bones", "SkeleTR, Mix Pooling", "the bone stream", "all"),
        Comparison("SkeleTR, Mix Pooling", SKELETR_CONTROL, "it is the labels that are learnt"),
    ),
)


GCN_STEPS, MIX_STEPS = (
    {
        f"{row}, {round(300 * LONG * times)} steps": System({**_skeletr(name).changes, "steps": LONG * times})
        for times in (1, 2, 4)
    }
    for row, name in (("GCN alone", "GCN alone"), ("Mix Pooling", "mix"))
)
GCN_CHOSEN, MIX_CHOSEN = (f"{row}, steps chosen on the other folds" for row in ("GCN alone", "Mix Pooling"))
GCN_CONTROL = "GCN alone, shuffled labels (control)"
SKELETR_STEPS = Question(
    "SkeleTR trained up to four times as long: is there a plateau, who is ahead? (steps of the laptop size)",
    "SkeleTR 4.2, Tables 1 and 3",
    {
        **GCN_STEPS,
        **MIX_STEPS,
        GCN_CHOSEN: System(best_of=GCN_STEPS),
        MIX_CHOSEN: System(best_of=MIX_STEPS),
        GCN_CONTROL: System({**_skeletr("GCN alone").changes, "shuffled": True}),
    },
    (
        Comparison(MIX_CHOSEN, GCN_CHOSEN, "sequences see each other", "all", 4.1),
        Comparison(MIX_CHOSEN, GCN_CHOSEN, "the same, person interaction", "PI"),
        *(
            Comparison(
                f"Mix Pooling, {steps} steps", f"GCN alone, {steps} steps", f"after {steps} steps", "all"
            )
            for steps in (960, 1920)
        ),
        *(
            Comparison(
                f"{row}, {2 * steps} steps",
                f"{row}, {steps} steps",
                f"{row}, from {steps} to {2 * steps}",
                "all",
            )
            for row in ("GCN alone", "Mix Pooling")
            for steps in (480, 960)
        ),
        Comparison("GCN alone, 480 steps", GCN_CONTROL, "it is the labels that are learnt"),
    ),
)
SKELETR_JOINT = Question(
    "SkeleTR learns a second task beside (as many samples of each, and as many steps of detection)",
    "SkeleTR 3.4, Table 7",
    {
        "SkeleTR, Mix Pooling": _skeletr("mix"),
        "SkeleTR, beside videos": _skeletr("beside videos"),
        SKELETR_CONTROL: System({**_skeletr("mix").changes, "shuffled": True}),
    },
    (
        Comparison("SkeleTR, beside videos", "SkeleTR, Mix Pooling", "a second task beside", "all", 2.3),
        Comparison("SkeleTR, beside videos", "SkeleTR, Mix Pooling", "beside, person interaction", "PI"),
        Comparison("SkeleTR, Mix Pooling", SKELETR_CONTROL, "it is the labels that are learnt"),
    ),
)

APPEARANCE = Question(
    "Appearance beside pose, on rendered scenes (how often a thing is held, and so the gain, is our choice)",
    "Tables 1, 3 and 5",
    {
        "pose": System({"looks": "unseen"}),
        "pose and hands": System({"looks": "hands"}),
        "pose and box": System({"looks": "box"}),
        "pose and hands, held things undrawn (control)": System({"looks": "hands, undrawn"}),
        "pose and hands, shuffled labels (control)": System({"looks": "hands", "shuffled": True}),
    },
    (
        Comparison("pose and hands", "pose", "appearance at the hands helps object manipulation", "OM"),
        Comparison("pose and hands", "pose", "the same, all classes", "all"),
        Comparison("pose and box", "pose", "appearance in the whole box helps object manipulation", "OM"),
        Comparison("pose and hands", "pose and box", "hands over the whole box", "OM"),
        Comparison(
            "pose and hands",
            "pose and hands, held things undrawn (control)",
            "it is held things that are seen",
            "OM",
        ),
        Comparison(
            "pose and hands, held things undrawn (control)",
            "pose",
            "undrawn, nothing is gained (control)",
            "OM",
        ),
        Comparison(
            "pose and hands", "pose and hands, shuffled labels (control)", "it is the labels that are learnt"
        ),
    ),
)

QUESTIONS: dict[str, Question] = {
    "ladder": LADDER,
    "inputs": INPUT,
    "direction": DIRECTION,
    "hidden": Question(
        "A person hidden about the key frame: where masks matter (equal sizes and steps)",
        "section 3.1, supplement C.2",
        {
            row: System(HIDING[name] | {"hidden": True}, variant=frames)
            for row, (name, frames) in HIDDEN_ROWS.items()
        },
        tuple(_hidden_comparisons()),
    ),
    "scenes": SCENES,
    "people": Question(
        "a) More people help",
        "Table 2, Figure 6",
        {f"n = {n}": System({"people": n}) for n in range(1, 6)} | {CONTROL: SHUFFLED},
        (
            Comparison("n = 5", "n = 1", "five people over one", "all", 1.2),
            Comparison("n = 5", "n = 1", "five people over one, person interaction", "PI", 3.9),
            *(Comparison(f"n = {n}", f"n = {n - 1}", "one more person", "all") for n in range(2, 6)),
        ),
    ),
    "tracking": Question(
        "b) Tracking over single detections",
        "Table 5",
        {
            "3D tracker": LART,
            "true identities": System({"tracker": "truth"}),
            "overlap of boxes": System({"tracker": "iou"}),
            "3D tracker, labels at key frames": System({"labels": "key frame"}),
            # A detection is a tracklet here: there are more of them, each a thirtieth of the work.
            "no tracking": System({"tracker": "none", "labels": "key frame", "steps": 3.0}),
            CONTROL: SHUFFLED,
        },
        (
            Comparison("3D tracker", "no tracking", "tracking over single detections", paper=1.2),
            Comparison("3D tracker", "overlap of boxes", "the 3D tracker over overlap of boxes"),
            Comparison("true identities", "3D tracker", "true identities over the tracker's"),
            Comparison("3D tracker", "3D tracker, labels at key frames", "labels carried along the track"),
        ),
    ),
    "pose": Question(
        "c) 3D pose over the same people's 2D keypoints, in a model of the same size",
        "Table 2",
        {"3D pose": LART, "2D keypoints": System({"inputs": "2D keypoints"}), CONTROL: SHUFFLED}
        | {
            "3D pose, n = 1": System({"people": 1}),
            "2D keypoints, n = 1": System({"people": 1, "inputs": "2D keypoints"}),
        },
        (
            Comparison("3D pose", "2D keypoints", "3D over 2D (the paper: over JMRN)", paper=10.0),
            Comparison(
                "3D pose, n = 1", "2D keypoints, n = 1", "3D over 2D, one person (over JMRN)", paper=8.8
            ),
        ),
    ),
    "pretraining": Question(
        "d) Pre-training on pseudo labels",
        "section 4.4",
        {
            "pre-trained, then fine-tuned": PRETRAINED,
            "from scratch, as many steps of ground truth": LART,
            "from scratch, as many steps in all": System({"steps": 2.0}),
            "one frame, as many steps in all": System({**ONE_FRAME.changes, "steps": 2.0}, variant=1),
            "pre-trained alone": System({"steps": 0.0, "pretrain_steps": 1.0}),
            CONTROL: SHUFFLED,
        },
        (
            Comparison(
                "pre-trained, then fine-tuned",
                "from scratch, as many steps of ground truth",
                "pre-training before the same fine-tuning",
            ),
            Comparison(
                "pre-trained, then fine-tuned",
                "from scratch, as many steps in all",
                "pre-training over the same steps of ground truth",
            ),
            Comparison("pre-trained, then fine-tuned", "pre-trained alone", "fine-tuning on ground truth"),
            Comparison(
                "from scratch, as many steps in all",
                "one frame, as many steps in all",
                "time matters to the same network, after twice the steps",
            ),
        ),
    ),
    "masking": Question(
        "e) Mask ratio of pre-training",
        "Table 7",
        {
            f"mask ratio {ratio}": System({**PRETRAINED.changes, "pretrain_mask": ratio})
            for ratio in (0.0, 0.2, 0.4, 0.6)
        }
        | {CONTROL: SHUFFLED},
        tuple(
            Comparison("mask ratio 0.4", f"mask ratio {ratio}", f"0.4 over {ratio}")
            for ratio in (0.0, 0.2, 0.6)
        ),
    ),
    "pooling": Question(
        "f) Scores pooled over 12 frames",
        "section 4, supplement C.2",
        {f"{frames} frames": System(variant=frames) for frames in sorted(POOLS)} | {CONTROL: SHUFFLED},
        tuple(
            Comparison("12 frames", f"{frames} frames", f"12 frames over {frames}")
            for frames in sorted(POOLS)
            if frames != 12
        ),
    ),
    "parts": Question(
        "g) What each part of the person-vector brings",
        "section 3.1, supplement C.2.1",
        {"all of it": LART}
        | {
            name: System({"inputs": name})
            for name in ("no pose", "no orientation", "no shape", "no place", "pose alone", "place alone")
        }
        | {CONTROL: SHUFFLED},
        tuple(
            Comparison("all of it", f"no {part}", f"what the {part} brings")
            for part in ("pose", "orientation", "shape", "place")
        ),
    ),
    "skeletr": SKELETR,
    "skeletr-parts": SKELETR_PARTS,
    "skeletr-steps": SKELETR_STEPS,
    "skeletr-joint": SKELETR_JOINT,
    "appearance": APPEARANCE,
}


def chosen(names: list[str]) -> dict[str, Question]:
    """The questions of these names, in their order here. Raises BadInput for an unknown one, and for none."""
    unknown = [name for name in names if name not in QUESTIONS]
    if unknown or not names:
        raise BadInput("ablate", "claim", " | ".join(QUESTIONS), unknown[0] if unknown else "none")
    return {name: question for name, question in QUESTIONS.items() if name in names}
