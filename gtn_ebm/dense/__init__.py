"""Emissions × graph, frame by frame, without composing them."""

from gtn_ebm.dense.transducer import TransducerLoss, transducer_graph, transducer_loss

__all__ = ["TransducerLoss", "transducer_graph", "transducer_loss"]
