"""Emissions × graph, frame by frame, without composing them."""

from gtn_ebm.dense import topologies
from gtn_ebm.dense.best_path import best_path, minimum_energy
from gtn_ebm.dense.criteria import ASGLoss, LFMMILoss, MWERLoss, NLLLoss, STCLoss, desired_and_all
from gtn_ebm.dense.ctc import CTCLoss, ctc_loss
from gtn_ebm.dense.emissions import star_emissions, subtract_prior
from gtn_ebm.dense.free_energy import Posteriors, free_energy, posteriors
from gtn_ebm.dense.ngram import ngram
from gtn_ebm.dense.transducer import TransducerLoss, transducer_graph, transducer_loss

__all__ = [
    "ASGLoss",
    "CTCLoss",
    "LFMMILoss",
    "MWERLoss",
    "NLLLoss",
    "Posteriors",
    "STCLoss",
    "TransducerLoss",
    "best_path",
    "ctc_loss",
    "desired_and_all",
    "free_energy",
    "minimum_energy",
    "ngram",
    "posteriors",
    "star_emissions",
    "subtract_prior",
    "topologies",
    "transducer_graph",
    "transducer_loss",
]
