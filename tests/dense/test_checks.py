import math

import numpy as np
import pytest
import torch

from gtn_ebm import GraphError
from gtn_ebm.dense.checks import (
    as_integers,
    as_labels,
    check_class,
    check_count,
    check_floating,
    check_label,
    check_number,
    lengths_of,
)


@pytest.mark.parametrize("labels", [[0, 2], (0, 2), np.array([0, 2], np.uint8), torch.tensor([0, 2])])
def test_rows_of_labels_in_any_form(labels):
    found = as_labels(labels)
    assert found.dtype == np.int32
    assert found.tolist() == [0, 2]
    assert as_labels(labels[:0]).tolist() == []


def test_lengths():
    assert lengths_of(None, 2, 7) == [7, 7]
    assert lengths_of(torch.tensor([0, 7]), 2, 7) == [0, 7]
    assert lengths_of([], 0, 7) == []


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda: as_labels([2**31]), "a target must be a row of labels ≥ 0"),
        (lambda: as_labels([[1], [1, 2]], "sequence 3"), "sequence 3 must be an array of integers"),
        (lambda: as_integers([[1, 2]], "numbers", 2), r"numbers must be integers of shape \[2\], not int64"),
        (lambda: as_integers([1.0], "numbers", 1), "not float64"),
        (lambda: lengths_of([3, 8], 2, 7, "widths"), "widths of item 1 is 8; it must be within 0 and 7"),
        (lambda: check_class(3, 3, "the blank"), "the blank must be a class from 0 to 2, not 3"),
        (lambda: check_class(1.5, 3, "the blank"), "a class from 0 to 2, not 1.5"),
        (lambda: check_class("a", 3, "the blank"), "a class from 0 to 2, not a"),
        (lambda: check_class(0, 0, "the blank"), "the blank must be a class, but there are no classes"),
        (lambda: check_number("a", "clamp"), "clamp must be a number, not a"),
        (lambda: check_number(math.nan, "clamp"), "clamp must be a number, not nan"),
        (lambda: check_number(torch.ones(2), "clamp"), "clamp must be a number"),
        (lambda: check_floating(torch.ones(2).to_sparse(), "energies", "classes"), "use to_dense"),
        (lambda: check_floating(torch.ones(2, device="meta"), "energies", "classes"), "meta device"),
        (lambda: check_count(math.inf, "width"), "width must be a whole number of at least 1, not inf"),
        (lambda: check_label(0.5, "the star"), "the star must be a class ≥ 0, not 0.5"),
        (lambda: check_floating([1.0], "energies", "classes"), "energies must be a tensor, not list"),
        (lambda: check_floating(torch.ones(2, 2), "energies", "classes"), r"tensor \[classes\], not"),
    ],
)
def test_what_is_refused(check, message):
    with pytest.raises(GraphError, match=message):
        check()
