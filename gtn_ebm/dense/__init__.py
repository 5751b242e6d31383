"""Emissions × graph, frame by frame, without composing them."""

from gtn_ebm.dense.free_energy import Posteriors, free_energy, posteriors

__all__ = ["Posteriors", "free_energy", "posteriors"]
