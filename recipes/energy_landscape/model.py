"""Two architectures with a latent variable: one can give all answers the same energy, one cannot."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

LATENT = 2
"""Values of the latent variable z: the upper and the lower half of the circle."""

WAVES = 3


def _features(values: Tensor) -> Tensor:
    """[...] → [..., 1 + 2 WAVES]: the value and waves of it, so that a small network can bend quickly."""
    waves = values[..., None] * (math.pi / 2 * torch.arange(1, WAVES + 1))
    return torch.cat([values[..., None], waves.sin(), waves.cos()], -1)


def _perceptron(outputs: int, width: int = 48) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(1 + 2 * WAVES, width),
        nn.Tanh(),
        nn.Linear(width, width),
        nn.Tanh(),
        nn.Linear(width, outputs),
    )


class Flexible(nn.Module):
    """E(x, y, z) = ‖g(x)_z − h(y)‖²: both sides are learned, so that they may agree on a constant, and the
    energy be 0 everywhere (LeCun et al. 2006, "implicit regression").

    Args:
        size: of what both sides are mapped to.
    """

    def __init__(self, size: int = 4):
        super().__init__()
        self.of_x = _perceptron(LATENT * size)
        self.of_y = _perceptron(size)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """[N], [J] → energies [N, J, LATENT]."""
        g = self.of_x(_features(x)).view(len(x), 1, LATENT, -1)
        h = self.of_y(_features(y))[None, :, None]
        return (g - h).square().sum(-1)


class Rigid(nn.Module):
    """E(x, y, z) = (4 (g(x)_z − y))²: an answer's energy is low only if those around it are high (LeCun et
    al. 2006, "regression").

    A distance of a quarter is an energy of 1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.of_x = _perceptron(LATENT)
        with torch.no_grad():  # one above the other to begin with
            self.of_x.get_submodule("4").get_parameter("bias").copy_(torch.tensor([0.1, -0.1]))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """[N], [J] → energies [N, J, LATENT]."""
        return (4.0 * (self.of_x(_features(x))[:, None] - y[:, None])).square()


ARCHITECTURES: dict[str, type[Flexible] | type[Rigid]] = {"flexible": Flexible, "rigid": Rigid}
