import math

import numpy as np
import pynini
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from benchmarks.openfst import sum_over_paths, to_openfst
from gtn_ebm import EPSILON, Graph, GraphError, Structure, Symbols, connect, free_energy
from gtn_ebm.distance import shortest_distance
from gtn_ebm.ops.determinization import determinize
from tests.enumeration import FINITE_ENERGIES, graphs, language, log_sum, summed, visible, walks
from tests.series import from_openfst

BETAS = st.sampled_from([0.5, 1.0, math.inf])


def is_deterministic(graph: Graph) -> bool:
    """No state has two arcs that read one label; rows that write what is left may start side by side."""
    read = graph.input_labels >= 0
    pairs = list(zip(graph.source[read].tolist(), graph.input_labels[read].tolist(), strict=True))
    return len(set(pairs)) == len(pairs) and int(torch.isfinite(graph.initial).sum()) <= 1


def several_outputs(graph: Graph) -> bool:
    strings = language(walks(graph))
    return len({read for read, _ in strings}) < len(strings)


@settings(max_examples=300, deadline=None)
@given(graphs().map(visible), BETAS)
def test_every_string_has_one_path_of_the_free_energy_of_its_paths(graph, beta):
    result = determinize(graph, beta, outputs="all")
    assert is_deterministic(result)
    assert all(len(energies) == 1 for energies in language(walks(result)).values())
    wanted = summed(graph, beta)
    assert summed(result, beta).keys() == wanted.keys()
    assert summed(result, beta) == pytest.approx(wanted, abs=1e-5)
    assert result.is_acceptor or not graph.is_acceptor
    assert connect(result).states == result.states


@settings(max_examples=200, deadline=None)
@given(graphs().map(visible), BETAS)
def test_an_input_with_several_outputs_is_refused_by_default(graph, beta):
    if several_outputs(graph):
        with pytest.raises(GraphError, match="several outputs"):
            determinize(graph, beta)
    else:
        assert summed(determinize(graph, beta), beta) == pytest.approx(summed(graph, beta), abs=1e-5)


@settings(max_examples=200, deadline=None)
@given(graphs(energies=FINITE_ENERGIES).map(visible))
def test_only_the_best_output_of_an_input_is_kept(graph):
    best: dict = {}
    for (read, _), energy in summed(graph, math.inf).items():
        best[read] = min(energy, best.get(read, math.inf))
    result = summed(determinize(graph, math.inf, outputs="best"), math.inf)
    assert {read: energy for (read, _), energy in result.items()} == pytest.approx(best, abs=1e-5)
    assert len(result) == len(best)
    assert all(summed(graph, math.inf)[s] == pytest.approx(e, abs=1e-5) for s, e in result.items())


@settings(max_examples=200, deadline=None)
@given(
    graphs(acceptor=False, energies=FINITE_ENERGIES).map(visible),
    st.sampled_from(["functional", "nonfunctional"]),
    st.sampled_from(["standard", "log64"]),
)
def test_transducers_equal_openfsts(graph, det_type, arc_type):
    assume(det_type == "nonfunctional" or not several_outputs(graph))
    beta = math.inf if arc_type == "standard" else 1.0
    theirs = pynini.determinize(pynini.rmepsilon(to_openfst(graph, arc_type)), det_type=det_type)
    ours = determinize(graph, beta, outputs="single" if det_type == "functional" else "all")
    assert summed(ours, beta) == pytest.approx(summed(from_openfst(theirs), beta), abs=1e-4)


@settings(max_examples=200, deadline=None)
@given(graphs(acceptor=False, energies=FINITE_ENERGIES).map(visible))
def test_best_outputs_equal_openfsts(graph):
    theirs = pynini.determinize(pynini.rmepsilon(to_openfst(graph, "standard")), det_type="disambiguate")
    ours = determinize(graph, math.inf, outputs="best")
    by_input = [
        {read: energy for (read, _), energy in summed(result, math.inf).items()}
        for result in (ours, from_openfst(theirs))
    ]
    assert by_input[0] == pytest.approx(by_input[1], abs=1e-4)


def ring(energies: list[float], outputs: list[int] | None = None) -> Graph:
    """Two ways round from one state, on the same labels, and out."""
    structure = Structure([0, 0, 1, 2, 0, 1, 2], [1, 2, 1, 2, 3, 3, 3], [0, 0, 1, 1, 2, 2, 3], outputs)
    return Graph(structure, torch.tensor(energies, dtype=torch.float64))


def test_cycles_with_equal_energies_meet_again():
    # The residuals of the two loops stay as they are: the twins property.
    graph = ring([1.0, 2.0, 0.5, 0.5, 3.0, 0.25, 0.75])
    for beta, arc_type in ((math.inf, "standard"), (1.0, "log64")):
        result = determinize(graph, beta)
        assert is_deterministic(result)
        assert not result.structure.is_acyclic
        assert sum_over_paths(to_openfst(result)) == pytest.approx(
            sum_over_paths(to_openfst(graph)), abs=1e-6
        )
        theirs = pynini.determinize(to_openfst(graph, arc_type))
        assert pynini.equivalent(to_openfst(result, arc_type), theirs, delta=1e-4)


@settings(max_examples=200, deadline=None)
@given(graphs(acyclic=False, acceptor=True, energies=st.just(0.0)).map(visible))
def test_unweighted_cyclic_acceptors_equal_openfsts(graph):
    theirs = pynini.determinize(pynini.rmepsilon(to_openfst(graph, "standard")))
    ours = determinize(graph, math.inf)
    assert is_deterministic(ours)
    assert pynini.equivalent(to_openfst(ours, "standard"), theirs)


def test_a_search_without_end_stops_at_its_bound():
    without_twins = ring([1.0, 2.0, 0.5, 0.75, 3.0, 0.25, 0.75])
    with pytest.raises(GraphError, match="max_states is 100"):
        determinize(without_twins, math.inf, max_states=100)
    # Each step doubles what may be left to write.
    two_outputs = Graph(Structure([0, 0], [0, 0], [0, 0], [0, 1]), final=[0])
    with pytest.raises(GraphError, match="stopped at"):
        determinize(two_outputs, outputs="all", max_states=100)


def test_max_states_is_how_many_there_may_be():
    tree = Graph(Structure([0, 0, 1, 2], [1, 2, 3, 4], [0, 1, 1, 1]), final=[3, 4])
    assert determinize(tree, max_states=5).states == 5
    with pytest.raises(GraphError, match="max_states is 4"):
        determinize(tree, max_states=4)


def test_thousands_of_initial_states_are_one():
    ends = torch.full((5001,), torch.inf)
    ends[:5000] = 0.0
    fan = Graph(Structure(range(5000), [5000] * 5000, [0] * 5000), initial=ends)
    result = determinize(fan)
    assert (result.states, result.arcs) == (2, 1)
    assert float(free_energy(result)) == pytest.approx(-math.log(5000), abs=1e-5)


def test_delta_is_how_far_residuals_may_differ():
    rounded = ring([1.0, 2.0, 0.5, 0.5 + 1e-5, 3.0, 0.25, 0.75])
    assert determinize(rounded, math.inf, delta=1e-2, max_states=100).states == 3
    with pytest.raises(GraphError, match="delta"):
        determinize(rounded, math.inf, max_states=100)


@settings(max_examples=100, deadline=None)
@given(graphs().map(visible), BETAS)
def test_determinizing_twice_changes_nothing(graph, beta):
    once = determinize(graph, beta, outputs="all")
    assume(once.is_acceptor)
    twice = determinize(once, beta)
    assert (twice.states, twice.arcs) == (once.states, once.arcs)
    assert summed(twice, beta) == pytest.approx(summed(once, beta), abs=1e-5)


@settings(max_examples=100, deadline=None)
@given(graphs(), st.sampled_from([0.5, 1.0]))
def test_free_energy_stays_with_epsilons_too(graph, beta):
    result = determinize(graph, beta, outputs="all")
    assert log_sum(walks(result), beta) == pytest.approx(log_sum(walks(graph), beta), abs=1e-5)


def parts_of(graph: Graph) -> list[torch.Tensor]:
    """Energies to differentiate in, those of ends that are none held at +inf."""
    return [p.detach().clone().requires_grad_() for p in (graph.energies, graph.initial, graph.final)]


@settings(max_examples=150, deadline=None)
@given(graphs(energies=FINITE_ENERGIES), st.sampled_from([0.5, 1.0, 3.0]))
def test_gradient_of_the_free_energy_is_the_graphs_own(graph, beta):
    assume(walks(graph))
    given_parts = parts_of(graph)
    same = graph.with_energies(*given_parts)
    wanted = torch.autograd.grad(free_energy(same, beta), given_parts)
    found = torch.autograd.grad(free_energy(determinize(same, beta, outputs="all"), beta), given_parts)
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(graphs(energies=st.sampled_from([0.0, 1.0]), most_states=7, most_arcs=14).map(visible))
def test_gradient_is_right_where_residuals_coincide(graph):
    assume(walks(graph))
    given_parts = parts_of(graph)
    same = graph.with_energies(*given_parts)
    wanted = torch.autograd.grad(free_energy(same), given_parts)
    found = torch.autograd.grad(free_energy(determinize(same, outputs="all")), given_parts)
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_gradient_on_a_cycle():
    graph = ring([1.0, 2.0, 0.5, 0.5, 3.0, 0.25, 0.75])
    given_parts = parts_of(graph)
    same = graph.with_energies(*given_parts)
    wanted = torch.autograd.grad(shortest_distance(same)[-1], given_parts[0])
    found = torch.autograd.grad(shortest_distance(determinize(same))[-1], given_parts[0])
    assert torch.allclose(found[0], wanted[0], atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(graphs(energies=FINITE_ENERGIES, most_states=4, most_arcs=6).map(visible), st.sampled_from([0.5, 2.0]))
def test_all_energies_pass_gradcheck(graph, beta):
    ends = [torch.isfinite(p) for p in (graph.energies, graph.initial, graph.final)]
    rng = np.random.default_rng(0)
    # Energies at which no residuals coincide by accident.
    given_parts = [torch.from_numpy(rng.standard_normal(len(f))).requires_grad_() for f in ends]

    def energies(*parts):
        moved = [torch.where(finite, p, torch.inf) for p, finite in zip(parts, ends, strict=True)]
        result = determinize(graph.with_energies(*moved), beta, outputs="all")
        return tuple(
            torch.where(torch.isfinite(p), p, 0.0) for p in (result.energies, result.initial, result.final)
        )

    assert torch.autograd.gradcheck(energies, given_parts)


def test_arcs_that_stem_from_one_keep_its_attributes():
    graph = Graph(
        Structure([0, 0, 1, 2], [1, 2, 3, 3], [0, 0, 1, 2]),
        attributes={"name": ["p", "q", "r", "s"], "frame": torch.tensor([4, 5, 6, 7])},
        input_symbols=Symbols("abc"),
    )
    result = determinize(graph)
    assert result.arc_maps[0].tolist() == [-1, 2, 3]
    assert result.attributes["name"] == [None, "r", "s"]
    assert result.attributes["frame"].tolist() == [-1, 6, 7]
    assert result.input_symbols == Symbols("abc")


def test_what_is_sure_is_written_at_once_and_the_rest_at_the_end():
    # Both words begin with 7; which of 8 and 9 follows is known at the end only.
    structure = Structure([0, 0, 1, 2, 3, 4], [1, 2, 3, 4, 5, 6], [0, 0, 1, 1, 2, 3], [7, 7, 8, 9, -1, -1])
    result = determinize(Graph(structure, final=[3, 5, 6]))
    assert result.input_labels.tolist()[:2] == [0, 1]
    assert result.output_labels.tolist()[:2] == [7, EPSILON]
    assert language(walks(result)).keys() == {((0, 1), (7, 8)), ((0, 1, 2), (7, 8)), ((0, 1, 3), (7, 9))}


@pytest.mark.parametrize("graph", [Graph(Structure([], [], [])), Graph(Structure([0], [1], [0]), final=[])])
def test_graphs_without_a_path(graph):
    result = determinize(graph)
    assert (result.states, result.arcs) == (0, 0)


def test_bad_input_is_refused():
    graph = Graph.linear([0])
    with pytest.raises(GraphError, match="outputs must be"):
        determinize(graph, outputs="functional")
    with pytest.raises(GraphError, match="needs β = ∞"):
        determinize(graph, outputs="best")
    for beta, delta in ((0.0, 1e-6), (1.0, 0.0), (math.nan, 1e-6)):
        with pytest.raises(GraphError, match="must be positive"):
            determinize(graph, beta, delta=delta)
    for energy in (math.nan, -math.inf):
        with pytest.raises(GraphError, match=r"energies\[0\] is"):
            determinize(graph.with_energies(torch.tensor([energy])))
