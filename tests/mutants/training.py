"""Mistakes in the trainer, LART's recipe and its model."""

from __future__ import annotations

from mutants import Mutant

LOOP, BATCHES, RECIPE = (
    "lart_mini/training/loop.py",
    "lart_mini/training/batches.py",
    "lart_mini/lart/recipe.py",
)
TRAIN, RESUME, STAGES = "tests/test_train.py", "tests/test_train_resume.py", "tests/test_stages.py"
STORE, PARTS = "tests/test_store_stages.py", "tests/test_distributed.py"

MUTANTS = [
    Mutant(
        "the same dropout on every rank",
        LOOP,
        "_chance(config.seed, went.step, fabric.global_rank)",
        "_chance(config.seed, went.step, 0)",
        (PARTS,),
    ),
    Mutant(
        "the same dropout in every step",
        LOOP,
        "_chance(config.seed, went.step, fabric.global_rank)",
        "_chance(config.seed, 0, fabric.global_rank)",
        (TRAIN,),
    ),
    Mutant("a resumed epoch begins anew", LOOP, "skip=went.step % per_epoch", "skip=0", (RESUME,)),
    Mutant("layers' rates are ignored", LOOP, 'rate * group["scale"]', "rate", (TRAIN,)),
    Mutant("the loss is not scaled", LOOP, "mean * config.loss_scale *", "mean *", (TRAIN,)),
    Mutant("gradients are not clipped", LOOP, "most = config.clip or math.inf", "most = math.inf", (TRAIN,)),
    Mutant(
        "parts of a batch weigh alike",
        LOOP,
        "part, weight)",
        "part, part.weight() * len(starts))",
        (PARTS,),
    ),
    Mutant("the average starts late", LOOP, "steps / (steps + 10)", "steps / (steps + 100)", (TRAIN,)),
    Mutant(
        "the model ends without its average",
        LOOP,
        "if average is not None:\n            model.load",
        "if average is None:\n            model.load",
        (TRAIN,),
    ),
    Mutant(
        "metrics of steps done twice stay", "lart_mini/training/metrics.py", "< first]", "< 1e9]", (RESUME,)
    ),
    Mutant("epochs have one order", BATCHES, "set_epoch(number, skip)", "set_epoch(0, skip)", (TRAIN,)),
    Mutant(
        "epochs have one set of crops", BATCHES, "samples.set_epoch(number)", "samples.set_epoch(0)", (TRAIN,)
    ),
    Mutant(
        "a share may be empty",
        BATCHES,
        "self.samples[0].ignored()",
        "self.samples.__getitems__([0])",
        (PARTS,),
    ),
    Mutant("drop path is not set", RECIPE, "model.set_drop_path(config.drop_path)", "pass", (TRAIN,)),
    Mutant(
        "others do not count in the loss",
        RECIPE,
        "(loss * counts).sum()",
        "(loss * counts)[:, :1].sum()",
        (TRAIN,),
    ),
    Mutant(
        "the digest forgets the model",
        RECIPE,
        '"data": data.path.name, "model": model}',
        '"data": data.path.name}',
        (STAGES,),
    ),
    Mutant(
        "fine-tuning starts from a control's pre-training of its own",
        RECIPE,
        "plain = dataclasses.replace(recipe, shuffled=False)",
        "plain = dataclasses.replace(recipe, shuffled=False, seed=recipe.seed + 1)",
        (STAGES,),
    ),
    Mutant(
        "the control is none", RECIPE, "    if recipe.shuffled:", "    if not recipe.shuffled:", (STAGES,)
    ),
    Mutant(
        "a store's fine-tuning learns from pseudo labels",
        RECIPE,
        'labels="any" if stage == "pretrain" else "ground truth"',
        'labels="any"',
        (STAGES,),
    ),
    Mutant(
        "options that do nothing are taken",
        "lart_mini/cli.py",
        'source.name == "COMMANDLINE"',
        'source.name == "ENVIRONMENT"',
        (STORE,),
    ),
    Mutant(
        "another training's state is removed",
        "lart_mini/training/checkpoints.py",
        "            self.state.unlink(missing_ok=True)",
        '            for path in self.state.parent.glob("*.state"):\n                path.unlink()',
        (STORE,),
    ),
]
