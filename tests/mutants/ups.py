"""Mistakes in UPS: its vocabulary, tasks, model, training and scores."""

from mutants import Mutant

VOCABULARY, TASKS, MODEL, RECIPE, SCORES, BASELINES = (
    f"lart_mini/ups/{name}.py" for name in ("vocabulary", "tasks", "model", "recipe", "scores", "baselines")
)
TESTS = "tests/test_ups"

MUTANTS = [
    Mutant(
        "a bin is read as its edge",
        VOCABULARY,
        "(np.arange(self.bins) + 0.5) / self.bins",
        "np.arange(self.bins) / self.bins",
        (f"{TESTS}_vocabulary.py::test_a_pose_is_its_sentence",),
    ),
    Mutant(
        "all axes share their words",
        VOCABULARY,
        "words = place.clip(0, self.bins - 1) + len(self.actions) + np.arange(3) * self.bins",
        "words = place.clip(0, self.bins - 1) + len(self.actions)",
        (f"{TESTS}_vocabulary.py::test_a_pose_is_its_sentence",),
    ),
    Mutant(
        "early prediction is told what comes",
        TASKS,
        "return Views(task, pose * seen[..., None, None], seen, goal, source.label, source.take)",
        "return Views(task, pose, np.ones_like(seen), goal, source.label, source.take)",
        (f"{TESTS}_tasks.py::test_early_prediction_sees_no_future",),
    ),
    Mutant(
        "words to come are looked at",
        MODEL,
        "x = x + self.own(normed, keys, causal=past is None)",
        "x = x + self.own(normed, keys)",
        (f"{TESTS}.py::test_words_to_come_change_nothing",),
    ),
    Mutant(
        "a kept word is forgotten",
        MODEL,
        "            past[:] = [keys]\n",
        "            past[:] = [keys[:, :, :, -1:]]\n",
        (f"{TESTS}.py::test_cached_decoding_is_teacher_forcing_step_by_step",),
    ),
    Mutant(
        "the choice of a block is soft",
        MODEL,
        "F.gumbel_softmax(score, self.config.temperature, hard=True)",
        "F.gumbel_softmax(score, self.config.temperature)",
        (f"{TESTS}.py::test_gumbel_draws_blocks_as_often_as_softmax_says",),
    ),
    Mutant(
        "routes are drawn when tested, too",
        MODEL,
        "drawn = self.training and self.config.routes is None",
        "drawn = self.config.routes is None",
        (f"{TESTS}.py::test_routes_are_the_best_scores_and_a_task_uses_its_own_blocks_alone",),
    ),
    Mutant(
        "frames that were not observed are looked at",
        MODEL,
        "y = y + self.attention(normed, self.attention.keys(normed), mask)",
        "y = y + self.attention(normed, self.attention.keys(normed))",
        (f"{TESTS}.py::test_what_is_not_observed_changes_nothing",),
    ),
    Mutant(
        "the four models of UPS_separate take all steps",
        RECIPE,
        'rotations = recipe.rotations if equal == "task" else recipe.steps',
        "rotations = recipe.steps",
        (f"{TESTS}_recipe.py::test_steps_are_counted",),
    ),
    Mutant(
        "fine-tuning sees the joint training's batches again",
        RECIPE,
        "seed=LARGEST_SEED - recipe.seed",
        "seed=recipe.seed",
        (f"{TESTS}_recipe.py::test_no_batch_of_fine_tuning_was_one_of_the_joint_training",),
    ),
    Mutant(
        "frames that show nobody are read",
        TASKS,
        "own = own[own.any(axis=(1, 2))]",
        "own = own[:]",
        (f"{TESTS}_tasks.py::test_a_users_skeletons_are_seen_as_the_kits",),
    ),
    Mutant(
        "a checkpoint of another vocabulary is taken",
        RECIPE,
        "    if own.digest != wanted:\n",
        "    if own.bins < 0:\n",
        (f"{TESTS}.py::test_checkpoint_carries_its_vocabulary",),
    ),
    Mutant(
        "tasks of one size share a recorded step",
        "lart_mini/training/graphs.py",
        "size = (batch.kind(), *shapes)",
        "size = (0, *shapes)",
        (f"{TESTS}_recipe.py::test_each_task_is_recorded_by_itself",),
    ),
    Mutant(
        "a GPU is waited for to tell the task",
        "lart_mini/ups/model.py",
        "return replace(super().to(device), task=self.task)",
        "return super().to(device)",
        (f"{TESTS}_recipe.py::test_a_step_waits_for_no_value",),
    ),
    Mutant(
        "weights of takes do not reach the classes",
        SCORES,
        "classes = [weights * (judged.label == label) for label in np.unique(judged.label)]",
        "classes = [1.0 * (judged.label == label) + 0 * weights for label in np.unique(judged.label)]",
        (f"{TESTS}_recipe.py::test_scores_under_weights_are_those_of_takes_standing_so_often",),
    ),
    Mutant(
        "motion is as fast as it was captured",
        TASKS,
        "rate = 1 - rng.uniform(0, how.slower, count) if augment and how.slower else np.ones(count)",
        "rate = np.ones(count)",
        (f"{TESTS}_tasks.py::test_performers_can_be_varied",),
    ),
    Mutant(
        "no joint is astray",
        TASKS,
        "off = np.where(rng.random((*shape, 1)) < how.astray, how.astray_by, how.noise_2d)",
        "off = np.where(rng.random((*shape, 1)) < 0, how.astray_by, how.noise_2d)",
        (f"{TESTS}_tasks.py::test_detectors_faults_are_as_often_as_said",),
    ),
    Mutant(
        "the linear model of early prediction learns from whole windows",
        BASELINES,
        "drawn = training_views(task, source, rng, samples, ratio=ratio)",
        "drawn = training_views(task, source, rng, samples, ratio=1.0)",
        (f"{TESTS}_recipe.py::test_baselines_answer_what_they_should",),
    ),
    Mutant(
        "a pose stays where its hip was in the middle",
        "lart_mini/cli.py",
        "said.mean_pose @ turns",
        "said.mean_pose",
        (f"{TESTS}_recipe.py::test_lift_from_the_command_line",),
    ),
    Mutant(
        "shipped weights are not held against their card",
        "lart_mini/training/checkpoints.py",
        "    if expected != found:\n",
        "    if not found:\n",
        (f"{TESTS}_shipped.py::test_other_weights_than_the_cards_are_refused",),
    ),
]
