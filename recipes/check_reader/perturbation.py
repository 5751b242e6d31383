"""Random energies, so that the best path has to be better than its competitors by more than chance.

A perceptron loss compares two paths and has no margin. It is proportional to the energies: while some answers
are wrong, the steepest way down leads, among others, to energies that are all alike, where the loss is 0 and
nothing can be read. Normalising or standardising them does not help for long, for what is fixed then goes
into differences that decide nothing.

Added to energies that are alike, noise of a fixed scale makes many answers wrong; only differences that are
larger than the noise make it harmless. The loss stays the difference of two minima, now in the perturbed
graph, and its mean over the noise has its least value where energies tell answers apart.

Papandreou and Yuille, "Perturb-and-MAP random fields" (2011): minima over energies less Gumbel noise are
samples, as of exp(−E), and learning from them approaches learning by likelihood. Berthet et al., "Learning
with differentiable perturbed optimizers" (2020): the mean of this loss is convex and smooth in the energies.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import torch

from gtn_ebm import Graph
from recipes.check_reader.segmentation import Segmentation


def perturbed(graphs: Sequence[Graph], segmentations: Sequence[Segmentation], place: int) -> list[Graph]:
    """The graphs with every arc's energy less a number from the standard Gumbel distribution, of mean 0.58
    and standard deviation 1.28 nats.

    The numbers come from the image, as in ``ImageDropout``: the same, however images are spread over batches
    and processes, and whenever a training was stopped.

    Args:
        graphs: one of each image.
        segmentations: of the images.
        place: tells one kind of graph from another, and from the places of ``ImageDropout``, lest one is
            drawn like the other.
    """
    noisy = []
    for graph, segmentation in zip(graphs, segmentations, strict=True):
        random = np.random.default_rng([zlib.crc32(segmentation.ink.tobytes()), place])
        noise = torch.from_numpy(random.gumbel(size=graph.arcs)).to(graph.dtype)
        noisy.append(graph.with_energies(graph.energies - noise))
    return noisy
