"""gtn and k2 cannot be installed from the package index: stand-ins with the documented interface take their
places."""

import math
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pynini
import pytest
import pywrapfst
import torch
from hypothesis import given, settings

from benchmarks.openfst import to_openfst
from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph, Structure
from gtn_ebm.io import from_gtn, from_k2, from_pynini, to_gtn, to_k2, to_pynini
from tests.enumeration import graphs, language, same_language, walks


@settings(max_examples=200, deadline=None)
@given(graph=graphs())
def test_to_pynini_and_back(graph: Graph) -> None:
    fst = to_pynini(graph, "log64")
    assert pynini.equal(fst, to_openfst(graph), delta=0)
    assert same_language(language(walks(from_pynini(fst))), language(walks(graph)))


def test_any_kind_of_openfst_graph_that_has_such_arcs() -> None:
    fst = pynini.accep("ab", weight=0.5)
    for other in (fst, pywrapfst.convert(fst, "vector"), pywrapfst.convert(fst, "const")):
        graph = from_pynini(other)
        assert graph.input_labels.tolist() == [ord("a") - 1, ord("b") - 1]
        assert graph.final.tolist() == [math.inf, math.inf, 0.5]
    with pytest.raises(GraphError, match="convert it to vector or const"):
        from_pynini(pywrapfst.convert(fst, "compact_acceptor"))


class GtnGraph:
    """``gtn.Graph`` as far as ``gtn.load`` and ``gtn.save`` need it: it holds the file."""

    def __init__(self, data: bytes):
        self.data = data


@pytest.fixture
def gtn(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("gtn")
    module.save = lambda file_name, graph: Path(file_name).write_bytes(graph.data)
    module.load = lambda file_name: GtnGraph(Path(file_name).read_bytes())
    monkeypatch.setitem(sys.modules, "gtn", module)


@pytest.mark.usefixtures("gtn")
def test_to_gtn_and_back() -> None:
    graph = Graph(
        Structure([0, 1], [1, 1], [3, -1], [-1, 2], states=3), torch.tensor([1.5, -2.0]), final=[1, 2]
    )
    theirs = to_gtn(graph)
    assert isinstance(theirs, GtnGraph)
    again = from_gtn(theirs)
    assert again.output_labels.tolist() == [-1, 2]
    assert torch.equal(again.energies, graph.energies)
    assert torch.equal(again.final, graph.final)


class K2Fsa:
    """``k2.Fsa`` as its documentation describes a single one: made from a table [A, 4] of integers whose
    last column is the scores' bits, with ``arcs.values()``, ``shape``, ``scores`` that can be set and
    ``aux_labels``."""

    def __init__(self, table: torch.Tensor, aux_labels: torch.Tensor | None = None):
        assert table.dtype == torch.int32
        assert table.shape[1] == 4
        assert (table[1:, 0] >= table[:-1, 0]).all()
        states = int(table[:, :2].max()) + 1
        assert ((table[:, 2] == -1) == (table[:, 1] == states - 1)).all()
        self.shape = (states, None)
        self.arcs = SimpleNamespace(values=lambda: table)
        self.scores = table[:, 3].contiguous().view(torch.float32)
        if aux_labels is not None:
            assert (aux_labels.dtype, len(aux_labels)) == (torch.int32, len(table))
            self.aux_labels = aux_labels


@pytest.fixture
def k2(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("k2")
    module.Fsa = K2Fsa
    monkeypatch.setitem(sys.modules, "k2", module)


@pytest.mark.usefixtures("k2")
@pytest.mark.parametrize("acceptor", [True, False])
def test_to_k2_and_back_with_gradients(acceptor: bool) -> None:
    energies = torch.tensor([1.5, -2.0, 0.25], requires_grad=True)
    final = torch.tensor([math.inf, 0.5], requires_grad=True)
    labels = [3, -1, 0]
    graph = Graph(
        Structure([0, 1, 0], [1, 0, 0], labels, labels if acceptor else [2, 2, -1]), energies, final=final
    )
    fsa = to_k2(graph)
    assert hasattr(fsa, "aux_labels") != acceptor
    assert fsa.scores.tolist() == [-1.5, -0.25, 2.0, -0.5]
    again = from_k2(fsa)
    assert again.input_labels.tolist() == [3, 0, -1]
    assert again.is_acceptor == acceptor
    assert again.final.tolist() == [math.inf, 0.5]
    (again.energies @ torch.tensor([1.0, 2.0, 4.0]) + 8 * again.final[1]).backward()
    assert energies.grad.tolist() == [1.0, 4.0, 2.0]
    assert final.grad.tolist() == [0.0, 8.0]


@pytest.mark.usefixtures("k2")
def test_k2_graphs_that_are_not_single_transducers() -> None:
    fsa = to_k2(Graph.linear([0]))
    fsa.aux_labels = object()
    with pytest.raises(GraphError, match="ragged"):
        from_k2(fsa)
    fsa.shape = (2, None, None)
    with pytest.raises(GraphError, match="vector"):
        from_k2(fsa)


@pytest.mark.parametrize(("convert", "name"), [(to_gtn, "gtn"), (to_k2, "k2"), (to_pynini, "pynini")])
def test_absent_packages_are_named(convert, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf"^{name} is needed for this conversion: "):
        convert(Graph.linear([0]))
