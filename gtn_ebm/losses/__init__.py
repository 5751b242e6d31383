"""Energies → loss: the losses of energy-based learning, on plain tensors and on graphs."""

from gtn_ebm.losses.classical import hinge, log, nll, perceptron
from gtn_ebm.losses.graphs import GraphLoss
from gtn_ebm.losses.registry import ALIASES, ENERGIES, LOSSES, EnergyLoss, Loss, by_name

__all__ = [
    "ALIASES",
    "ENERGIES",
    "LOSSES",
    "EnergyLoss",
    "GraphLoss",
    "Loss",
    "by_name",
    "hinge",
    "log",
    "nll",
    "perceptron",
]
