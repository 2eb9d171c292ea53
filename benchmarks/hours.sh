#!/bin/sh
# What two CPU cores leave open: more seeds, UPS's blocks, routes and words in folds, heads by layers. Some hours
# of a card, side by side; what is stopped goes on.          sh benchmarks/hours.sh OUT [JOBS]
# The same at the smallest size, on a CPU, to try it:        sh benchmarks/hours.sh OUT 1 smoke
set -eu
out=$1 jobs=${2:-4} size=${3:-laptop}
cd "$(dirname "$0")/.."
python=${PYTHON:-python}
mkdir -p "$out"
if [ "$size" = smoke ]; then
    folds=2 seeds=1 rotations=1 epochs=1 steps=10
else
    folds=4 seeds=3 rotations=2000 epochs=30 steps=300
fi
of_folds=$(seq -s , 0 $((folds - 1))) of_seeds=$(seq -s , 0 $((seeds - 1)))

# SkeleTR's steps, and all that is asked of it after 960 steps instead of 480.
ablate() {
    $python -m lart_mini.cli ablate "$@" --size "$size" --folds $folds --seeds $seeds --jobs "$jobs" --out "$out/claims"
}
ablate skeletr-steps --steps $steps >"$out/skeletr_steps.txt"
ablate skeletr skeletr-parts skeletr-joint --steps $((2 * steps)) >"$out/skeletr.txt"
systems="baselines,long residual MLP,shared,lifting alone,separate,separate four times the steps"
systems="$systems,routed,routes by hand,random routes,random words,half the steps,twice the steps"
systems="$systems,one layer,one layer twice as long,five layers,five blocks,fine-tuned"
$python benchmarks/ups_tasks.py --systems "$systems" \
    --folds "$of_folds" --seeds "$of_seeds" --rotations $rotations --jobs "$jobs" \
    --runs "$out/ups" --json "$out/ups_folds.json" >"$out/ups.txt"
$python benchmarks/labelled_videos.py group --size "$size" --folds $folds --seeds $seeds \
    --epochs $((epochs + epochs / 3)) --runs "$out/group" --json "$out/group_activity.json" >"$out/group.txt"
$python benchmarks/action_transformer.py --size "$size" --folds $folds --seeds $((2 * seeds - 1)) \
    --epochs $epochs --runs "$out/action_transformer" --json "$out/action_transformer.json" >"$out/action_transformer.txt"
$python benchmarks/appearance.py --size "$size" --folds $folds --seeds $((2 * seeds - 1)) \
    --json "$out/appearance.json" >"$out/appearance.txt"
ls "$out"
