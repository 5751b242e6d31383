"""Emissions × graph, frame by frame, without composing them."""

from gtn_ebm.dense.ngram import ngram
from gtn_ebm.dense.topologies import (
    asg_topology,
    compact_ctc_topology,
    ctc_topology,
    hmm_topology,
    minimal_ctc_topology,
    optional_silence,
    star_emissions,
    star_target,
    subtract_prior,
    uncertain_transcript,
)
from gtn_ebm.dense.transducer import TransducerLoss, transducer_graph, transducer_loss

__all__ = [
    "TransducerLoss",
    "asg_topology",
    "compact_ctc_topology",
    "ctc_topology",
    "hmm_topology",
    "minimal_ctc_topology",
    "ngram",
    "optional_silence",
    "star_emissions",
    "star_target",
    "subtract_prior",
    "transducer_graph",
    "transducer_loss",
    "uncertain_transcript",
]
