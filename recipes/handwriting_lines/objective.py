"""Any loss of ``gtn_ebm.losses`` of the answers that connectionist temporal classification tells apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from gtn_ebm import Graph, GraphError
from gtn_ebm.dense import free_energy, prefix_search, topologies
from gtn_ebm.losses import by_name
from recipes.handwriting_lines.criteria import CTC
from recipes.handwriting_lines.evaluation import edits

WRONG_ANSWERS = 4
"""Those of a line that the desired one competes with: the most likely ones."""

WIDTH = 16
"""Strings that the search for them goes on with after each frame."""

FARTHEST = 30.0
"""Nats by which a wrong answer may be better, in losses that would overflow, and gradients with them."""


class LineLoss(nn.Module):
    """A loss of lines by name, where it is another than that of the criterion itself, which is "nll".

    An answer's energy is its free energy at the loss's β over its alignments with the frames, whose
    energies are −log p. The wrong answers are the WRONG_ANSWERS most likely ones; a cost is the number of
    edits of characters.

    Args:
        criterion: whose classes the frames have.
        name: of a loss in ``gtn_ebm.losses``.

    Raises:
        GraphError: there is no such loss; the message lists all.
    """

    def __init__(self, criterion: CTC, name: str):
        super().__init__()
        self.criterion, self.loss = criterion, by_name(name)
        self._bounded = {"desired", "wrong"} == set(self.loss.needs) and _overflows(self.loss.function)

    def forward(self, scores: Tensor, lengths: Sequence[int], texts: Sequence[str]) -> Tensor:
        """The loss of each line, [B], from scores [B, T, C]; +inf, and no gradient, where its frames are too
        few for the text, or the loss would overflow."""
        frames = self.criterion.energies(scores).cpu()
        each = torch.tensor(lengths)
        desired = self._energies(frames, each, [self.criterion.classes.labels(text) for text in texts])
        needed = {"desired": desired, **self._others(frames, each, texts, desired)}
        if self._bounded:
            too_far = desired - needed["wrong"] > FARTHEST
            needed["desired"] = desired.masked_fill(too_far, torch.inf)
        loss = self.loss.function(**{name: needed[name] for name in self.loss.needs})
        return torch.where(needed["desired"].isfinite(), loss, torch.inf)

    def _others(
        self, frames: Tensor, lengths: Tensor, texts: Sequence[str], desired: Tensor
    ) -> dict[str, Tensor]:
        """What the loss needs besides the energy of the desired answer."""
        if set(self.loss.needs) <= {"desired", "everything"}:
            return {"everything": free_energy(frames, lengths, self._everything(), self.loss.beta)}
        labels = self._wrong_answers(frames, lengths, texts)
        flat = [answer for answers in labels for answer in answers]
        many = frames.repeat_interleave(WRONG_ANSWERS, 0), lengths.repeat_interleave(WRONG_ANSWERS)
        wrong = self._energies(*many, flat).view(len(texts), WRONG_ANSWERS)
        answers = torch.cat([desired[:, None], wrong], 1)
        of_wrong = [
            [edits(self.criterion.classes.labels(text), answer) for answer in some]
            for text, some in zip(texts, labels, strict=True)
        ]
        costs = torch.tensor([[0, *some] for some in of_wrong]).to(answers)
        return {
            "wrong": wrong.min(1).values,
            "wrong_answers": wrong,
            "answers": answers,
            "costs": costs,
            "expected_cost": (answers.neg().softmax(1) * costs).sum(1),
        }

    def _wrong_answers(self, frames: Tensor, lengths: Tensor, texts: Sequence[str]) -> list[list[list[int]]]:
        """The labels of each line's most likely answers but the desired one; the last again where they are
        fewer."""
        found = prefix_search(frames.detach(), lengths, count=WRONG_ANSWERS + 1, width=WIDTH)
        wrong = []
        for text, prefixes in zip(texts, found, strict=True):
            desired = self.criterion.classes.labels(text)
            others = [prefix.labels for prefix in prefixes if prefix.labels != desired] or [[]]
            wrong.append((others + others[-1:] * WRONG_ANSWERS)[:WRONG_ANSWERS])
        return wrong

    def _energies(self, frames: Tensor, lengths: Tensor, labels: Sequence[list[int]]) -> Tensor:
        return free_energy(frames, lengths, [topologies.ctc(answer) for answer in labels], self.loss.beta)

    def _everything(self) -> Graph:
        return topologies.correct_ctc(len(self.criterion.classes))


def _overflows(loss: Callable[..., Tensor]) -> bool:
    try:
        loss(desired=torch.tensor([1000.0]), wrong=torch.tensor([0.0]))
    except GraphError:
        return True
    return False
