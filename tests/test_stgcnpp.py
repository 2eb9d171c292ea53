"""ST-GCN++: equal to its sums written out, the published size, and blind to what is not there."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from reference import skeletr as reference
from torch import Tensor

from lart_mini.files import BadInput
from lart_mini.skeletr.stgcnpp import LAYOUTS, STGCNPP, Layout, STGCNConfig

SMALL = {"widths": (8, 8, 20), "strides": (1, 1, 2)}


def stirred(config: STGCNConfig, seed: int = 0) -> STGCNPP:
    """A model in eval mode in which no number is what it is at the start, statistics included."""
    torch.manual_seed(seed)
    model = STGCNPP(config)
    for name, value in model.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2)
        elif value.is_floating_point():
            value.add_(0.1 * torch.randn_like(value))
    return model.eval()


def given(config: STGCNConfig, *shape: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, LAYOUTS[config.layout].joints, config.channels, generator=generator)


# ---------------------------------------------------------------------------------------------------- layouts


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_a_layout_is_a_tree_in_five_parts_and_its_own_mirror_image(layout: Layout) -> None:
    reached = set()
    for joint in range(layout.joints):
        way = [joint]
        while layout.parents[way[-1]] != way[-1]:
            way.append(layout.parents[way[-1]])
            assert len(way) <= layout.joints, "a circle"
        reached.add(way[-1])
    assert len(reached) == 1, "one middle"
    assert len(layout.parts) == 5
    assert sorted(joint for part in layout.parts for joint in part) == list(range(layout.joints))
    other = layout.mirrored
    assert all(other[other[joint]] == joint for joint in range(layout.joints))
    assert all(other[layout.parents[j]] == layout.parents[other[j]] for j in range(layout.joints))
    assert {frozenset(other[j] for j in part) for part in layout.parts} == set(map(frozenset, layout.parts))


def test_layouts_have_the_published_joints() -> None:
    assert {name: layout.joints for name, layout in LAYOUTS.items()} == {
        "coco": 17, "nturgb+d": 25, "openpose": 18, "hand": 21,
    }  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_columns_of_the_graphs_add_up_to_one(layout: Layout) -> None:
    own, inward, outward = layout.graphs()
    assert torch.equal(own, torch.eye(layout.joints))
    for graph in (inward, outward):
        sums = graph.sum(0)
        assert torch.allclose(sums[sums > 0], torch.ones(()))
    assert torch.equal(inward > 0, (outward > 0).T)
    middle = next(joint for joint, parent in enumerate(layout.parents) if joint == parent)
    assert not inward[:, middle].any() and (inward.sum(0) > 0).sum() == layout.joints - 1


# ------------------------------------------------------------------------------------------------------ sizes


@pytest.mark.parametrize(("layout", "parameters"), [("coco", 1_377_596), ("nturgb+d", 1_387_724)])
def test_published_size(layout: str, parameters: int) -> None:
    assert sum(p.numel() for p in STGCNPP(STGCNConfig(layout)).parameters()) == parameters


@pytest.mark.parametrize("frames", [1, 5, 10, 30, 100])
def test_shapes(frames: int) -> None:
    config = STGCNConfig("nturgb+d", widths=(8, 12, 18), strides=(1, 2, 2))
    features = stirred(config)(given(config, 2, 3, frames))
    assert features.shape == (2, 3, 18, config.frames_left(frames), 25)
    assert config.frames_left(frames) == math.ceil(math.ceil(frames / 2) / 2)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"layout": "kinect"}, "layout"),
        ({"widths": (8,)}, "strides"),
        ({"widths": ()}, "strides"),
        ({"widths": (5,), "strides": (1,)}, "widths"),
        ({"strides": (0,) * 10}, "strides"),
        ({"padded": "ones"}, "padded"),
    ],
)
def test_wrong_sizes_are_refused(wrong: dict, field: str) -> None:
    with pytest.raises(BadInput) as caught:
        STGCNConfig(**wrong)
    assert caught.value.field == field


def test_skeletons_of_another_layout_are_refused() -> None:
    model = STGCNPP(STGCNConfig(**SMALL))
    with pytest.raises(BadInput, match="of the layout coco, found shape"):
        model(torch.zeros(1, 1, 4, 25, 3))


# ------------------------------------------------------------------------------------------------------- sums


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("stride", [1, 2])
def test_equal_to_the_sums_written_out(layout: str, stride: int) -> None:
    config = STGCNConfig(layout, 3, widths=(8, 8, 20), strides=(1, 1, stride))
    model, x = stirred(config), given(config, 2, 2, 9)
    weights = {name: value.double().numpy() for name, value in model.state_dict().items()}
    expected = reference.stgcnpp(x.double().numpy(), weights, config.strides)
    with torch.no_grad():
        found = model(x).numpy()
    assert np.abs(found - expected).max() <= 1e-5 * max(1, np.abs(expected).max())
    assert found.std() > 0.1


def test_people_do_not_know_of_each_other() -> None:
    config = STGCNConfig(**SMALL)
    model, x = stirred(config), given(config, 2, 4, 6)
    with torch.no_grad():
        together, order = model(x), torch.tensor([2, 0, 3, 1])
        assert torch.allclose(model(x[:, order]), together[:, order], atol=1e-6)
        assert torch.allclose(model(x[1:, 2:3]), together[1:, 2:3], atol=1e-5)


@pytest.mark.parametrize("training", [False, True])
def test_what_stands_in_an_empty_slot_changes_nothing(training: bool) -> None:
    config = STGCNConfig(**SMALL)
    x, present = given(config, 2, 3, 6), torch.tensor([[True, False, True], [True, True, False]])
    results = []
    for filling in (0.0, 1e6, math.nan):
        model = stirred(config).train(training)
        filled = torch.where(present[..., None, None, None], x, torch.tensor(filling))
        results.append((model(filled, present), model.state_dict()))
    for features, state in results[1:]:
        assert torch.equal(features, results[0][0])
        assert all(torch.equal(state[name], value) for name, value in results[0][1].items())
    assert not results[0][0][~present].any()
    packed = stirred(config).train(training)(x[present][:, None])[:, 0]
    assert torch.equal(results[0][0][present], packed)


def test_as_published_zeros_of_empty_slots_are_seen() -> None:
    x, present = given(STGCNConfig(**SMALL), 2, 3, 6), torch.tensor([[True, False, True]] * 2)
    x = x * present[..., None, None, None]
    left_out, zeros = (
        stirred(STGCNConfig(**SMALL, padded=padded)).train() for padded in ("left out", "zeros")
    )
    assert not torch.allclose(left_out(x, present)[present], zeros(x, present)[present], atol=1e-3)
    assert torch.allclose(zeros.eval()(x, present), zeros.eval()(x))


def test_the_graph_is_learnt_also_where_it_begins_with_zeros() -> None:
    config = STGCNConfig(**SMALL)
    model = STGCNPP(config)
    model(given(config, 1, 2, 6)).square().mean().backward()
    for block in model.blocks:
        graph = block.space.graph
        assert (graph == 0).any() and (graph.grad != 0).float().mean() > 0.9
