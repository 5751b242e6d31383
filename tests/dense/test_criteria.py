import math
from itertools import product

import numpy as np
import pytest
import torch

from gtn_ebm import Graph, GraphError, Structure, compose, free_energy, union
from gtn_ebm.dense import (
    ASGLoss,
    LatticeMWERLoss,
    LFMMILoss,
    MWERLoss,
    NLLLoss,
    STCLoss,
    decode,
    desired_and_all,
    ngram,
    star_emissions,
)
from gtn_ebm.dense.topologies import asg, compact_ctc, correct_ctc, hmm, minimal_ctc, stc
from gtn_ebm.io import Pronunciation, lexicon_graph
from tests.enumeration import walks

DOUBLE = torch.float64
TARGETS = [[0, 1, 0], [1], [], [0, 0, 1]]
LENGTHS = torch.tensor([5, 4, 3, 6])


def energies(classes, items=4, frames=7, seed=0):
    torch.manual_seed(seed)
    return torch.randn(items, frames, classes, dtype=DOUBLE)


def composed(emissions, graph, beta=1.0):
    """The free energy of the emissions [T, C] and the graph, of their composition."""
    frames, classes = emissions.shape
    source = np.repeat(np.arange(frames), classes)
    structure = Structure(source, source + 1, np.tile(np.arange(classes), frames), states=frames + 1)
    return free_energy(compose(Graph(structure, emissions.reshape(-1)), graph.to(DOUBLE)), beta)


def linear(labels):
    return Graph.linear(np.array(labels, np.int64))


def lexicon_and_grammar():
    lexicon = lexicon_graph(
        [Pronunciation("ab", ("a", "b")), Pronunciation("a", ("a",)), Pronunciation("ba", ("b", "a"))],
        disambiguate=False,
    )
    words = ngram([[0, 1], [2, 1, 0], [1, 1]], order=2)
    plain = lexicon.with_symbols(None, None)
    return compose(compose(hmm(2, states=1), plain), words)


GRAPHS = {
    "ctc": correct_ctc(3, blank=2),
    "compact ctc": compact_ctc(3, blank=2),
    "minimal ctc": minimal_ctc(3, blank=2),
    "hmm": hmm(2, states=2),
    "ctc ∘ bigram": compose(correct_ctc(3, blank=2), ngram([[0, 1], [1, 0, 0]], order=2)),
    "asg": asg(torch.tensor([[0.5, -1.0], [2.0, 0.3]])),
    "hmm ∘ lexicon ∘ grammar": lexicon_and_grammar(),
}


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("beta", [1.0, 0.5, math.inf])
def test_the_nll_is_that_of_explicit_composition(name, beta):
    graph = GRAPHS[name]
    emissions = energies(int(graph.input_labels.max()) + 1).requires_grad_()
    losses = NLLLoss(graph, beta, reduction="none")(emissions, LENGTHS, TARGETS)
    expected = []
    for item, target, length in zip(emissions, TARGETS, LENGTHS, strict=True):
        desired = composed(item[:length], compose(graph, linear(target)), beta)
        expected.append(desired - composed(item[:length], graph, beta) if desired < math.inf else desired)
    torch.testing.assert_close(losses, torch.stack(expected), rtol=1e-10, atol=1e-10)
    finite = losses.isfinite()
    assert finite.any()
    ours, theirs = (
        torch.autograd.grad(each[finite].sum(), emissions)[0] for each in (losses, torch.stack(expected))
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)


def test_with_normalised_emissions_and_ctc_it_is_the_ctc_loss():
    log_p = energies(3).log_softmax(-1)
    found = NLLLoss(correct_ctc(3, blank=2), reduction="none")(-log_p, LENGTHS, TARGETS)
    expected = torch.nn.functional.ctc_loss(
        log_p.transpose(0, 1),
        torch.tensor([label for target in TARGETS for label in target]),
        LENGTHS,
        torch.tensor([len(target) for target in TARGETS]),
        blank=2,
        reduction="none",
    )
    torch.testing.assert_close(found, expected)


def test_first_and_second_derivatives():
    graph = GRAPHS["ctc ∘ bigram"]
    emissions, arcs = energies(3, 2, 4).requires_grad_(), graph.energies.double().requires_grad_()
    targets, lengths = [[0, 1], [1, 0, 0]], torch.tensor([3, 4])

    def loss(emissions, arcs):
        trained = graph.with_energies(arcs)
        return NLLLoss(trained)(emissions, lengths, targets)

    assert torch.autograd.gradcheck(loss, (emissions, arcs))
    assert torch.autograd.gradgradcheck(loss, (emissions, arcs))


def test_a_target_may_be_several_answers():
    graph, emissions = GRAPHS["ctc"], energies(3, 1, 4)
    one, two = (NLLLoss(graph)(emissions, None, [target]) for target in ([0], [1, 0]))
    either = NLLLoss(graph)(emissions, None, [union(linear([0]), linear([1, 0]))])
    torch.testing.assert_close(either, -torch.logaddexp(-one, -two))


def test_probabilities_of_all_answers_add_up_to_one():
    loss = LFMMILoss(compact_ctc(3, blank=2), ngram([[0, 1], [1]], order=2), reduction="none")
    answers = [answer for length in range(4) for answer in product(range(2), repeat=length)]
    losses = loss(energies(3, 1, 3).expand(len(answers), -1, -1), None, answers)
    assert float(torch.exp(-losses).sum()) == pytest.approx(1.0)
    assert (losses >= 0).all()


def by_hand(emissions, transitions, target):
    """The ASG loss of one item [T, C] as its recursions are written in the paper."""
    never = torch.tensor(1e5, dtype=DOUBLE)  # inf has no derivative here
    every, here = emissions[0], [emissions[0, target[0]]] + [never] * (len(target) - 1)
    for frame in emissions[1:]:
        every = frame - torch.logsumexp(-(every[:, None] + transitions), 0)
        stayed = [here[k] + transitions[y, y] for k, y in enumerate(target)]
        moved = [never] + [here[k - 1] + transitions[target[k - 1], target[k]] for k in range(1, len(target))]
        pairs = zip(target, stayed, moved, strict=True)
        here = [frame[y] - torch.logaddexp(-a, -b) for y, a, b in pairs]
    return here[-1] + torch.logsumexp(-every, 0)


def test_asg_is_its_recursion():
    emissions, targets, lengths = energies(3, 2, 6), [[0, 2, 0], [1, 2]], torch.tensor([6, 4])
    loss = ASGLoss(3, reduction="sum").double()
    with torch.no_grad():
        loss.transitions.copy_(torch.randn(3, 3))
    found, expected = [], []
    emissions.requires_grad_()
    items = zip(emissions, lengths, targets, strict=True)
    by_recursion = sum(by_hand(item[:length], loss.transitions, target) for item, length, target in items)
    for value, into in ((loss(emissions, lengths, targets), found), (by_recursion, expected)):
        into += [value.detach(), *torch.autograd.grad(value, (emissions, loss.transitions))]
    torch.testing.assert_close(found, expected)

    def of(emissions, transitions):
        return torch.func.functional_call(loss, {"transitions": transitions}, (emissions, lengths, targets))

    assert torch.autograd.gradcheck(of, (emissions, loss.transitions))
    assert torch.autograd.gradgradcheck(of, (emissions, loss.transitions))


def test_asg_cannot_repeat_a_label():
    assert ASGLoss(2)(energies(2, 1, 4), None, [[0, 0]]) == math.inf


def test_stc_is_that_of_explicit_composition():
    emissions = -energies(3).log_softmax(-1)
    loss = STCLoss(blank=2, penalty=0.7, reduction="none")
    expected = [
        composed(star_emissions(item[:length], 2), stc(target, 3, 2, penalty=0.7))
        for item, length, target in zip(emissions, LENGTHS, TARGETS, strict=True)
    ]
    torch.testing.assert_close(loss(emissions, LENGTHS, TARGETS), torch.stack(expected))
    logits = energies(3, 2, 4).requires_grad_()
    lengths, targets = torch.tensor([4, 3]), [[0, 1], [0]]
    assert torch.autograd.gradcheck(lambda x: loss(-x.log_softmax(-1), lengths, targets), logits)
    assert torch.autograd.gradgradcheck(lambda x: loss(-x.log_softmax(-1), lengths, targets), logits)


def test_stc_says_nothing_of_what_the_transcript_lacks():
    emissions = -energies(3).log_softmax(-1)
    free, dear = (STCLoss(2, penalty, "none") for penalty in (0.0, 1e3))
    # Whatever is read contains nothing in its order.
    torch.testing.assert_close(free(emissions, LENGTHS, [[]] * 4), torch.zeros(4, dtype=DOUBLE))
    # Where nothing may lack, each label takes a frame and all others are blank.
    without = NLLLoss(minimal_ctc(3, 2), reduction="none")(emissions, LENGTHS, TARGETS)
    torch.testing.assert_close(dear(emissions, LENGTHS, TARGETS), without)


def edits(first, second):
    """The edit distance by its definition."""
    if not first or not second:
        return len(first) + len(second)
    replaced = edits(first[1:], second[1:]) + (first[0] != second[0])
    return min(replaced, edits(first[1:], second) + 1, edits(first, second[1:]) + 1)


def test_mwer_is_the_expected_distance_less_its_mean():
    graph = GRAPHS["ctc"]
    emissions, lengths = energies(3, 2, 5).requires_grad_(), torch.tensor([5, 4])
    targets = [[0, 1], [1]]
    hypotheses = [[[0, 1], [0], [1, 0], [0, 1]], [torch.tensor([]).long(), (0, 1)]]

    def loss(emissions):
        return MWERLoss(graph, reduction="none")(emissions, lengths, targets, hypotheses)

    expected = []
    for item, length, target, answers in zip(
        emissions, lengths, targets, ([(0, 1), (0,), (1, 0)], [(), (0, 1)]), strict=True
    ):
        scores = torch.stack([-composed(item[:length], compose(graph, linear(one))) for one in answers])
        distances = torch.tensor([edits(tuple(target), one) for one in answers], dtype=DOUBLE)
        expected.append((scores.softmax(0) * (distances - distances.mean())).sum())
    torch.testing.assert_close(loss(emissions), torch.stack(expected))
    assert torch.autograd.gradcheck(loss, emissions)
    assert torch.autograd.gradgradcheck(loss, emissions)


def test_mwer_of_a_lattice_is_the_expected_distance_over_its_paths():
    targets = [[0, 1], [1]]

    def lattices(emissions):
        found = decode(emissions, torch.tensor([4, 3]), GRAPHS["ctc"], math.inf, lattice_beam=1e3, blank=2)
        return [one.lattice for one in found]

    def loss(emissions):
        return LatticeMWERLoss(2.0, reduction="none")(lattices(emissions), targets)

    emissions = energies(3, 2, 4).requires_grad_()
    for found, graph, target in zip(loss(emissions), lattices(emissions), targets, strict=True):
        every = walks(graph)
        chances = torch.tensor([-2.0 * walk.energy for walk in every], dtype=DOUBLE).softmax(0)
        costs = [edits(tuple(target), walk.outputs) for walk in every]
        assert found.item() == pytest.approx(float(chances @ torch.tensor(costs, dtype=DOUBLE)), abs=1e-9)
    assert torch.autograd.gradcheck(loss, emissions)
    within = LatticeMWERLoss(2.0, at_most=1, reduction="none")(lattices(emissions), targets)
    assert (within < loss(emissions)).all()
    assert LatticeMWERLoss(zero_infinity=True)([Graph(Structure([], [], []))], [[0]]) == 0.0


def test_what_has_no_path_is_infinite_or_nothing():
    graph, lengths = GRAPHS["ctc"], torch.tensor([2, 4])
    targets, hypotheses = [[0, 0], [0, 0]], [[[0, 0]], [[0, 0], [0, 1, 0, 1, 0]]]
    emissions = energies(3, 2, 4).requires_grad_()
    for loss, arguments in (
        (NLLLoss(graph, reduction="none"), (targets,)),
        (STCLoss(2, reduction="none"), ([[0, 0, 1], [0]],)),
        (MWERLoss(graph, reduction="none"), (targets, hypotheses)),
    ):
        losses = loss(emissions, lengths, *arguments)
        assert losses.isinf().tolist() == [True, False]
        (gradient,) = torch.autograd.grad(losses.sum(), emissions)
        assert not gradient[0].any()
        assert gradient.isfinite().all()
        loss.zero_infinity = True
        assert loss(emissions, lengths, *arguments).isfinite().all()
    assert NLLLoss(graph)(emissions, torch.tensor([0, 0]), [[0], [1]]) == math.inf


def test_reductions():
    emissions = energies(3)
    each = NLLLoss(GRAPHS["ctc"], reduction="none")(emissions, LENGTHS, TARGETS)
    assert each.shape == (len(TARGETS),)
    torch.testing.assert_close(NLLLoss(GRAPHS["ctc"])(emissions, LENGTHS, TARGETS), each.mean())
    torch.testing.assert_close(
        NLLLoss(GRAPHS["ctc"], reduction="sum")(emissions, LENGTHS, TARGETS), each.sum()
    )


def test_both_energies_are_there_for_any_loss():
    emissions = energies(3).float()
    desired, everything = desired_and_all(emissions, LENGTHS, GRAPHS["ctc"], TARGETS, beta=math.inf)
    assert desired.dtype == everything.dtype == torch.float32
    assert (desired >= everything).all()
    found = NLLLoss(GRAPHS["ctc"], beta=math.inf, reduction="none")(emissions, LENGTHS, TARGETS)
    torch.testing.assert_close(found, desired - everything)


def test_half_precision_loses_nothing_in_the_difference():
    emissions = 20 * torch.rand(2, 60, 3) + 20
    emissions = emissions.bfloat16()
    losses = NLLLoss(GRAPHS["ctc"], reduction="none")(emissions, None, [[0, 1]] * 2)
    exact = NLLLoss(GRAPHS["ctc"], reduction="none")(emissions.double(), None, [[0, 1]] * 2)
    assert losses.dtype == torch.bfloat16
    torch.testing.assert_close(losses, exact.bfloat16())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: NLLLoss(GRAPHS["ctc"], reduction="average"), "reduction is 'average'"),
        (
            lambda: NLLLoss(GRAPHS["ctc"])(energies(3), LENGTHS, [[0]]),
            "4 items need a list of as many targets, not 1",
        ),
        (lambda: NLLLoss(GRAPHS["ctc"])(energies(3), LENGTHS, None), "as many targets, not None"),
        (lambda: NLLLoss(GRAPHS["ctc"])(energies(3, 1), None, [[0.5]]), "a row of labels"),
        (lambda: NLLLoss(GRAPHS["ctc"])(energies(3, 1), None, [[-1]]), "a row of labels"),
        (lambda: NLLLoss(GRAPHS["ctc"], beta=0.0), "β must be positive"),
        (lambda: MWERLoss(GRAPHS["ctc"], beta=math.inf), "needs a finite β"),
        (lambda: MWERLoss(GRAPHS["ctc"])(energies(3, 2), [1], [[0]] * 2, [[[0]]] * 2), "lengths must be"),
        (lambda: LatticeMWERLoss(beta=math.inf), "needs a finite β"),
        (lambda: LatticeMWERLoss()([GRAPHS["ctc"]], []), "as many targets, not 0"),
        (lambda: LatticeMWERLoss()([None], [[0]]), r"LatticeMWERLoss.forward: lattices\[0\] must be a Graph"),
        (lambda: LatticeMWERLoss()(None, [[0]]), "LatticeMWERLoss.forward: lattices must be"),
        (lambda: ASGLoss(-1), "classes must be a whole number"),
        (lambda: STCLoss()(energies(3), LENGTHS, [[1, 0]] * 4), "the blank is in the target"),
        (lambda: MWERLoss(GRAPHS["ctc"])(energies(3, 1), None, [[0]], [[]]), "item 0 has no hypotheses"),
        (
            lambda: MWERLoss(GRAPHS["ctc"])(energies(3, 2), None, [[0]], [[[0]]]),
            "2 items need a list of as many targets, not 1",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(GraphError, match=message):
        call()
