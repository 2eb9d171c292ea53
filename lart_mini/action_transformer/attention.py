"""What is looked at, and what keys tell, measured on what the renderer's ID masks say stands where.

The paper shows maps and says that they hone in on faces, hands and objects (section 5). In rendered scenes
every pixel's owner is known, so the share of the attention that falls on each can be counted, and held
against the share of the picture that it covers: a ratio of 1 is chance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
LEGS = (0, 1, 2, 4, 5, 7, 8, 10, 11)  # pelvis, hips and all below; the others are the upper body
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
    parts: list[list[Shares]] = [[], [], []]
    for clip, renderer in _rendered(clips, data, split, size, progress):
        maps = torch.stack(model.attentions(batch_of([clip], sampling).to(model.device)), 1)[0]
        a = maps.cpu().numpy()  # (layers,heads,N,T',H',W')
        shares = _shares(renderer, clip, sampling, a.shape[3:])  # (N,T',7,H',W')
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


def _rendered(
    clips: Sequence[KeyClip], data: Rendered, split: str, size: tuple[int, int], progress: bool
) -> Iterator[tuple[KeyClip, Renderer]]:
    """Each clip and who draws its video; clips of a video that follow each other share one."""
    names = {name: index for index, name in enumerate(data.videos(split)["video"].to_list())}
    renderers: dict[str, Renderer] = {}
    for clip in progress_bar(clips, desc="masks", disable=not progress):
        if clip.video not in renderers:
            renderers = {clip.video: data.renderer(split, names[clip.video], size)}
        yield clip, renderers[clip.video]


def _masks(renderer: Renderer, clip: KeyClip, sampling: Sampling, slices: int) -> list[Masks]:
    """Of the frame in the middle of each slice."""
    numbers = sampling.numbers(clip.second)[:: sampling.frames // slices]
    return [renderer.masks(frame) for frame in numbers.clip(0, renderer.world.scene.frames - 1).tolist()]


def _shares(renderer: Renderer, clip: KeyClip, sampling: Sampling, cells: tuple[int, ...]) -> Shares:
    """Of each person (N,T',7,H',W')."""
    side, things = _side(renderer, cells), renderer.world.things
    found = []
    for masks in _masks(renderer, clip, sampling, cells[0]):
        groups = [
            groups_of(masks, who, [k for k, thing in enumerate(things) if thing.actor == who])
            for who in clip.person.tolist()
        ]
        found.append([cell_shares(one, (cells[1], cells[2]), side) for one in groups])
    return np.array(found, np.float32).swapaxes(0, 1)


def _side(renderer: Renderer, cells: tuple[int, ...]) -> int:
    return -(-renderer.size[1] // cells[2])


# --------------------------------------------------------------------------------------- what keys are alike


def owners(masks: Masks, cells: tuple[int, int], side: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Whose each cell is (H',W'), −1 where nobody covers half of it, and whether it shows the upper body."""
    high, wide = cells[0] * side - masks.person.shape[0], cells[1] * side - masks.person.shape[1]
    person, joint = (
        np.pad(one, ((0, high), (0, wide)), mode="edge").reshape(cells[0], side, cells[1], side)
        for one in (masks.person, masks.joint)
    )
    found, upper = np.full(cells, -1), np.zeros(cells, bool)
    for who in set(masks.person[masks.person >= 0].tolist()):
        own = (person == who).mean((1, 3)) >= 0.5
        found[own] = who
        above = ((person == who) & ~np.isin(joint, LEGS)).mean((1, 3)) >= 0.25
        upper[own] = above[own]
    return found, upper


def nearest_tells(
    keys: NDArray[np.floating], group: NDArray[np.generic], apart: NDArray[np.generic]
) -> NDArray[np.float64]:
    """Each cell's nearest key of those that are `apart`: (N,D), (N,), (N,) -> (M,2).

    Right, 1 or 0: it is of the cell's own group; and the chance of that, the share of its group in those that
    are apart. Near is by cosine. Left out are cells for whom no choice is, or every one is, right.
    """
    if not len(keys):
        return np.zeros((0, 2))
    unit = keys / np.linalg.norm(keys, axis=1, keepdims=True).clip(1e-9)
    may, same = apart[:, None] != apart, group[:, None] == group
    chance = (may & same).sum(1) / may.sum(1).clip(1)
    near = np.where(may, unit @ unit.T, -np.inf).argmax(1)
    right = same[np.arange(len(keys)), near]
    asked = (chance > 0) & (chance < 1)
    return np.stack([right[asked], chance[asked]], axis=1).astype(np.float64)


@torch.no_grad()
def keys_tell(
    model: ActionTransformer,
    clips: Sequence[KeyClip],
    sampling: Sampling,
    data: Rendered,
    split: str,
    size: tuple[int, int],
    progress: bool = False,
) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Do keys tell who a cell shows, and what of a body? Shares of cells in 0–1, by question.

    "who": the nearest key on another slice of the clip is the same person's (Figure 4: one head tracks).
    "what": the nearest key of another person is of the same half of the body (the other is semantic). Of
    each: "keys" (layers,heads), "cells" () what the map tells that keys are made of, "chance" (). `size` as
    in `looked_at`. Raises BadInput for a network that does not attend.
    """
    model.eval()
    found: dict[str, list[list[NDArray[np.float64]]]] = {"who": [], "what": []}
    for clip, renderer in _rendered(clips, data, split, size, progress):
        batch = batch_of([clip], sampling).to(model.device)
        keys = model.keys(batch)[0].flatten(0, 1)  # (layers·heads,T',H',W',D)
        cells = model.location(model.trunk(batch.video))[0].permute(1, 2, 3, 0)  # (T',H',W',C)
        told = [
            owners(masks, (cells.shape[1], cells.shape[2]), _side(renderer, tuple(cells.shape)))
            for masks in _masks(renderer, clip, sampling, len(cells))
        ]
        person, upper = (np.stack(part) for part in zip(*told, strict=True))  # (T',H',W')
        at = person >= 0
        slices = np.nonzero(at)[0]
        read = [one.cpu().numpy()[at] for one in (*keys, cells)]
        ways = {"who": (person[at], slices), "what": (upper[at], person[at])}
        for way, (group, apart) in ways.items():
            found[way].append([nearest_tells(one, group, apart) for one in read])
    shape = (model.config.layers, model.config.heads)
    answer: dict[str, dict[str, NDArray[np.float64]]] = {}
    for way, by_clip in found.items():
        right = np.array([np.concatenate(one).mean(0) for one in zip(*by_clip, strict=True)])
        answer[way] = {"keys": right[:-1, 0].reshape(shape), "cells": right[-1, 0], "chance": right[-1, 1]}
    return answer
