import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gtn_ebm import EPSILON, Graph, GraphError, Structure, union
from gtn_ebm.transformers import ConvolutionalTransducer
from tests.enumeration import FINITE_ENERGIES, graphs, walks

CLASSES = 2
BETAS = st.sampled_from([0.5, 1.0, math.inf])


def written_out(paths, field, beta):
    """F over a kernel's paths that read as many labels as the field [width, C] has frames."""
    energies = [
        walk.energy + sum(field[t][label] for t, label in enumerate(walk.inputs))
        for walk in paths
        if len(walk.inputs) == len(field)
    ]
    if not energies:
        return math.inf
    energies = torch.tensor(energies, dtype=torch.float64)
    return energies.min().item() if beta == math.inf else -torch.logsumexp(-beta * energies, 0).item() / beta


def with_a_path(kernel, width):
    """The kernel, and beside it one string that is as long as a field."""
    return union(kernel, Graph.linear([0] * width, energies=torch.full((width,), 0.5, dtype=torch.float64)))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(graphs(), min_size=1, max_size=2),
    st.integers(1, 3),
    st.integers(1, 2),
    BETAS,
    st.integers(0, 99),
)
def test_energies_are_those_of_each_kernel_in_each_field(kernels, width, stride, beta, seed):
    kernels = [with_a_path(kernel, width) for kernel in kernels]
    generator = torch.Generator().manual_seed(seed)
    energies = torch.randn(2, width + 3, CLASSES, generator=generator, dtype=torch.float64)
    found = ConvolutionalTransducer(kernels, width, beta, stride=stride)(energies)
    every = list(map(walks, kernels))
    assert found.shape == (2, 3 // stride + 1, len(kernels))
    for sequence in range(2):
        for place in range(found.shape[1]):
            field = energies[sequence, place * stride : place * stride + width].tolist()
            wanted = [written_out(paths, field, beta) for paths in every]
            assert found[sequence, place].tolist() == pytest.approx(wanted, abs=1e-9)


@settings(max_examples=10, deadline=None)
@given(graphs(energies=FINITE_ENERGIES, most_arcs=4), st.integers(1, 2))
def test_derivatives_in_emissions_and_kernels(kernel, width):
    layer = ConvolutionalTransducer([with_a_path(kernel, width)], width)
    energies = torch.randn(1, 3, CLASSES, dtype=torch.float64, requires_grad=True)
    learned = layer.kernels[0].energies.detach().clone().requires_grad_()

    def convolved(energies, learned):
        return torch.func.functional_call(layer, {"kernels.0.energies": learned}, (energies,))

    assert torch.autograd.gradcheck(convolved, [energies, learned])
    assert torch.autograd.gradgradcheck(convolved, [energies, learned], fast_mode=True)


def test_layers_can_be_stacked_and_trained():
    torch.manual_seed(0)
    repeats = [Graph(Structure([0, 1], [1, 1], [k, k])) for k in range(2)]
    skips = [Graph(Structure([0, 1, 1], [1, 2, 2], [k, 1 - k, EPSILON])) for k in range(2)]
    net = torch.nn.Sequential(
        ConvolutionalTransducer(repeats, 2), ConvolutionalTransducer(skips, 2, stride=2)
    )
    energies = torch.randn(3, 7, 2)
    assert net(energies).shape == (3, 3, 2)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
    losses = []
    for _ in range(10):
        optimiser.zero_grad()
        loss = -net(energies).log_softmax(2)[..., 0].mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_what_does_not_fit_is_refused():
    kernel = Graph.linear([0, 1])
    for width, stride in ((0, 1), (1, 0)):
        with pytest.raises(GraphError, match="1 or more"):
            ConvolutionalTransducer([kernel], width, stride=stride)
    with pytest.raises(GraphError, match="a kernel at least"):
        ConvolutionalTransducer([], 1)
    layer = ConvolutionalTransducer([kernel], 2)
    assert layer(torch.zeros(0, 3, 2)).shape == (0, 2, 1)
    with pytest.raises(GraphError, match="2 frames at least"):
        layer(torch.zeros(1, 1, 2))
    with pytest.raises(GraphError, match="reads label 1, but there are 1 classes"):
        layer(torch.zeros(1, 2, 1))
    with pytest.raises(GraphError, match="kernel 0 reads no string of 3 labels"):
        ConvolutionalTransducer([kernel], 3)(torch.zeros(1, 3, 2))
