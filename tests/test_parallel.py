import multiprocessing
import threading
import time

import numpy as np
import pytest
import torch

from gtn_ebm import Graph, Structure, best_path, compose, free_energy
from gtn_ebm.parallel import parallel_map


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def lattices(count: int) -> list[Graph]:
    rng = np.random.default_rng(0)
    graphs = []
    for _ in range(count):
        source = np.repeat(np.arange(50), 3)
        structure = Structure(source, source + 1, rng.integers(0, 4, len(source)))
        graphs.append(Graph(structure, torch.from_numpy(rng.standard_normal(len(source)))))
    return graphs


def total(graphs: list[Graph]) -> float:
    grammar = Graph(Structure([0] * 4, [0] * 4, range(4)), torch.zeros(4, dtype=torch.float64), final=[0])
    return float(free_energy(compose(graphs, grammar)).sum())


def test_results_stand_in_the_order_of_the_items(two_threads):
    def slower_first(item: int) -> int:
        time.sleep(0.01 * (item == 0))
        return item * item

    assert parallel_map(slower_first, range(10)) == [item * item for item in range(10)]


def test_items_run_side_by_side(two_threads):
    meeting = threading.Barrier(2, timeout=30)
    parallel_map(lambda _: meeting.wait(), range(2))


def test_a_call_from_within_ends(two_threads):
    def inner(item: int) -> list[int]:
        return parallel_map(lambda other: item * other, range(3))

    assert parallel_map(inner, range(4)) == [[0, item, 2 * item] for item in range(4)]


def test_no_grad_holds_for_a_whole_batch(two_threads):
    graphs = lattices(4)
    for graph in graphs:
        graph.energies.requires_grad_()
    with torch.no_grad():
        composed = compose(graphs, graphs)
        assert not any(graph.energies.requires_grad for graph in composed)
        assert not free_energy(composed).requires_grad
    assert all(graph.energies.requires_grad for graph in compose(graphs, graphs))


def test_an_error_reaches_the_caller(two_threads):
    with pytest.raises(ZeroDivisionError):
        parallel_map(lambda item: 1 / item, [1, 0, 2])


def test_threads_do_not_change_the_answer():
    graphs = lattices(16)
    before = torch.get_num_threads()
    answers = []
    for threads in (1, 2, 4):
        torch.set_num_threads(threads)
        answers.append((total(graphs), [path.arcs.tolist() for path in best_path(graphs)]))
    torch.set_num_threads(before)
    assert answers[0] == answers[1] == answers[2]


def test_gradients_of_a_batch_on_several_threads(two_threads):
    graphs = lattices(8)
    for graph in graphs:
        graph.energies.requires_grad_()
    free_energy(graphs).sum().backward()
    for graph in graphs:
        alone = graph.energies.detach().clone().requires_grad_()
        free_energy(graph.with_energies(alone)).backward()
        assert torch.equal(graph.energies.grad, alone.grad)


def test_callers_on_many_threads_at_once(two_threads):
    graphs = lattices(8)
    wanted = total(graphs)
    found: list[float] = []
    callers = [threading.Thread(target=lambda: found.append(total(graphs))) for _ in range(6)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert found == [wanted] * 6


def _answer(results) -> None:
    results.put(total(lattices(8)))


def test_a_forked_child_has_a_pool_of_its_own(two_threads):
    wanted = total(lattices(8))  # the parent's pool is in use before the fork
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    child = context.Process(target=_answer, args=(results,))
    child.start()
    assert results.get(timeout=60) == wanted
    child.join(timeout=60)
    assert child.exitcode == 0
