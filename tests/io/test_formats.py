"""What passes through several formats in turn stays what it was."""

import io
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gtn_ebm import io as files
from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph
from tests.enumeration import graphs, language, same_language, walks
from tests.io.samples import READERS, names_a_byte, refusal

FORMATS = {
    "OpenFst": (files.write_openfst, files.read_openfst),
    "gtn": (files.write_gtn, files.read_gtn),
    "gtn text": (files.write_gtn_text, files.read_gtn_text),
    "k2 text": (files.write_k2_text, files.read_k2_text),
    "JSON": (files.write_json, files.read_json),
    "text": (files.write_text, files.read_text),
}
SINGLE_PRECISION = [files.write_openfst, files.write_gtn, files.write_gtn_text, files.write_k2_text]


@settings(max_examples=200, deadline=None)
@given(graph=graphs(dtype=torch.float32), order=st.permutations([*FORMATS]))
def test_paths_stay_from_format_to_format(graph: Graph, order: list[str]) -> None:
    paths = language(walks(graph))
    for name in order:
        write, read = FORMATS[name]
        file = io.BytesIO()
        write(graph, file)
        graph = read(io.BytesIO(file.getvalue()))
        assert same_language(language(walks(graph)), paths), name


@pytest.mark.parametrize("write", SINGLE_PRECISION)
@pytest.mark.parametrize("energy", [1e39, -1e39])
def test_energies_too_large_for_single_precision(write: Callable[..., None], energy: float) -> None:
    graph = Graph.linear([0, 1], energies=torch.tensor([0.0, energy], dtype=torch.float64))
    with pytest.raises(GraphError, match=r"energy 1 of 2 is -?1e\+39: too large for torch\.float32"):
        write(graph, io.BytesIO())


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_what_is_refused_is_named_by_its_byte(name: str, data: st.DataObject) -> None:
    read, seeds = READERS[name]
    good = data.draw(st.sampled_from(seeds()))
    cut = data.draw(st.integers(0, len(good)))
    wrong = good[:cut] + data.draw(st.binary(max_size=8)) + good[cut + data.draw(st.integers(0, 8)) :]
    for content in (wrong, good[:cut]):
        refused = refusal(read, content)
        assert refused is None or names_a_byte(refused, content), refused
