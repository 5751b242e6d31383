"""Graph transformers: torch modules from graphs to graphs, in the words of LeCun, Bottou, Bengio and Haffner,
"Gradient-based learning applied to document recognition" (1998), sections IV to VIII."""

from gtn_ebm.transformers.convolution import ConvolutionalTransducer
from gtn_ebm.transformers.network import GraphTransformerNetwork, Reading
from gtn_ebm.transformers.recognition import RecognitionTransformer, interpretation_graph
from gtn_ebm.transformers.selection import ForwardScorer, PathSelector, ViterbiTransformer
from gtn_ebm.transformers.transducers import CompositionTransformer, Transducer, bigram, word_pieces

__all__ = [
    "CompositionTransformer",
    "ConvolutionalTransducer",
    "ForwardScorer",
    "GraphTransformerNetwork",
    "PathSelector",
    "Reading",
    "RecognitionTransformer",
    "Transducer",
    "ViterbiTransformer",
    "bigram",
    "interpretation_graph",
    "word_pieces",
]
