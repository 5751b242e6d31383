"""Energies → loss: the losses of energy-based learning, on plain tensors and on graphs."""

from gtn_ebm.losses.classical import (
    energy,
    hinge,
    log,
    lvq2,
    mce,
    mee,
    nll,
    perceptron,
    square_exponential,
    square_square,
)
from gtn_ebm.losses.contrastive import info_nce, nce
from gtn_ebm.losses.graphs import GraphLoss
from gtn_ebm.losses.margins import additive_margin, exponential, simple, square_square_pair
from gtn_ebm.losses.registry import ALIASES, ENERGIES, LOSSES, EnergyLoss, Loss, by_name, loss
from gtn_ebm.losses.risks import bayes_risk, expected_risk

__all__ = [
    "ALIASES",
    "ENERGIES",
    "LOSSES",
    "EnergyLoss",
    "GraphLoss",
    "Loss",
    "additive_margin",
    "bayes_risk",
    "by_name",
    "energy",
    "expected_risk",
    "exponential",
    "hinge",
    "info_nce",
    "log",
    "loss",
    "lvq2",
    "mce",
    "mee",
    "nce",
    "nll",
    "perceptron",
    "simple",
    "square_exponential",
    "square_square",
    "square_square_pair",
]
