import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gtn_ebm import Graph, GraphError
from gtn_ebm.ops.scaling import scale
from tests.enumeration import graphs, requiring_grad, walks


@given(graphs(), st.sampled_from([-1.0, 0.0, 0.5, 2.0]))
def test_paths_are_the_same_with_so_many_times_the_energy(graph: Graph, factor: float) -> None:
    scaled = walks(scale(graph, factor))
    assert [walk[:5] for walk in scaled] == [walk[:5] for walk in walks(graph)]
    for ours, given_walk in zip(scaled, walks(graph), strict=True):
        assert abs(ours.energy - factor * given_walk.energy) < 1e-9


@pytest.mark.parametrize("factor", [math.nan, math.inf, "2", torch.ones(1)])
def test_what_is_no_number_is_refused(factor: object) -> None:
    with pytest.raises(GraphError, match="by a finite number"):
        scale(Graph.linear([0]), factor)  # type: ignore[arg-type]


@given(graphs())
def test_derivatives_in_energies_and_factor_are_never_nan(graph: Graph) -> None:
    parts, factor = requiring_grad(graph), torch.tensor(0.0, dtype=torch.float64, requires_grad=True)
    scaled = scale(graph.with_energies(*parts), factor)
    finite = [part[torch.isfinite(part)].sum() for part in (scaled.energies, scaled.initial, scaled.final)]
    gradients = torch.autograd.grad(sum(finite), [*parts, factor])
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    total = sum(part.detach()[torch.isfinite(part)].sum() for part in parts)
    assert torch.isclose(gradients[-1], torch.as_tensor(total), atol=1e-9)
