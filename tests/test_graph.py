import copy
import math
import pickle

import numpy as np
import pytest
import torch

from gtn_ebm import CycleError, Graph, GraphBuilder, GraphError, GtnEbmError, Structure, Symbols, connect


def test_structure_counts_its_states():
    assert Structure([0, 3], [1, 2], [0, 0]).states == 4
    assert Structure([0], [1], [0], states=7).states == 7
    assert Structure([], [], []).states == 0


def test_structure_is_immutable_whatever_is_done_to_what_it_was_made_of():
    source = np.array([0, 0], np.int32)
    structure = Structure(source, [1, 1], [0, 1])
    source[0] = 1
    assert structure.source.tolist() == [0, 0]
    with pytest.raises(ValueError, match="read-only"):
        structure.source[0] = 1


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (([0], [1, 2], [0]), "lengths are"),
        (([0], [1], [0], [0, 1]), "lengths are"),
        (([0.5], [1], [0]), "source must be a one-dimensional array of integers, not float64"),
        (([[0]], [[1]], [[0]]), "one-dimensional"),
        (([0], [1], [-2]), "input_labels has a value outside"),
        (([0], [1], [2**31]), "input_labels has a value outside"),
        (([0], [5], [0], None, 2), "touches state 5, but the graph has states 0 to 1"),
        (([-1], [1], [0]), "below 0"),
        (([0], [0], [0], None, -1), "-1 states"),
        (([], [], [], None, -1), "-1 states"),
    ],
)
def test_bad_structures_are_refused(arrays, message):
    with pytest.raises(GraphError, match=message):
        Structure(*arrays)


def test_indices_group_arcs_by_state():
    structure = Structure([1, 0, 1, 1], [2, 1, 0, 2], [5, 1, -1, 3], [0, 0, 0, -1])
    groups = {}
    for name in ("out_index", "in_index", "out_by_input", "out_by_output"):
        offsets, arcs = getattr(structure, name)
        groups[name] = [arcs[offsets[q] : offsets[q + 1]].tolist() for q in range(structure.states)]
    assert groups == {
        "out_index": [[1], [0, 2, 3], []],
        "in_index": [[2], [1], [0, 3]],
        "out_by_input": [[1], [2, 3, 0], []],
        "out_by_output": [[1], [3, 0, 2], []],
    }


def test_topological_order_puts_sources_first():
    structure = Structure([2, 1, 2], [1, 0, 0], [0, 0, 0], states=4)
    place = {state: k for k, state in enumerate(structure.topological_order.tolist())}
    assert sorted(place) == [0, 1, 2, 3]
    assert place[2] < place[1] < place[0]
    assert structure.is_acyclic


def test_a_cycle_is_told():
    structure = Structure([0, 1, 2, 3], [1, 2, 1, 0], [0] * 4)
    assert not structure.is_acyclic
    with pytest.raises(CycleError, match=r"state [12] lies on a cycle"):
        _ = structure.topological_order


def test_is_acceptor():
    assert Structure([0], [1], [3]).is_acceptor
    assert Structure([0], [1], [3], [3]).is_acceptor
    assert not Structure([0], [1], [3], [4]).is_acceptor


def test_defaults_start_in_the_first_state_and_end_in_the_last():
    graph = Graph(Structure([0, 1], [1, 2], [0, 1]))
    assert graph.energies.tolist() == [0.0, 0.0]
    assert graph.initial.tolist() == [0.0, math.inf, math.inf]
    assert graph.final.tolist() == [math.inf, math.inf, 0.0]


def test_ends_by_number():
    graph = Graph(Structure([0, 1], [1, 2], [0, 1]), initial=[0, 1], final=iter([1]))
    assert graph.initial.tolist() == [0.0, 0.0, math.inf]
    assert graph.final.tolist() == [math.inf, 0.0, math.inf]
    with pytest.raises(GraphError, match="final names a state outside 0 … 2: \\[3\\]"):
        Graph(graph.structure, final=[3])


def test_shapes_and_dtypes_must_fit():
    structure = Structure([0], [1], [0])
    with pytest.raises(GraphError, match=r"energies must be a floating tensor of shape \[1\]"):
        Graph(structure, torch.zeros(2))
    with pytest.raises(GraphError, match=r"not torch.int64"):
        Graph(structure, torch.zeros(1, dtype=torch.int64))
    with pytest.raises(GraphError, match="initial must hold an energy for each of 2 states"):
        Graph(structure, torch.zeros(1), initial=torch.zeros(3))
    with pytest.raises(GraphError, match=r"final must hold .* in torch\.float32, not .* torch\.float64"):
        Graph(structure, torch.zeros(1), final=torch.zeros(2, dtype=torch.float64))
    with pytest.raises(GraphError, match="attribute 'frame' has 2 entries for 1 arcs"):
        Graph(structure, attributes={"frame": [1, 2]})
    assert issubclass(GraphError, ValueError)
    assert issubclass(CycleError, GtnEbmError)


def test_symbols_of_an_acceptor_name_both_sides():
    letters = Symbols("ab")
    assert Graph.linear([0], input_symbols=letters).output_symbols is letters
    assert Graph.linear([0], [1], input_symbols=letters).output_symbols is None


def test_replacing_parts_keeps_the_rest():
    graph = Graph.linear([0, 1], attributes={"frame": [3, 4]})
    energies = torch.tensor([1.0, 2.0], dtype=torch.float64)
    other = graph.with_energies(energies)
    assert other.energies is energies
    assert other.initial.dtype == torch.float64
    assert other.structure is graph.structure
    assert other.attributes == graph.attributes
    assert graph.with_attributes(score=[0, 1]).attributes == {"frame": [3, 4], "score": [0, 1]}
    assert graph.energies.tolist() == [0.0, 0.0]


def test_to_moves_energies_and_leaves_the_kind_of_attributes():
    graph = Graph.linear([0], attributes={"frame": torch.tensor([3])}).to(torch.float64)
    assert graph.energies.dtype == graph.initial.dtype == graph.final.dtype == torch.float64
    assert graph.attributes["frame"].dtype == torch.int64


def test_detach_cuts_off_every_part():
    structure = Structure([0], [1], [0])
    parts = [torch.zeros(n, requires_grad=True) for n in (1, 2, 2)]
    graph = Graph(structure, *parts)
    assert graph.energies.requires_grad
    detached = graph.detach()
    assert not any(part.requires_grad for part in (detached.energies, detached.initial, detached.final))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda graph: pickle.loads(pickle.dumps(graph))])
def test_copies_are_equal(copied):
    graph = connect(
        Graph(
            Structure([0, 0], [1, 1], [0, 1], [1, 0]),
            attributes={"frame": [1, 2]},
            input_symbols=Symbols("ab"),
        )
    )
    twin = copied(graph)
    for name in ("source", "destination", "input_labels", "output_labels"):
        assert np.array_equal(getattr(twin, name), getattr(graph, name))
    assert torch.equal(twin.energies, graph.energies)
    assert (twin.attributes, twin.input_symbols) == (graph.attributes, graph.input_symbols)


def test_repr_tells_the_kind():
    assert repr(Graph.linear([0, 1], [1, 0])) == "Graph(3 states, 2 arcs, transducer)"


def test_builder_names_labels_and_fills_in_attributes():
    build = GraphBuilder(torch.float64, Symbols("ab"), Symbols("xyz"))
    start, end = build.state(initial=0.5), build.state(final=1.5)
    build.arc(start, end, "b", "z", energy=2.0, frame=7)
    build.arc(start, end, 0, -1)
    graph = build.graph()
    assert graph.input_labels.tolist() == [1, 0]
    assert graph.output_labels.tolist() == [2, -1]
    assert graph.energies.tolist() == [2.0, 0.0]
    assert (graph.initial.tolist(), graph.final.tolist()) == ([0.5, math.inf], [math.inf, 1.5])
    assert graph.attributes == {"frame": [7, None]}
    assert graph.dtype == torch.float64


def test_builder_refuses_what_it_does_not_know():
    build = GraphBuilder()
    state = build.state(0.0, 0.0)
    with pytest.raises(GraphError, match="state 1 of the arc 0 → 1 has not been added"):
        build.arc(state, 1, 0)
    with pytest.raises(GraphError, match="no symbol table"):
        build.arc(state, state, "a")
    with pytest.raises(GraphError, match="no symbol 'c'"):
        _arc_named("c")


def _arc_named(name: str) -> None:
    build = GraphBuilder(input_symbols=Symbols("ab"))
    state = build.state()
    build.arc(state, state, name)


def test_an_empty_builder_makes_the_empty_graph():
    assert repr(GraphBuilder().graph()) == "Graph(0 states, 0 arcs, acceptor)"


def test_energies_are_not_taken_for_states() -> None:
    structure = Structure([0], [1], [0])
    for ends in ([0.0, 1.0], [0.5], np.array([0.0, 1.0]), ["0"]):
        with pytest.raises(GraphError, match="initial must name states"):
            Graph(structure, initial=ends)
    with pytest.raises(TypeError):
        Structure([0], [1], [0], states=2.7)


def test_a_name_is_looked_up_in_the_table_of_its_side() -> None:
    build = GraphBuilder(input_symbols=Symbols("ab"), output_symbols=Symbols("ba"))
    build.arc(build.state(), build.state(), "b")
    assert build.graph().input_labels.tolist() == [1]
    assert build.graph().output_labels.tolist() == [0]
