"""`python tests/interrupted [compose|convert|train|reproduce …] [--times 20] [--seed 0]`"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:1] = [str(ROOT), str(ROOT / "tests")]  # the package beside us, this folder and the factories

from interrupted import WORKS, kill  # noqa: E402

parser = argparse.ArgumentParser(description="Kill work at random moments, and do it again.")
parser.add_argument("works", nargs="*", metavar="work", help=f"{', '.join(WORKS)}; all if none is given")
parser.add_argument("--times", type=int, default=20, help="kills of each")
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()
if unknown := set(options.works) - set(WORKS):
    parser.error(f"no work {', '.join(sorted(unknown))}")
failed = False
with tempfile.TemporaryDirectory() as folder:
    for name in options.works or WORKS:
        told = kill(name, Path(folder) / name, options.times, options.seed)
        print(told, flush=True)
        failed |= bool(told.faults)
sys.exit(failed)
