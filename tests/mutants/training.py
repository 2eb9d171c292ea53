"""Mistakes in the trainer, LART's recipe and its model."""

from __future__ import annotations

from mutants import Mutant

AHEAD = "tests/test_ahead.py"
DATASETS, ROWS, MODEL = (f"lart_mini/lart/{name}.py" for name in ("datasets", "rows", "model"))
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
        "_chance(config.seed, step, fabric.global_rank)",
        "_chance(config.seed, step, 0)",
        (PARTS,),
    ),
    Mutant(
        "the same dropout in every step",
        LOOP,
        "_chance(config.seed, step, fabric.global_rank)",
        "_chance(config.seed, 0, fabric.global_rank)",
        (TRAIN,),
    ),
    Mutant(
        "a resumed epoch begins anew",
        BATCHES,
        "epoch, skip = divmod(step, per_epoch)",
        "epoch, skip = step // per_epoch, 0",
        (RESUME,),
    ),
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
    Mutant(
        "epochs have one order",
        BATCHES,
        "self.sampler.set_epoch(epoch, skip)",
        "self.sampler.set_epoch(0, skip)",
        (TRAIN,),
    ),
    Mutant(
        "epochs have one set of crops",
        BATCHES,
        "self.samples.set_epoch(epoch)",
        "self.samples.set_epoch(0)",
        (TRAIN,),
    ),
    Mutant(
        "a share may be empty",
        BATCHES,
        "yield batch.ignored() if ignored else batch",
        "yield batch",
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
    Mutant(
        "a ruined step is taken where nobody looks",
        LOOP,
        "found.copy_(torch.maximum(ruined, found))",
        "pass",
        (AHEAD,),
    ),
    Mutant(
        "steps after a ruined one are taken",
        LOOP,
        "torch.maximum(ruined, found)",
        "ruined",
        (AHEAD,),
    ),
    Mutant("all items draw alike", DATASETS, '["counter"][2] = index', '["counter"][2] = 0', (AHEAD,)),
    Mutant(
        "a plan made ahead ignores masks",
        MODEL,
        "pack(detected, detected & ~masked)",
        "pack(detected, detected)",
        (AHEAD,),
    ),
    Mutant("who is not there keeps the slot", ROWS, 'if assembly.slots == "seen":', "if False:", (AHEAD,)),
    Mutant(
        "who spans the window is kept, whatever the profile",
        ROWS,
        "rows[self._spanning(others, window, inside)] = 0",
        "pass",
        (AHEAD,),
    ),
    Mutant("a window ends a row late", ROWS, "at < usable[:, None]", "at <= usable[:, None]", (AHEAD,)),
    Mutant(
        "a frame number too many in a window", ROWS, "<= ends[..., None])", "< ends[..., None])", (AHEAD,)
    ),
]
