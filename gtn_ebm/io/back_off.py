"""Back-off n-gram models: the probabilities they give, and how to make them smaller."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

Gram = tuple[int, ...]

_SMALLEST = 1e-12  # probability left over below which a back-off weight is rounding, not data


@dataclass
class BackOffModel:
    """A back-off n-gram model over the words 0 … len(words) − 1.

    E(w | h) = ``energies[h + (w,)]`` where that is given, else ``back_off.get(h, 0)`` + E(w | h without its
    first word), in natural logarithms, −ln p; +inf for a word without a unigram.
    """

    words: list[str]
    order: int
    energies: dict[Gram, float]
    back_off: dict[Gram, float]
    start: int | None
    end: int | None

    def energy(self, history: Gram, word: int) -> float:
        """−ln p(word | history), +inf where the model does not know the word."""
        passed = 0.0
        history = history[max(0, len(history) - self.order + 1) :]
        while (found := self.energies.get((*history, word))) is None:
            if not history:
                return math.inf
            passed += self.back_off.get(history, 0.0)
            history = history[1:]
        return passed + found

    def prune(self, threshold: float) -> None:
        """Drops the n-grams, longest first, whose loss raises the model's perplexity by less than
        ``threshold``, relatively, and sets the back-off weights of their histories anew.

        An n-gram that begins a longer one which stays, stays. What it would cost to lose the n-gram (h, w)
        is the relative entropy p(h) Σ_v p(v | h) ln(p(v | h) / p'(v | h)), whose sum has a closed form
        because p' differs from p in w and in the back-off weight of h only.

        Source: Stolcke, Entropy-based pruning of backoff language models, 1998.
        """
        for length in range(self.order, 1, -1):
            histories: dict[Gram, list[int]] = defaultdict(list)
            for gram in self.energies:
                if len(gram) == length:
                    histories[gram[:-1]].append(gram[-1])
            extended = {gram[:-1] for gram in self.energies if len(gram) == length + 1}
            for history, followers in histories.items():
                self._prune_followers(history, followers, extended, threshold)

    def _prune_followers(
        self, history: Gram, followers: list[int], extended: set[Gram], threshold: float
    ) -> None:
        explicit = {word: _probability(self.energies[*history, word]) for word in followers}
        lower = {word: _probability(self.energy(history[1:], word)) for word in followers}
        left, left_below = 1 - math.fsum(explicit.values()), 1 - math.fsum(lower.values())
        if min(left, left_below) < _SMALLEST:
            return
        weight = _probability(self._history_energy(history))
        dropped = []
        for word, probability in explicit.items():
            if (*history, word) in extended or probability == 0 or lower[word] == 0:
                continue
            renewed = math.log((left + probability) / (left_below + lower[word]))
            change = renewed - math.log(left / left_below)
            entropy = probability * (math.log(lower[word] / probability) + renewed) + left * change
            if -weight * entropy < math.log1p(threshold):
                dropped.append(word)
        for word in dropped:
            del self.energies[*history, word]
            self.back_off.pop((*history, word), None)
        if len(dropped) == len(followers):
            self.back_off.pop(history, None)
        elif dropped:
            above = left + math.fsum(explicit[word] for word in dropped)
            below = left_below + math.fsum(lower[word] for word in dropped)
            self.back_off[history] = -math.log(above / below)

    def _history_energy(self, history: Gram) -> float:
        """−ln p(history); a sentence begins as often as one ends."""
        return math.fsum(
            self.energy((), self.end)
            if word == self.start and self.end is not None
            else self.energy(history[:place], word)
            for place, word in enumerate(history)
        )


def _probability(energy: float) -> float:
    """At most 1, whatever the back-off weights of a file that is no model say."""
    return math.exp(min(-energy, 0.0))
