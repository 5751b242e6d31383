import numpy as np
import pytest
import torch

from gtn_ebm import Graph, GraphError, closure, compose, union
from gtn_ebm.ops.arc_maps import carry_attributes, gather


def test_gather_puts_nothing_where_an_arc_stems_from_none():
    energies = torch.tensor([1.0, 2.0], requires_grad=True)
    gathered = gather(energies, np.array([1, -1, 1], np.int32))
    assert gathered.tolist() == [2.0, 0.0, 2.0]
    gathered.sum().backward()
    assert energies.grad.tolist() == [0.0, 2.0]


def test_every_kind_of_attribute_is_carried():
    graph = Graph.linear([0, 1]).with_attributes(
        names=["a", "b"],
        score=torch.tensor([[1.0, 2.0], [3.0, 4.0]]),
        frame=torch.tensor([7, 8]),
        voiced=torch.tensor([True, True]),
    )
    carried = carry_attributes((graph,), (np.array([1, -1], np.int32),))
    assert carried["names"] == ["b", None]
    assert carried["score"][0].tolist() == [3.0, 4.0]
    assert carried["score"][1].isnan().all()
    assert carried["frame"].tolist() == [8, -1]
    assert carried["voiced"].tolist() == [True, False]
    assert [values.dtype for name, values in carried.items() if name != "names"] == [
        torch.float32,
        torch.int64,
        torch.bool,
    ]


def test_gradients_flow_through_an_attribute():
    score = torch.tensor([1.0, 2.0], requires_grad=True)
    graph = Graph.linear([0, 1]).with_attributes(score=score)
    (compose(graph, Graph.linear([0, 1])).attributes["score"] * torch.tensor([3.0, 5.0])).sum().backward()
    assert score.grad.tolist() == [3.0, 5.0]


def test_unsigned_attributes_are_not_filled():
    graph = Graph.linear([0, 1]).with_attributes(kind=torch.tensor([3, 4], dtype=torch.uint8))
    carried = carry_attributes((graph,), (np.array([1, 0], np.int32),))
    assert carried["kind"].tolist() == [4, 3]
    assert union(graph, graph).attributes["kind"].tolist() == [3, 4, 3, 4]
    for filled in (
        lambda: carry_attributes((graph,), (np.array([1, -1], np.int32),)),
        lambda: union(graph, Graph.linear([0])),
        lambda: closure(graph),
    ):
        with pytest.raises(GraphError, match=r"'kind' is in torch\.uint8.* signed type"):
            filled()
