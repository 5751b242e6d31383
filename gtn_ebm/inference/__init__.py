"""Graph → number, path, posterior, sample; most take one graph or a list, which runs side by side."""

from gtn_ebm.inference.best_paths import best_paths
from gtn_ebm.inference.comparison import equal, equivalent, isomorphic, random_equivalent
from gtn_ebm.inference.expected_cost import expected_cost
from gtn_ebm.inference.free_energy import Posteriors, free_energy, posteriors
from gtn_ebm.inference.least_energy import Path, best_path, minimum_energy
from gtn_ebm.inference.offending import incorrect_free_energy, most_offending
from gtn_ebm.inference.sampling import random_paths

__all__ = [
    "Path",
    "Posteriors",
    "best_path",
    "best_paths",
    "equal",
    "equivalent",
    "expected_cost",
    "free_energy",
    "incorrect_free_energy",
    "isomorphic",
    "minimum_energy",
    "most_offending",
    "posteriors",
    "random_equivalent",
    "random_paths",
]
