#!/bin/sh
# All that the kit wants to know of a card, in about ten minutes:  sh benchmarks/gpu.sh OUT
# The same at the smallest size, on a CPU:                       sh benchmarks/gpu.sh OUT smoke
# OUT/gpu.json: benchmarks/gpu.py. OUT/lesson: notebooks 05 to 07 of the profile, stopped after a minute and
# gone on with. OUT/lesson.txt: what they said, and the seconds.
set -eu
out=$1 profile=${2:-gpu}
cd "$(dirname "$0")/.."
python=${PYTHON:-python}
mkdir -p "$out"
if [ "$profile" = gpu ]; then
    sizes="--device cuda"
else
    sizes="--device cpu --size smoke --batch 4 --steps 1 --warm-up 1 --epochs 1 --presets small --eager"
fi
$python -m lart_mini.cli info --size "$profile" >"$out/data.txt" # composes it
$python benchmarks/gpu.py $sizes --json "$out/gpu.json" | tee "$out/gpu.txt"
lesson="$python -m lart_mini.cli reproduce --profile $profile --only 05,06,07 --out $out/lesson"
began=$(date +%s)
timeout 60 $lesson >"$out/lesson.txt" 2>&1 || echo "stopped after $(($(date +%s) - began)) s" >>"$out/lesson.txt"
$lesson >>"$out/lesson.txt" 2>&1
echo "all of it $(($(date +%s) - began)) s" >>"$out/lesson.txt"
cat "$out/lesson.txt"
