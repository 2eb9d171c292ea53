"""Mistakes in the Video Action Transformer, its proposals and its clips."""

from mutants import Mutant

MODEL, PROPOSALS, TRUNK, CLIPS, RECIPE, ATTENTION = (
    f"lart_mini/action_transformer/{name}.py"
    for name in ("model", "proposals", "trunk", "datasets", "recipe", "attention")
)
TESTS, CLIP_TESTS = "tests/test_action_transformer.py::test_", "tests/test_action_clips.py::test_"

MUTANTS = [
    Mutant(
        "a slice beside the key frame is pooled",
        MODEL,
        "found = self.query(roi_pool(x[:, :, x.shape[2] // 2], boxes))",
        "found = self.query(roi_pool(x[:, :, x.shape[2] // 2 - 1], boxes))",
        (f"{TESTS}tx_head_is_the_loop",),
    ),
    Mutant(
        "scores that are not divided by the root of D",
        MODEL,
        "a = (scores / math.sqrt(query.shape[-1])).softmax(-1)",
        "a = scores.softmax(-1)",
        (f"{TESTS}tx_head_is_the_loop",),
    ),
    Mutant(
        "all layers ask the first query",
        MODEL,
        "found = torch.cat([query for query, _ in made], dim=-1)",
        "found = torch.cat([query.detach() * 0 + 1 for query, _ in made], dim=-1)",
        (f"{TESTS}tx_head_is_the_loop",),
    ),
    Mutant(
        "time is counted from the clip's first frame",
        MODEL,
        "middles = frames // 2, (high - 1) / 2, (wide - 1) / 2",
        "middles = 0, (high - 1) / 2, (wide - 1) / 2",
        (f"{TESTS}location_is_the_loop",),
    ),
    Mutant(
        "places are halves of this clip's map, not of the training's",
        MODEL,
        "self.halves = [max(count / 2, 1) for count in cells]",
        "self.halves = [max(count / 2, 1) + 1 for count in cells]",
        (f"{TESTS}location_is_the_loop",),
    ),
    Mutant(
        "the I3D head reads places, which its published weights cannot",
        MODEL,
        "self.i3d = I3DHead(channels, config)",
        "self.i3d = I3DHead(placed, config)",
        (f"{TESTS}the_paper_says_2_3_million_fewer",),
    ),
    Mutant(
        "batch norm learns",
        TRUNK,
        "            self[1].eval()\n",
        "            pass\n",
        (f"{TESTS}full_width_forward_and_backward_on_few_frames",),
    ),
    Mutant(
        "a box that has gone drives others away",
        PROPOSALS,
        "        if not gone[place]:\n            kept.append(place)\n            gone |= over[place]\n",
        "        if not gone[place]:\n            kept.append(place)\n        gone |= over[place]\n",
        (f"{TESTS}overlaps_nms_codes_and_anchors_are_the_loops",),
    ),
    Mutant(
        "boxes are coded in their own size",
        PROPOSALS,
        "    size = sizes(anchors).clamp(min=1e-6)\n    move",
        "    size = sizes(boxes).clamp(min=1e-6)\n    move",
        (f"{TESTS}overlaps_nms_codes_and_anchors_are_the_loops",),
    ),
    Mutant(
        "undecided anchors are nobody's",
        PROPOSALS,
        "torch.where(best < NEGATIVE, -1, -2)",
        "torch.where(best < POSITIVE, -1, -2)",
        (f"{TESTS}matched_says_who_nobody_and_undecided",),
    ),
    Mutant(
        "whoever is small has no anchor",
        PROPOSALS,
        "return torch.where(own.any(1), own.float().argmax(1), who)",
        "return who",
        (f"{TESTS}matched_says_who_nobody_and_undecided",),
    ),
    Mutant(
        "people in empty slots are learnt from",
        PROPOSALS,
        "who = matched(regions.anchors, boxes[there])",
        "who = matched(regions.anchors, boxes)",
        (f"{TESTS}rpn_learns_from_people_alone_and_proposals_are_the_best",),
    ),
    Mutant(
        "a proposal near somebody in an empty slot is theirs",
        RECIPE,
        ".masked_fill(~batch.present[:, None], 0)",
        "",
        (f"{TESTS}targets_of_proposals",),
    ),
    Mutant(
        "a part's loss is divided by its own weight",
        RECIPE,
        "weight = (batch.weight() if weight is None else weight).clamp(min=1)",
        "weight = batch.weight().clamp(min=1)",
        (f"{TESTS}loss_is_a_mean_over_people_and_adds_up_over_parts",),
    ),
    Mutant(
        "a mirrored clip keeps its boxes",
        CLIPS,
        "            if mirror:\n                own",
        "            if not mirror:\n                own",
        (f"{CLIP_TESTS}a_mirrored_clip_has_mirrored_boxes",),
    ),
    Mutant(
        "the key frame is the clip's first",
        CLIPS,
        "(np.arange(self.frames) - self.frames // 2)",
        "np.arange(self.frames)",
        (f"{CLIP_TESTS}a_clip_is_centred_on_its_key_frame_and_ends_where_the_video_ends",),
    ),
    Mutant(
        "the picture fills the map",
        CLIPS,
        "    return box * np.array([wide, high, wide, high], np.float32)\n",
        "    return box\n",
        (f"{CLIP_TESTS}boxes_are_of_what_is_watched_which_is_a_little_more_than_the_picture",),
    ),
    Mutant(
        "attention on the others' cells counts as one's own",
        ATTENTION,
        "parts[0].append(on[people, people])",
        "parts[0].append(on[people, people[::-1]])",
        (f"{CLIP_TESTS}attention_by_area_is_1_everywhere_and_1_by_the_area_on_oneself",),
    ),
    Mutant(
        "codes of all classes are learnt, whoever does what",
        RECIPE,
        "share = known / known.sum(-1, keepdim=True).clamp(min=1) if by_class else somebody.float()",
        "share = somebody.float() / output.code.shape[2]",
        (f"{TESTS}boxes_by_class_are_learnt_by_those_who_do_it",),
    ),
    Mutant(
        "boxes by class are suppressed by another class's score",
        RECIPE,
        "own = scores[place] * told[column].to(scores)",
        "own = scores[place]",
        (f"{CLIP_TESTS}boxes_by_class_are_each_class_s_own",),
    ),
    Mutant(
        "the nearest key is looked for on one's own slice, too",
        ATTENTION,
        "may, same = apart[:, None] != apart, group[:, None] == group",
        "may, same = ~np.eye(len(keys), dtype=bool), group[:, None] == group",
        (f"{CLIP_TESTS}nearest_keys_tell_what_they_hold_and_chance_is_counted",),
    ),
]
