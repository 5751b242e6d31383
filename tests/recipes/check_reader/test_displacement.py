import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from gtn_ebm import Graph, GraphError, compose, free_energy
from gtn_ebm.transformers import interpretation_graph
from recipes.check_reader.displacement import BLANK, PLACES, DisplacementNetwork, meanings, spellings
from tests.enumeration import walks
from tests.recipes.check_reader.small import SEGMENTATION


def random_energies(places: int, seed: int = 0) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return -torch.randn(places, len(PLACES), generator=random, dtype=torch.float64).log_softmax(1)


class TestSpellings:
    @pytest.mark.parametrize("digits", ["", "7", "12", "77", "1221"])
    def test_are_all_sequences_of_places_that_mean_the_digits_once(self, digits: str) -> None:
        length = len(digits) + 2
        found = [walk.inputs for walk in walks(spellings(digits), length) if len(walk.inputs) == length]
        assert len(found) == len(set(found))
        used = sorted({BLANK, *map(int, digits)})
        expected = {
            sequence
            for sequence in itertools.product(used, repeat=length)
            if "".join(str(label) for label, _ in itertools.groupby(sequence) if label != BLANK) == digits
        }
        assert set(found) == expected

    @pytest.mark.parametrize("digits", ["0", "120", "7777", "9012345"])
    def test_sum_to_what_torch_sums(self, digits: str) -> None:
        energies = random_energies(20)
        target = torch.tensor([[int(digit) for digit in digits]])
        lengths = torch.tensor([20]), torch.tensor([len(digits)])
        expected = torch.nn.functional.ctc_loss(-energies[:, None], target, *lengths, BLANK, reduction="sum")
        places = interpretation_graph(Graph.linear(range(20)), energies, PLACES)
        torch.testing.assert_close(
            free_energy(compose(places, spellings(digits).to(torch.float64))), expected
        )

    def test_of_no_digits_only(self) -> None:
        with pytest.raises(GraphError, match="x"):
            spellings("1x")


class TestMeanings:
    def test_of_every_sequence_is_what_remains_of_it(self) -> None:
        for sequence in itertools.product([BLANK, 3, 7], repeat=4):
            found = walks(compose(Graph.linear(sequence, input_symbols=PLACES), meanings()))
            collapsed = tuple(label for label, _ in itertools.groupby(sequence) if label != BLANK)
            assert [walk.outputs for walk in found] == [collapsed]


class TestNetwork:
    def test_gives_probabilities_for_the_columns_that_count(self) -> None:
        network = DisplacementNetwork(features=6, width=4).eval()
        segmentations = [replace(SEGMENTATION, ink=np.ones((48, width), np.float32)) for width in (36, 18)]
        columns = torch.randn(2, 9, 6, generator=torch.Generator().manual_seed(0))
        energies = network(columns, [9, 5], segmentations)
        assert [list(of_image.shape) for of_image in energies] == [[9, len(PLACES)], [5, len(PLACES)]]
        for of_image in energies:
            torch.testing.assert_close(of_image.neg().exp().sum(1), torch.ones(len(of_image)))
        (alone,) = network(columns[1:, :5], [5], segmentations[1:])
        torch.testing.assert_close(alone, energies[1])
