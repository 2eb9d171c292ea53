"""What is looked at, measured: a network's attention on what the renderer's ID masks say stands where.

The paper shows maps and says that they hone in on faces, hands and objects (section 5). In rendered scenes
every pixel's owner is known, so the share of the attention that falls on each can be counted, and held
against the share of the picture that it covers: a ratio of 1 is chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lart_mini.action_transformer.datasets import KeyClip, Sampling, batch_of
from lart_mini.action_transformer.model import ActionTransformer
from lart_mini.data.rendered import Rendered
from lart_mini.progress import progress as progress_bar
from lart_mini.scenes.render import Masks, Renderer

HANDS, HEAD = (20, 21, 22, 23), (12, 15)  # SMPL's wrists and hands; neck and head
GROUPS = ("body", "hands", "head", "held thing", "other people", "other things", "background")
OWN = GROUPS[:3]  # of the person who is asked about
Shares = NDArray[np.float32]


def groups_of(masks: Masks, person: int, own_things: Sequence[int]) -> NDArray[np.int64]:
    """The number in GROUPS of each pixel (H,W), for who asks: own body, hands, head and thing, or others'."""
    own = masks.person == person
    found = np.full(masks.person.shape, GROUPS.index("background"))
    found[masks.person >= 0] = GROUPS.index("other people")
    found[masks.thing >= 0] = GROUPS.index("other things")
    found[np.isin(masks.thing, own_things) & (masks.thing >= 0)] = GROUPS.index("held thing")
    found[own] = GROUPS.index("body")
    found[own & np.isin(masks.joint, HANDS)] = GROUPS.index("hands")
    found[own & np.isin(masks.joint, HEAD)] = GROUPS.index("head")
    return found


def cell_shares(groups: NDArray[np.int64], cells: tuple[int, int], side: int) -> Shares:
    """Of the pixels of each cell of a map the share of each group: (H,W) -> (7,H',W'), 1 in all.

    `side`: pixels of a cell. Beyond the picture its last row and column go on, as in the maps.
    """
    high, wide = cells[0] * side, cells[1] * side
    whole = np.pad(groups, ((0, high - groups.shape[0]), (0, wide - groups.shape[1])), mode="edge")
    one_hot = whole[None] == np.arange(len(GROUPS))[:, None, None]
    return one_hot.reshape(len(GROUPS), cells[0], side, cells[1], side).mean(axis=(2, 4)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Looked:
    """Of N people, in GROUPS' order: shares of the attention and of the picture, which add up to 1."""

    mass: Shares  # (N,layers,heads,7) of the person's own query
    others: Shares  # (N,layers,heads,7) of the mean query of the others on the frame; nan where it is alone
    area: Shares  # (N,7)

    def ratio(self, groups: Sequence[str] = OWN, by_others: bool = False) -> NDArray[np.float64]:
        """(layers,heads): attention on these groups by the area that they cover; 1 is chance.

        People who do not show any of them are left out, and for `by_others` those who are alone.
        """
        columns = [GROUPS.index(name) for name in groups]
        mass = (self.others if by_others else self.mass)[..., columns].sum(-1)
        area = self.area[:, columns].sum(-1)
        seen = (area > 0) & ~np.isnan(mass[:, 0, 0])
        return mass[seen].sum(0, dtype=np.float64) / area[seen].sum(dtype=np.float64)


@torch.no_grad()
def looked_at(
    model: ActionTransformer,
    clips: Sequence[KeyClip],
    sampling: Sampling,
    data: Rendered,
    split: str,
    size: tuple[int, int],
    progress: bool = False,
) -> Looked:
    """Where the attention of every person of these clips goes; `size`: the pictures that the trunk saw.

    A slice of the map stands for the frame in its middle. Raises BadInput for a network that does not attend.
    """
    model.eval()
    names = {name: index for index, name in enumerate(data.videos(split)["video"].to_list())}
    parts: list[list[Shares]] = [[], [], []]
    renderers: dict[str, Renderer] = {}
    for clip in progress_bar(clips, desc="masks", disable=not progress):
        if clip.video not in renderers:
            renderers = {clip.video: data.renderer(split, names[clip.video], size)}
        maps = torch.stack(model.attentions(batch_of([clip], sampling).to(model.device)), 1)[0]
        a = maps.cpu().numpy()  # (layers,heads,N,T',H',W')
        shares = _shares(renderers[clip.video], clip, sampling, a.shape[3:])  # (N,T',7,H',W')
        people = np.arange(len(clip.box))
        on = np.einsum("lhqtij,ntgij->nqlhg", a, shares)  # of query q on what is n's
        parts[0].append(on[people, people])
        rest = [np.delete(on[n], n, axis=0) for n in people]
        parts[1].append(
            np.stack([one.mean(0) if len(one) else np.full(on.shape[2:], np.nan) for one in rest])
        )
        parts[2].append(shares.mean((1, 3, 4)))
    mass, others, area = (np.concatenate(part).astype(np.float32) for part in parts)
    return Looked(mass, others, area)


def _shares(renderer: Renderer, clip: KeyClip, sampling: Sampling, cells: tuple[int, ...]) -> Shares:
    """Of each person (N,T',7,H',W')."""
    numbers = sampling.numbers(clip.second)[:: sampling.frames // cells[0]].clip(
        0, renderer.world.scene.frames - 1
    )
    side, things = -(-renderer.size[1] // cells[2]), renderer.world.things
    found = []
    for frame in numbers.tolist():
        masks = renderer.masks(frame)
        groups = [
            groups_of(masks, who, [k for k, thing in enumerate(things) if thing.actor == who])
            for who in clip.person.tolist()
        ]
        found.append([cell_shares(one, (cells[1], cells[2]), side) for one in groups])
    return np.array(found, np.float32).swapaxes(0, 1)
