"""What a loss is: a function of energies that has a name and says, by the names of its arguments, which of
them it needs."""

from __future__ import annotations

import functools
import inspect
import math
import re
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, ParamSpec

import torch
from torch import Tensor, nn

from gtn_ebm.distance import check_beta
from gtn_ebm.errors import GraphError

P = ParamSpec("P")

ENERGIES = ("desired", "everything", "wrong", "wrong_answers", "answers", "costs", "expected_cost")
"""What a loss may need, each of shape [...], or [..., K] for K answers:

- desired: the energy of the desired answer;
- everything: the free energy of all answers;
- wrong: the energy of the most offending incorrect answer, or the free energy of all incorrect ones;
- wrong_answers: the energies of K incorrect answers;
- answers: the energies of K answers, right and wrong;
- costs: what it costs to give each of these;
- expected_cost: what it costs on average over all answers.
"""

OF_SEVERAL = ("wrong_answers", "answers", "costs")
"""Those with a last dimension for the answers."""


@dataclass(frozen=True)
class Loss:
    """An entry of the table of losses.

    Attributes:
        name: that it goes by.
        function: its energies → the loss.
        needs: the energies that it takes, in order (see ``ENERGIES``).
        options: its other arguments and what they are where omitted.
        beta: the inverse temperature of the energies where omitted: ∞ compares least energies, 1 sums.
    """

    name: str
    function: Callable[..., Tensor]
    needs: tuple[str, ...]
    options: Mapping[str, Any]
    beta: float

    def says(self, title: str) -> str:
        """What the documentation has behind "Margin", "Collapse", "Pushed up" or "Source", up to a line that
        begins at the margin; nothing where it has no such entry.

        >>> by_name("lvq2").says("Margin")
        '0.'
        """
        found = re.search(rf"(?m)^{title}: (.*(?:\n +.*)*)", inspect.getdoc(self.function) or "")
        return " ".join(found[1].split()) if found else ""


LOSSES: dict[str, Loss] = {}
"""Every loss by its name."""

ALIASES: dict[str, str] = {}
"""Other names that losses go by in the literature."""


def by_name(name: str) -> Loss:
    """The loss of that name, or of that other name.

    Raises:
        GraphError: there is none; the message lists all.

    >>> by_name("hinge").needs
    ('desired', 'wrong')
    """
    found = LOSSES.get(ALIASES.get(name, name)) if isinstance(name, str) else None
    if found is None:
        raise GraphError(f"no loss {name!r}; there are {', '.join(LOSSES)}")
    return found


def loss(beta: float, aliases: Sequence[str] = ()) -> Callable[[Callable[P, Tensor]], Callable[P, Tensor]]:
    """A decorator that enters a function of energies into the table, under its name.

    Of its parameters, those named as in ``ENERGIES`` are the energies it needs; the others are options, with
    defaults. It then refuses energies that are NaN or −inf, options below 0 and a ``beta`` that is not
    positive and finite. Where the desired energy is +inf, since there is no such answer, the loss is its
    limit (+inf for most) with a gradient of 0, whatever the other energies are.

    Args:
        beta: the inverse temperature of the energies where none is given.
        aliases: other names of the loss.
    """

    def enter(function: Callable[P, Tensor]) -> Callable[P, Tensor]:
        name, signature = function.__name__, inspect.signature(function)
        defaults = {key: parameter.default for key, parameter in signature.parameters.items()}
        needs = tuple(key for key in defaults if key in ENERGIES)
        options = {key: default for key, default in defaults.items() if key not in ENERGIES}

        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> Tensor:
            given = signature.bind(*args, **kwargs)
            given.apply_defaults()
            _check_options(name, options, {key: given.arguments[key] for key in options})
            energies = {key: given.arguments[key] for key in needs}
            for key, values in energies.items():
                _check_energies(name, key, values)
            _check_shapes(name, energies, {key: given.arguments[key] for key in options})
            given.arguments.update(
                _at_limit({key: _of_some(key, values) for key, values in energies.items()})
            )
            result = function(*given.args, **given.kwargs)
            _check_result(name, result, energies)
            return result

        LOSSES[name] = Loss(name, checked, needs, options, beta)
        ALIASES.update(dict.fromkeys(aliases, name))
        return checked

    return enter


def _check_energies(loss: str, name: str, energies: Any) -> None:
    if not isinstance(energies, Tensor) or not energies.dtype.is_floating_point:
        raise GraphError(f"{loss} needs {name!r} as a floating tensor, not {energies!r:.60}")
    if name in OF_SEVERAL and energies.ndim == 0:
        raise GraphError(f"{loss} needs {name!r} with a last dimension for the answers, [..., K]")
    wrong = torch.isnan(energies) | (energies == -torch.inf)
    if wrong.any():
        raise GraphError(
            f"{_place(name, wrong)} is {float(energies[wrong][0])}; {loss} needs numbers, or +inf where "
            "there is no such answer"
        )


def _check_shapes(loss: str, energies: Mapping[str, Tensor], options: Mapping[str, Any]) -> None:
    shapes = {name: list(values.shape) for name, values in energies.items()}
    if not _fit(shapes, OF_SEVERAL):
        raise GraphError(f"the energies of {loss} do not fit each other, with the shapes {shapes}")
    # An option may be a tensor of a number for each answer, or for each desired one where there is but one.
    given = {name: list(value.shape) for name, value in options.items() if isinstance(value, Tensor)}
    of_several = [*OF_SEVERAL, *given] if any(name in shapes for name in OF_SEVERAL) else []
    if not _fit({**shapes, **given}, of_several):
        raise GraphError(f"{given} of {loss} do not fit its energies, of the shapes {shapes}")


def _fit(shapes: Mapping[str, list[int]], of_several: Container[str]) -> bool:
    """Whether tensors of these shapes go together, where those ``of_several`` have a dimension more."""
    try:
        torch.broadcast_shapes(*(s if name in of_several else [*s, 1] for name, s in shapes.items()))
    except RuntimeError:
        return False
    return True


def _place(name: str, wrong: Tensor) -> str:
    """The first place that is marked, as one would index it."""
    place = wrong.nonzero()[0].tolist()
    return f"{name}{place}" if place else name


def _of_some(name: str, energies: Tensor) -> Tensor:
    """The energies, where they are of no answers those of one that is not there."""
    if name not in OF_SEVERAL or energies.shape[-1] > 0:
        return energies
    return torch.cat([energies, energies.new_full((*energies.shape[:-1], 1), torch.inf)], -1)


def _check_options(loss: str, defaults: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    for name, value in options.items():
        if isinstance(defaults[name], str) and not isinstance(value, str):
            raise GraphError(f"{name} of {loss} must be a name, not {value!r:.60}")
        if name == "beta":
            check_beta(value)
            if math.isinf(value):
                raise GraphError(f"{loss} needs a finite β")
        elif isinstance(defaults[name], Real) and not (
            isinstance(value, Tensor | Real) and torch.as_tensor(value).ge(0).all()
        ):
            raise GraphError(f"{name} of {loss} must be 0 or more, not {value!r:.60}")


def _check_result(loss: str, result: Tensor, energies: Mapping[str, Tensor]) -> None:
    """A loss is never NaN, and finite wherever the desired answer can be given."""
    wrong = torch.isnan(result)
    if "desired" in energies:
        wrong = wrong | ~torch.isfinite(result) & torch.isfinite(energies["desired"])
    if wrong.any():
        raise GraphError(
            f"{_place(loss, wrong)} is {float(result[wrong][0])}: the energies are too far apart for it, or "
            "those of all answers do not hold the desired one"
        )


def _at_limit(energies: dict[str, Tensor]) -> dict[str, Tensor]:
    """The energies, those beside a desired energy of +inf set to 0, which takes no gradient."""
    desired = energies.get("desired")
    if desired is None or not (unreachable := torch.isposinf(desired)).any():
        return energies
    return {
        name: torch.where(
            unreachable[..., None] if name in OF_SEVERAL else unreachable,
            torch.inf if name == "desired" else 0.0,
            values,
        )
        for name, values in energies.items()
    }


class EnergyLoss(nn.Module):
    """A loss of energies, by name.

    Args:
        name: of a loss in ``LOSSES``.
        options: its own, such as ``margin``; those omitted are as in the function.

    Called with the energies that it ``needs``, in that order or by name, it gives a loss for each, in their
    shape [...].

    Raises:
        GraphError: no such loss, or it has no such option.

    >>> EnergyLoss("hinge", margin=2.0)(desired=torch.tensor([1.0]), wrong=torch.tensor([2.5]))
    tensor([0.5000])
    """

    def __init__(self, name: str, **options: Any):
        super().__init__()
        self.loss = by_name(name)
        for option in options:
            if option not in self.loss.options:
                known = ", ".join(self.loss.options) or "none"
                raise GraphError(f"the loss {self.loss.name!r} has no option {option!r}; it has {known}")
        self.options = {**self.loss.options, **options}
        _check_options(self.loss.name, self.loss.options, self.options)

    @property
    def needs(self) -> tuple[str, ...]:
        """The energies it is called with, in order."""
        return self.loss.needs

    def forward(self, *energies: Tensor, **named: Tensor) -> Tensor:
        missing = self.needs[len(energies) :]
        if len(energies) > len(self.needs) or named.keys() != set(missing):
            given = [f"{len(energies)} by place", *named]
            raise GraphError(f"{self.loss.name} needs {', '.join(self.needs)}; given are {', '.join(given)}")
        return self.loss.function(*energies, **named, **self.options)

    def extra_repr(self) -> str:
        return ", ".join([self.loss.name, *(f"{name}={value}" for name, value in self.options.items())])


def soft_plus(x: Tensor) -> Tensor:
    """log(1 + exp(x)), to the last digit: torch's own leaves the exponential out from x = 20 on."""
    return nn.functional.softplus(x, threshold=40.0)
