"""Emissions × graph, frame by frame, without composing them."""

from gtn_ebm.dense import topologies
from gtn_ebm.dense.ctc import CTCLoss, ctc_loss
from gtn_ebm.dense.free_energy import Posteriors, free_energy, posteriors

__all__ = ["CTCLoss", "Posteriors", "ctc_loss", "free_energy", "posteriors", "topologies"]
