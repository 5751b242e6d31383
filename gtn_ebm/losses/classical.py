"""The losses of table 1 of LeCun, Chopra, Hadsell, Ranzato and Huang, "A tutorial on energy-based learning"
(2006).

E(Y) is the energy of the desired answer, E(Ȳ) that of the most offending incorrect answer, F(all) the free
energy of all answers. Each function takes energies of any shape [...] that broadcast, and gives a loss for
each. Where E(Ȳ) is +inf, since there is no wrong answer, a loss has its limit: 0 in those of the difference.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gtn_ebm.losses.registry import loss, soft_plus


@loss(beta=math.inf)
def energy(desired: Tensor) -> Tensor:
    """E(Y): pushes the energy of the desired answer down, and nothing up.

    Margin: none.
    Collapse: yes, unless the architecture lets no energy fall without others rising (normalised energies, or
        a regression with fixed targets).
    Pushed up: nothing.
    Source: LeCun et al. 2006, table 1.
    """
    return desired


@loss(beta=math.inf)
def perceptron(desired: Tensor, everything: Tensor) -> Tensor:
    """E(Y) − min E: 0 as soon as no other answer is better.

    At β < ∞, F(Y) − F(all), which is ``nll``.

    Margin: 0.
    Collapse: yes: where all energies are equal it is 0, its minimum.
    Pushed up: the best answer, while it is a wrong one.
    Source: LeCun et al. 1998, "Gradient-based learning applied to document recognition", section VI;
        Collins 2002, "Discriminative training methods for hidden Markov models".
    """
    return desired - everything


@loss(beta=math.inf, aliases=("hinge_pair", "ranking", "triplet"))
def hinge(desired: Tensor, wrong: Tensor, margin: float | Tensor = 1.0) -> Tensor:
    """[m + E(Y) − E(Ȳ)]⁺: the desired answer is to be better than any other by the margin.

    Of any wrong answer ŷ with a margin m(y, ŷ) of its own it is the hinge pair, ranking or triplet loss.

    Args:
        margin: m ≥ 0, one for all or [...].

    Margin: m.
    Collapse: no, where m > 0: equal energies cost m.
    Pushed up: the most offending incorrect answer, while within the margin.
    Source: LeCun et al. 2006, table 1; Altun, Johnson, Hofmann 2003, "Investigating loss functions and
        optimization methods for discriminative learning of label sequences"; Weston, Bengio, Usunier 2010,
        "Large scale image annotation".
    """
    return torch.relu(margin + desired - wrong)


@loss(beta=math.inf)
def log(desired: Tensor, wrong: Tensor) -> Tensor:
    """log(1 + exp(E(Y) − E(Ȳ))): a hinge with a soft corner.

    Of F_1 of all wrong answers (β = 1) it is ``nll``.

    Margin: positive, without end: it falls as long as the gap grows.
    Collapse: no: equal energies cost log 2.
    Pushed up: the most offending incorrect answer, with a force that rises to 1 as it gets better.
    Source: LeCun et al. 2006, table 1.
    """
    return soft_plus(desired - wrong)


@loss(beta=math.inf)
def lvq2(desired: Tensor, wrong: Tensor, limit: float | Tensor = 1.0) -> Tensor:
    """min(M, [E(Y) − E(Ȳ)]⁺): a perceptron loss that gives up on what is far off.

    Args:
        limit: M ≥ 0, the loss of what is given up.

    Margin: 0.
    Collapse: yes: where all energies are equal it is 0, its minimum.
    Pushed up: the most offending incorrect answer, while it is better, but by less than M.
    Source: LeCun et al. 2006, table 1; Kohonen, Barna, Chrisley 1988, "Statistical pattern
        recognition with neural networks"; Driancourt, Bottou, Gallinari 1991.
    """
    most = torch.as_tensor(limit, dtype=desired.dtype, device=desired.device)
    return torch.minimum(torch.relu(desired - wrong), most)


@loss(beta=math.inf)
def mce(desired: Tensor, wrong: Tensor) -> Tensor:
    """1 / (1 + exp(−(E(Y) − E(Ȳ)))): a smooth count of errors.

    Margin: positive, without end, but with a force that fades.
    Collapse: no: equal energies cost 1/2.
    Pushed up: the most offending incorrect answer, most where both are near each other.
    Source: LeCun et al. 2006, table 1; Juang, Hou, Lee 1997, "Minimum classification error rate methods for
        speech recognition".
    """
    return torch.sigmoid(desired - wrong)


@loss(beta=math.inf)
def square_square(desired: Tensor, wrong: Tensor, margin: float | Tensor = 1.0) -> Tensor:
    """E(Y)² + ([m − E(Ȳ)]⁺)²: the desired energy is to be 0, the wrong one at least the margin.

    The two are pushed apart from each other in absolute terms, so energies should not be negative; where they
    may be, see ``square_square_pair``.

    Args:
        margin: m ≥ 0, one for all or [...].

    Margin: m.
    Collapse: no, where m > 0: equal energies cost at least m²/2.
    Pushed up: the most offending incorrect answer, while its energy is below m; also a desired energy below
        0.
    Source: LeCun et al. 2006, section 2.2 (its table 1 has a minus sign by mistake); LeCun, Huang 2005, "Loss
        functions for discriminative training of energy-based models".
    """
    return desired.square() + torch.relu(margin - wrong).square()


@loss(beta=math.inf)
def square_exponential(desired: Tensor, wrong: Tensor, gamma: float | Tensor = 1.0) -> Tensor:
    """E(Y)² + γ exp(−E(Ȳ)): as square-square, with a force on the wrong answer that never ends.

    Args:
        gamma: γ ≥ 0, the weight of the wrong answer.

    Margin: positive, without end.
    Collapse: no, where γ > 0: equal energies cost something.
    Pushed up: the most offending incorrect answer; also a desired energy below 0.
    Source: LeCun et al. 2006, table 1; Chopra, Hadsell, LeCun 2005, "Learning a similarity metric
        discriminatively, with application to face verification"; Osadchy, LeCun, Miller 2007.
    """
    return desired.square() + gamma * torch.exp(-wrong)


@loss(beta=1.0, aliases=("mmi",))
def nll(desired: Tensor, everything: Tensor) -> Tensor:
    """F_β(Y) − F_β(all) = −(1/β) log p(Y): negative log-likelihood, or maximum mutual information.

    The energies are taken at β: at β = ∞ it is the perceptron loss.

    Margin: positive, without end.
    Collapse: no: N equal energies cost (log N) / β.
    Pushed up: every answer, by its probability; the desired one is pushed down by more.
    Source: LeCun et al. 2006, table 1; Bahl, Brown, de Souza, Mercer 1986, "Maximum mutual information
        estimation of hidden Markov model parameters"; Lafferty, McCallum, Pereira 2001.
    """
    return desired - everything


@loss(beta=1.0)
def mee(desired: Tensor, everything: Tensor, beta: float = 1.0) -> Tensor:
    """1 − p(Y) = 1 − exp(−β (F_β(Y) − F_β(all))): minimum empirical error, the expected number of errors.

    Args:
        beta: β of the two free energies, finite.

    Margin: positive, without end, but with a force that fades.
    Collapse: no: N equal energies cost 1 − 1/N.
    Pushed up: every wrong answer, by its probability times p(Y): little where the desired answer is unlikely.
    Source: LeCun et al. 2006, table 1; Ljolje, Ephraim, Rabiner 1990, "Estimation of hidden Markov model
        parameters by minimizing empirical error rate".
    """
    return -torch.expm1(-beta * (desired - everything))
