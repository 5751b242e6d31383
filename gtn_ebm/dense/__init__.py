"""Emissions × graph, frame by frame, without composing them."""

from gtn_ebm.dense import topologies
from gtn_ebm.dense.alignment import Alignment, Span, fewest_frames, forced_align
from gtn_ebm.dense.criteria import (
    ASGLoss,
    LatticeMWERLoss,
    LFMMILoss,
    MWERLoss,
    NLLLoss,
    STCLoss,
    desired_and_all,
)
from gtn_ebm.dense.ctc import CTCLoss, ctc_loss
from gtn_ebm.dense.decoding import Decoder, Decoding, Pruning, decode
from gtn_ebm.dense.emissions import star_emissions, subtract_prior
from gtn_ebm.dense.free_energy import Posteriors, free_energy, posteriors
from gtn_ebm.dense.least_energy import best_path, minimum_energy
from gtn_ebm.dense.ngram import ngram
from gtn_ebm.dense.prefix_search import Prefix, PrefixSearch, prefix_search
from gtn_ebm.dense.transducer import TransducerLoss, transducer_graph, transducer_loss

__all__ = [
    "ASGLoss",
    "Alignment",
    "CTCLoss",
    "Decoder",
    "Decoding",
    "LFMMILoss",
    "LatticeMWERLoss",
    "MWERLoss",
    "NLLLoss",
    "Posteriors",
    "Prefix",
    "PrefixSearch",
    "Pruning",
    "STCLoss",
    "Span",
    "TransducerLoss",
    "best_path",
    "ctc_loss",
    "decode",
    "desired_and_all",
    "fewest_frames",
    "forced_align",
    "free_energy",
    "minimum_energy",
    "ngram",
    "posteriors",
    "prefix_search",
    "star_emissions",
    "subtract_prior",
    "topologies",
    "transducer_graph",
    "transducer_loss",
]
