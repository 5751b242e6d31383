"""Graph → number, path, posterior, sample; most take one graph or a list, which runs side by side."""

from gtn_ebm.inference.answers import Answer, answer_energies, best_answers, random_answers
from gtn_ebm.inference.best_paths import best_paths
from gtn_ebm.inference.chains import PathChains
from gtn_ebm.inference.comparison import equal, equivalent, isomorphic, random_equivalent
from gtn_ebm.inference.entropy import (
    cross_entropy,
    entropy,
    free_energy_slope,
    heat_capacity,
    kl_divergence,
    string_cross_entropy,
    string_kl_divergence,
)
from gtn_ebm.inference.estimators import reinforce, relaxed_paths, straight_through
from gtn_ebm.inference.expectation import (
    energy_variance,
    expectation,
    expected_energy,
    expected_labels,
)
from gtn_ebm.inference.expected_cost import expected_cost
from gtn_ebm.inference.free_energy import Posteriors, free_energy, posteriors
from gtn_ebm.inference.least_energy import Path, best_path, minimum_energy
from gtn_ebm.inference.offending import incorrect_free_energy, most_offending
from gtn_ebm.inference.risk import Decision, expected_edit_distance, minimum_risk_answer
from gtn_ebm.inference.sampling import random_paths

__all__ = [
    "Answer",
    "Decision",
    "Path",
    "PathChains",
    "Posteriors",
    "answer_energies",
    "best_answers",
    "best_path",
    "best_paths",
    "cross_entropy",
    "energy_variance",
    "entropy",
    "equal",
    "equivalent",
    "expectation",
    "expected_cost",
    "expected_edit_distance",
    "expected_energy",
    "expected_labels",
    "free_energy",
    "free_energy_slope",
    "heat_capacity",
    "incorrect_free_energy",
    "isomorphic",
    "kl_divergence",
    "minimum_energy",
    "minimum_risk_answer",
    "most_offending",
    "posteriors",
    "random_answers",
    "random_equivalent",
    "random_paths",
    "reinforce",
    "relaxed_paths",
    "straight_through",
    "string_cross_entropy",
    "string_kl_divergence",
]
