"""Mistakes in skeletons, the graph network and SkeleTR."""

from mutants import Mutant

SKELETONS, STGCNPP = "lart_mini/data/skeletons.py", "lart_mini/skeletr/stgcnpp.py"
MODEL, DATASETS, RECIPE = (f"lart_mini/skeletr/{name}.py" for name in ("model", "datasets", "recipe"))
TESTS = "tests/test_skeletr.py::test_"

MUTANTS = [
    Mutant(
        "a gap forgets the last box",
        SKELETONS,
        "last = np.where(linked, found[np.arange(len(found)), best], last)",
        "last = np.where(linked, found[np.arange(len(found)), best], 0)",
        (
            "tests/test_skeletons.py::test_a_gap_keeps_the_last_box",
            "tests/test_skeletons.py::test_links_are_those_made_one_by_one",
        ),
    ),
    Mutant(
        "joints about the frame although told to be about the box",
        SKELETONS,
        'if unit == "box":',
        'if unit == "frame":',
        ("tests/test_skeletons.py::test_box_units_do_not_know_where_somebody_is",),
    ),
    Mutant(
        "the graph is read from child to parent",
        STGCNPP,
        "graph = self.graph.permute(2, 1, 0).flatten(1)",
        "graph = self.graph.permute(1, 2, 0).flatten(1)",
        ("tests/test_stgcnpp.py::test_equal_to_the_sums_written_out",),
    ),
    Mutant(
        "every block has a residual",
        STGCNPP,
        "return (y if self.first else y + self.residual(x)).relu()",
        "return (y if y.shape != x.shape else y + self.residual(x)).relu()",
        ("tests/test_stgcnpp.py::test_equal_to_the_sums_written_out",),
    ),
    Mutant(
        "empty slots are looked at",
        MODEL,
        "y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None])",
        "y = F.scaled_dot_product_attention(q, k, v)",
        (f"{TESTS}an_empty_slot_changes_nothing",),
    ),
    Mutant(
        "a video's mean counts empty slots",
        MODEL,
        "mean = (features * there).sum(1) / there.sum(1).clamp(min=1)",
        "mean = features.mean(1)",
        (f"{TESTS}an_empty_slot_changes_nothing",),
    ),
    Mutant(
        "a mirrored body keeps its left",
        DATASETS,
        "x = x[:, :, list(layout.mirrored)] * np.array([-1, 1, 1], np.float32)",
        "x = x * np.array([-1, 1, 1], np.float32)",
        (f"{TESTS}a_mirrored_sample_is_the_sample_of_the_mirrored_video",),
    ),
    Mutant(
        "labels of unlabelled sequences count as nobody doing anything",
        RECIPE,
        "(each * batch.label_weight[batch.present]).sum() / weight[0]",
        "each.sum() / weight[0]",
        (f"{TESTS}loss_is_the_sum_of_its_means_and_parts_add_up",),
    ),
    Mutant(
        "logits are averaged over windows, not probabilities",
        RECIPE,
        "probabilities = logits.sigmoid().float().cpu().numpy()",
        "probabilities = logits.float().cpu().numpy()",
        (f"{TESTS}windows_probabilities_are_averaged_for_each_sequence",),
    ),
]
