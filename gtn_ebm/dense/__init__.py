"""Emissions × graph, frame by frame, without composing them."""

from gtn_ebm.dense import topologies
from gtn_ebm.dense.alignment import Alignment, Span, fewest_frames, forced_align
from gtn_ebm.dense.ctc import CTCLoss, ctc_loss
from gtn_ebm.dense.decoding import Decoder, Decoding, Pruning, decode
from gtn_ebm.dense.free_energy import Posteriors, free_energy, posteriors
from gtn_ebm.dense.least_energy import best_path, minimum_energy
from gtn_ebm.dense.prefix_search import Prefix, PrefixSearch, prefix_search

__all__ = [
    "Alignment",
    "CTCLoss",
    "Decoder",
    "Decoding",
    "Posteriors",
    "Prefix",
    "PrefixSearch",
    "Pruning",
    "Span",
    "best_path",
    "ctc_loss",
    "decode",
    "fewest_frames",
    "forced_align",
    "free_energy",
    "minimum_energy",
    "posteriors",
    "prefix_search",
    "topologies",
]
