"""Every public function of emissions is the same to any caller: on several threads at once, in a forked data
loader's worker, and whatever the strides."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gtn_ebm import dense
from gtn_ebm.dense.topologies import correct_ctc, ctc

ITEMS, FRAMES, CLASSES = 3, 9, 4
LENGTHS = torch.tensor([9, 7, 0])
TARGETS = [[1, 2, 2], [3], []]
GRAPHS = [ctc(target) for target in TARGETS]
ALL = correct_ctc(CLASSES)
HYPOTHESES = [[[1, 2], [1, 2, 2]], [[3], []], [[], [1]]]
TOKENS = dense.ngram(TARGETS, 2)

ANSWERS: dict[str, Callable[[Tensor], Tensor]] = {
    "free_energy": lambda e: dense.free_energy(e, LENGTHS, GRAPHS),
    "minimum_energy": lambda e: dense.minimum_energy(e, LENGTHS, GRAPHS),
    "best_path": lambda e: torch.stack([path.energy for path in dense.best_path(e, LENGTHS, GRAPHS) if path]),
    "posteriors": lambda e: dense.posteriors(e, LENGTHS, GRAPHS).classes,
    "forced_align": lambda e: torch.stack([one.energy for one in dense.forced_align(e, LENGTHS, TARGETS)]),
    "confidences": lambda e: torch.tensor(
        [span.confidence for one in dense.forced_align(e, LENGTHS, TARGETS, beta=1.0) for span in one.spans]
    ),
    "decode": lambda e: torch.stack(
        [found.path.energy for found in dense.decode(e, LENGTHS, ALL, lattice_beam=2.0) if found.path]
    ),
    "prefix_search": lambda e: torch.tensor(
        [prefix.energy for found in dense.prefix_search(e, LENGTHS, count=3) for prefix in found]
    ),
    "ctc_loss": lambda e: dense.ctc_loss(
        -e.transpose(0, 1), torch.tensor([1, 2, 2, 3]), LENGTHS, [3, 1, 0], reduction="none"
    ),
    "transducer_loss": lambda e: dense.transducer_loss(
        e[:, :, None].expand(-1, -1, 3, -1), torch.tensor([[1, 2], [3, 0], [0, 0]]), [9, 7, 1], [2, 1, 0], 0
    ),
    "NLLLoss": lambda e: dense.NLLLoss(ALL, reduction="none")(e, LENGTHS, TARGETS),
    "LFMMILoss": lambda e: dense.LFMMILoss(ALL, TOKENS, reduction="none")(e, LENGTHS, TARGETS),
    "ASGLoss": lambda e: dense.ASGLoss(CLASSES, zero_infinity=True)(e, LENGTHS, TARGETS),
    "STCLoss": lambda e: dense.STCLoss(reduction="none")(e, LENGTHS, TARGETS),
    "MWERLoss": lambda e: dense.MWERLoss(ALL, reduction="none")(e, LENGTHS, TARGETS, HYPOTHESES),
    "LatticeMWERLoss": lambda e: dense.LatticeMWERLoss()(
        [found.lattice for found in dense.decode(e, LENGTHS, ALL, lattice_beam=2.0)], TARGETS
    ),
    "star_emissions": dense.star_emissions,
    "subtract_prior": lambda e: dense.subtract_prior(e, torch.full((CLASSES,), 0.25).log()),
}


def answer(name: str, emissions: Tensor) -> list[Tensor]:
    """The result, and its gradient where it has one."""
    leaf = emissions.detach().requires_grad_()
    found = ANSWERS[name](leaf)
    gradients = torch.autograd.grad(found.sum(), leaf) if found.requires_grad else ()
    return [found.detach(), *gradients]


def problem() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(ITEMS, FRAMES, CLASSES, generator=generator, dtype=torch.float64)
    return -logits.log_softmax(-1)


def assert_same(found: list[Tensor], wanted: list[Tensor]) -> None:
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0.0, atol=1e-12)


class Answers(Dataset[list[Tensor]]):
    def __len__(self) -> int:
        return len(ANSWERS)

    def __getitem__(self, place: int) -> list[Tensor]:
        return answer(list(ANSWERS)[place], problem())


@pytest.mark.parametrize("name", ANSWERS)
def test_any_strides_and_threads(name: str) -> None:
    emissions = problem()
    wide = torch.full((CLASSES, 2 * FRAMES, ITEMS), torch.nan, dtype=torch.float64)
    strided = wide.permute(2, 1, 0)[:, ::2].copy_(emissions)
    assert not strided.is_contiguous()
    wanted = answer(name, emissions)
    assert_same(answer(name, strided), wanted)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda given: answer(name, given), [emissions, strided] * 4):
            assert_same(found, wanted)


def test_workers_of_a_data_loader() -> None:
    wanted = [answer(name, problem()) for name in ANSWERS]
    loader = DataLoader(
        Answers(), batch_size=None, num_workers=2, multiprocessing_context="fork", timeout=120
    )
    for found, expected in zip(loader, wanted, strict=True):
        assert_same(found, expected)
