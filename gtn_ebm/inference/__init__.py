"""Graph → number, path, posterior. Each function takes one graph or a list, which runs side by side."""

from gtn_ebm.inference.free_energy import Posteriors, free_energy, posteriors
from gtn_ebm.inference.least_energy import Path, best_path, minimum_energy

__all__ = ["Path", "Posteriors", "best_path", "free_energy", "minimum_energy", "posteriors"]
