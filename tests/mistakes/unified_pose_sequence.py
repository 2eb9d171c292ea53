"""Mistakes in the blanks of 12_unified_pose_sequence."""

from __future__ import annotations

MISTAKES: dict[str, list[tuple[str, str, str]]] = {
    "write_pose": [
        (" + np.arange(3) * bins", "", "the axes share their words"),
        ("first + ", "", "after the actions"),
        ("words.ravel()", "words.T.ravel()", "joint by joint"),
        ("place.clip(0, bins - 1)", "place", "outermost bin"),
    ],
    "read_pose": [
        (" + 0.5", "", "a bin's edge"),
        (" * 2 - 1", "", "from -1 to 1 metre"),
        ("words.reshape(-1, 3)", "words.reshape(3, -1).T", "every third word"),
    ],
    "route": [
        ("hard - soft.detach() + soft", "soft", "a mixture"),
        ("scores + noise", "scores", "the noise is missing"),
        (" / temperature", "", "the temperature is missing"),
        ("hard - soft.detach() + soft", "hard * soft / soft.detach()", "the gradient is not"),
        ("hard - soft.detach() + soft", "hard", "does not require grad"),
    ],
    "look_back": [
        (" / math.sqrt(D)", "", "square root of D"),
        ("scores = keys @", "scores = keys[:, :-1] @", "does not look at itself"),
        ("return y, keys, values", "return y, keys[:, :-1], values[:, :-1]", "nothing is kept"),
        ("return y, keys, values", "return y, values, keys", "changed places"),
    ],
    "write_words": [
        ("model.position[k]", "model.position[0]", "place 0"),
        ("layer(h, keys, mask, own)", "layer(h, keys, mask, [])", "forgotten"),
        ("x = model.read(model.table[word])", "pass", "not told"),
    ],
}
