"""Boundaries beside an enumeration of all ways to divide frames, and laws of theirs."""

from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gtn_ebm.dense import Span
from recipes.speech_alignment import boundaries as module
from recipes.speech_alignment import features
from recipes.speech_alignment.acoustic_model import STATES, AcousticModel
from recipes.speech_alignment.boundaries import SOFTNESS, boundaries
from tests.recipes.speech_alignment.tones import RATE, chord

MODEL = AcousticModel(["a", "b"], RATE)


def even(units: int, frames: int) -> list[Span]:
    """Spans of equal length, of what is of no account here."""
    edges = np.linspace(0, frames, units + 1).round().astype(int).tolist()
    return [Span(unit, start, end, 0.0, 1.0) for unit, (start, end) in enumerate(pairwise(edges))]


@pytest.mark.parametrize("seed", range(8))
def test_they_are_expected_over_all_divisions(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    units, frames = [[0, 1], [1, 1], [2, 0], [3, 0, 1]][seed % 4], 10
    emissions = 3 * torch.randn(frames, MODEL.classes + STATES, generator=random)
    change = torch.rand(frames, generator=random) + 0.1
    MODEL.stay.copy_(0.6 + 0.3 * torch.rand(MODEL.classes, generator=random))
    stay = torch.cat([MODEL.stay, torch.full((STATES,), 0.95)])
    classes = [STATES * unit + state for unit in units for state in range(STATES)]
    weights = np.zeros((len(units), frames))
    for edges in combinations(range(1, frames), len(classes) - 1):
        energy = 0.0
        for one, (start, end) in zip(classes, pairwise([0, *edges, frames]), strict=True):
            energy += SOFTNESS * float(emissions[start:end, one].sum())
            energy -= (end - start - 1) * float(stay[one].log()) + float((1 - stay[one]).log())
        for place, frame in enumerate(edges[STATES - 1 :: STATES], 1):
            weights[place, frame] += np.exp(-energy)
    weights *= change.numpy()
    expected = weights[1:] @ np.arange(frames) / weights[1:].sum(1)
    found, probable = boundaries(MODEL, emissions, change, even(len(units), frames), units)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert ((probable >= 0) & (probable <= 1 + 1e-6)).all()


def test_a_few_at_a_time_they_are_what_they_are_together(monkeypatch: pytest.MonkeyPatch) -> None:
    random = torch.Generator().manual_seed(0)
    units = torch.randint(0, 3, (60,), generator=random).tolist()
    spans = even(len(units), 60 * 12)
    emissions = 2 * torch.rand(60 * 12, MODEL.classes + STATES, generator=random)
    for unit, span in zip(units, spans, strict=True):
        emissions[span.start : span.end, STATES * unit : STATES * unit + STATES] -= 3.0
    change = torch.rand(len(emissions), generator=random) + 0.1
    apart, probable = boundaries(MODEL, emissions, change, spans, units)
    monkeypatch.setattr(module, "TOGETHER", len(units))
    together, probable_too = boundaries(MODEL, emissions, change, spans, units)
    np.testing.assert_allclose(apart, together, atol=0.05)
    np.testing.assert_allclose(probable, probable_too, atol=0.01)


@given(st.lists(st.floats(0, 30), max_size=12))
def test_a_frame_is_between_any_two(times: list[float]) -> None:
    moved = module._apart(np.array(times), 30)
    edges = np.concatenate([[0.0], moved, [30.0]])
    assert (np.diff(edges) >= 1 - 1e-9).all()
    np.testing.assert_allclose(module._apart(moved, 30), moved)


def test_a_sound_changes_where_another_begins() -> None:
    random = np.random.default_rng(0)
    samples = np.concatenate([chord("a", 0.3, random), chord("i", 0.3, random)])
    change = features.change(torch.from_numpy(samples), RATE)
    assert len(change) == len(features.seen(torch.from_numpy(samples), RATE)) == 120
    assert int(change[10:110].argmax()) + 10 == pytest.approx(60, abs=1)
    still = features.change(torch.zeros(4000), RATE)
    torch.testing.assert_close(still, torch.full((100,), features.LEAST_CHANGE))


def test_what_is_seen_does_not_depend_on_loudness() -> None:
    random = torch.Generator().manual_seed(0)
    samples = 0.1 * torch.randn(RATE, generator=random) * torch.linspace(0, 1, RATE).square()
    torch.testing.assert_close(
        features.seen(samples, RATE), features.seen(3 * samples, RATE), atol=1e-2, rtol=0
    )
