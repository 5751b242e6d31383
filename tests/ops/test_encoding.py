import pynini
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.openfst import to_openfst
from gtn_ebm import EPSILON, Graph, GraphError, Structure, Symbols, concat
from gtn_ebm.ops.encoding import Encoder, decode, encode
from tests.enumeration import graphs, language, same_language, walks


@settings(max_examples=150, deadline=None)
@given(graphs(acyclic=False), st.booleans())
def test_decoding_undoes_encoding(graph, energies):
    encoder = Encoder(energies)
    encoded = encode(graph, encoder)
    assert encoded.is_acceptor
    assert not energies or not encoded.energies.any()
    decoded = decode(encoded, encoder)
    assert decoded.input_labels.tolist() == graph.input_labels.tolist()
    assert decoded.output_labels.tolist() == graph.output_labels.tolist()
    assert torch.equal(decoded.energies, graph.energies)


@settings(max_examples=200, deadline=None)
@given(graphs(acyclic=False, energies=st.sampled_from([0.0, 0.5, 1.0])), st.booleans())
def test_arcs_have_equal_codes_where_they_do_in_openfst(graph, energies):
    graph = Graph(graph.structure, graph.energies)  # one initial and one final state at 0
    theirs = to_openfst(graph, "standard")
    theirs.encode(pynini.EncodeMapper("standard", encode_labels=True, encode_weights=energies))
    encoder = Encoder(energies)
    ours = encode(graph, encoder).input_labels
    arcs = [arc for state in range(graph.states) for arc in theirs.arcs(state)]
    # OpenFst gives a final weight an arc of its own, behind the state's others.
    arcs = [arc for arc in arcs if arc.nextstate < graph.states]
    pairs = set(zip(ours[graph.structure.out_index.arcs].tolist(), [a.ilabel for a in arcs], strict=True))
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs}) == len(encoder)


@settings(max_examples=60, deadline=None)
@given(graphs(), graphs(), st.booleans())
def test_an_operation_between_encoding_and_decoding(first, second, energies):
    encoder = Encoder(energies)
    joined = decode(concat(encode(first, encoder), encode(second, encoder)), encoder)
    assert same_language(language(walks(joined)), language(walks(concat(first, second))))


def test_the_gradient_of_a_code_goes_to_the_arc_it_was_made_for():
    energies = torch.tensor([1.0, 2.0, 1.0], requires_grad=True)
    graph = Graph(Structure([0, 0, 1], [1, 1, 2], [3, 3, 3]), energies)
    encoder = Encoder(energies=True)
    encoded = encode(graph, encoder)
    assert encoded.input_labels.tolist() == [0, 1, 0]
    decode(encoded, encoder).energies.sum().backward()
    assert energies.grad.tolist() == [2.0, 1.0, 0.0]


def test_symbols_and_attributes_come_back():
    graph = Graph.linear([0, EPSILON], [1, 0], input_symbols=Symbols("a"), output_symbols=Symbols("xy"))
    graph = graph.with_attributes(frame=[1, 2])
    encoder = Encoder()
    encoded = encode(graph, encoder)
    assert encoded.input_symbols is None
    decoded = decode(encoded, encoder)
    assert (decoded.input_symbols, decoded.output_symbols) == (Symbols("a"), Symbols("xy"))
    assert decoded.attributes == {"frame": [1, 2]}
    with pytest.raises(GraphError, match="other symbol tables"):
        encode(Graph.linear([0]), encoder)


def test_what_was_not_encoded_cannot_be_decoded():
    encoder = Encoder()
    encode(Graph.linear([5]), encoder)
    with pytest.raises(GraphError, match="label 1 is no code of this encoder, which has 1"):
        decode(Graph.linear([1]), encoder)
    with pytest.raises(GraphError, match="transducer"):
        decode(Graph.linear([0], [1]), encoder)
