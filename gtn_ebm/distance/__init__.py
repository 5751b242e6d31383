"""Shortest distances: sums over all paths to, from and between states, exact on cycles, with gradients."""

from gtn_ebm.distance.all_pairs import all_pairs_distance
from gtn_ebm.distance.cycles import cycle_through
from gtn_ebm.distance.divergence import Divergence, naming_cycles
from gtn_ebm.distance.energies import check_beta, usable, weights
from gtn_ebm.distance.least import Tree, least_tree
from gtn_ebm.distance.shortest import arcs_on_paths, shortest_distance, sum_over_paths
from gtn_ebm.distance.walks import Direction, check_direction, walk

__all__ = [
    "Direction",
    "Divergence",
    "Tree",
    "all_pairs_distance",
    "arcs_on_paths",
    "check_beta",
    "check_direction",
    "cycle_through",
    "least_tree",
    "naming_cycles",
    "shortest_distance",
    "sum_over_paths",
    "usable",
    "walk",
    "weights",
]
