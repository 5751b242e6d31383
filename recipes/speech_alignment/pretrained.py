"""Alignment by the letters of a pretrained network, or of any matrix of its scores, without training.

The networks are torchaudio's (``MMS_FA``, ``WAV2VEC2_ASR_BASE_960H`` and their like). torchaudio is imported
when one is asked for, and nothing else here needs it.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gtn_ebm import DataError, Graph, GraphBuilder, GraphError, Symbols, compose
from gtn_ebm.dense import forced_align, topologies
from recipes.speech_alignment.intervals import FileAlignment, Interval
from recipes.speech_alignment.readings import readings

BLANKS = ("-", "<blank>", "[PAD]", "<pad>", "blank", "ε")
"""What token lists call the blank of connectionist temporal classification."""

SEPARATORS = ("|", " ", "▁")
"""What they call the token between words."""

CHUNK, CONTEXT = 30.0, 2.0
"""Seconds that a network hears at once, and of them those on either side that are heard again."""

LONGEST_WORD = 3.0
LEAST_CONFIDENCE = 0.1
"""Words beyond these are flagged."""


class Emissions(NamedTuple):
    """What a network says of a recording.

    Attributes:
        energies: −log p, [T, C].
        tokens: the names of the C classes; one is a blank, one may be a separator of words.
        seconds: from one frame to the next.
    """

    energies: Tensor
    tokens: tuple[str, ...]
    seconds: float


class Network:
    """A network of ``torchaudio.pipelines`` and its weights.

    Args:
        name: such as "MMS_FA" or "WAV2VEC2_ASR_BASE_960H".
        weights: a file of them; where omitted torch's cache, or else a download into it.

    Raises:
        DataError: torchaudio is not there, does not have it, or the weights are not to be had or do not fit.
    """

    def __init__(self, name: str, weights: Path | None = None):
        pipelines = _pipelines()
        bundle = getattr(pipelines, name, None)
        if not isinstance(bundle, pipelines.Wav2Vec2ASRBundle):
            known = [each for each in dir(pipelines) if _is_bundle(pipelines, each)]
            raise DataError(f"torchaudio has no network {name!r} for alignment; known are {', '.join(known)}")
        self._load(name, bundle, weights)

    @classmethod
    def of_bundle(cls, bundle: Any, weights: Path | None = None) -> Network:
        """Of one's own ``Wav2Vec2ASRBundle``."""
        network = cls.__new__(cls)
        network._load(type(bundle).__name__, bundle, weights)
        return network

    def _load(self, name: str, bundle: Any, weights: Path | None) -> None:
        place: dict[str, Any] = {"weights_only": True}
        if weights is not None:
            if not weights.is_file():
                raise DataError(f"{weights}: there is no such file of weights")
            place |= {"model_dir": str(weights.parent), "file_name": weights.name}
        aligns = hasattr(bundle, "get_aligner")  # its last class would be a star, which is none of the tokens
        try:
            self._model = bundle.get_model(**({"with_star": False} if aligns else {}), dl_kwargs=place).eval()
        except OSError as error:
            raise DataError(
                f"{name}: its weights are not on disk and cannot be downloaded ({error}); "
                f"put them into {torch.hub.get_dir()}/checkpoints or name their file"
            ) from error
        except Exception as error:  # whatever a file of something else makes of torch's unpickler
            where = weights or f"{name}'s weights in {torch.hub.get_dir()}/checkpoints"
            raise DataError(f"{where}: do not fit the network {name}: {str(error)[:300]}") from error
        self.tokens = tuple(bundle.get_labels(**({"star": None} if aligns else {})))
        self.rate = int(bundle.sample_rate)
        self.stride = _stride(self._model)

    @torch.inference_mode()
    def emissions(self, samples: NDArray[np.float32]) -> Emissions:
        """Of a recording [N] at ``rate``, however long, in memory for CHUNK seconds."""
        if len(samples) < 2 * self.stride:
            raise DataError(f"the recording of {len(samples) / self.rate:.3f} s is too short for the network")
        context = round(CONTEXT * self.rate / self.stride)
        step = round(CHUNK * self.rate / self.stride) - 2 * context
        frames = len(samples) // self.stride
        parts = []
        for begin in range(0, frames, step):
            first = max(0, begin - context)
            heard = samples[first * self.stride : (begin + step + context) * self.stride]
            scores = self._model(torch.from_numpy(np.ascontiguousarray(heard))[None])[0][0]
            parts.append(scores[begin - first :][:step].float())
        return Emissions(-torch.cat(parts).log_softmax(-1), self.tokens, self.stride / self.rate)


def _pipelines() -> Any:
    try:
        from torchaudio import pipelines
    except (ImportError, OSError) as error:
        raise DataError(
            f"torchaudio does not import ({str(error).splitlines()[0]}); pip install 'gtn-ebm[pretrained]', "
            "with a torch from the package index, 2.11 to 2.14, beside it"
        ) from error
    return pipelines


def _is_bundle(pipelines: Any, name: str) -> bool:
    return isinstance(getattr(pipelines, name), pipelines.Wav2Vec2ASRBundle)


def _stride(model: Any) -> int:
    """Samples from one frame to the next."""
    convolutions = (module for module in model.modules() if isinstance(module, torch.nn.Conv1d))
    return math.prod(convolution.stride[0] for convolution in convolutions)


def read_emissions(path: Path, tokens: Path, duration: float) -> Emissions:
    """Scores kept as a matrix, in any scale of which softmax makes probabilities.

    Args:
        path: ``.npy`` or ``.pt``, [T, C] floating.
        tokens: text of a token a line, C of them.
        duration: of the recording, in seconds.

    Raises:
        DataError: something cannot be read, or does not fit.
    """
    try:
        if path.suffix == ".pt":
            scores = torch.load(path, map_location="cpu", weights_only=True)
        else:
            scores = torch.from_numpy(np.load(path, allow_pickle=False))
        names = tokens.read_text(encoding="utf-8-sig").splitlines()
    except Exception as error:  # whatever the readers of torch and numpy make of another file
        raise DataError(f"{path}, with its tokens {tokens}: cannot be read: {str(error)[:200]}") from error
    if not isinstance(scores, Tensor) or scores.ndim != 2 or not scores.dtype.is_floating_point:
        raise DataError(f"{path}: holds no floating matrix of frames × tokens")
    if scores.shape[1] != len(names):
        raise DataError(f"{path}: has {scores.shape[1]} columns for {len(names)} tokens in {tokens}")
    if not len(scores) or not scores.isfinite().all():
        raise DataError(f"{path}: has no frames, or scores that are not finite")
    return Emissions(-scores.double().log_softmax(-1), tuple(names), duration / len(scores))


def align(emissions: Emissions, text: str, name: str, duration: float) -> FileAlignment:
    """The times of the words of a text; numbers and abbreviations in the reading that fits best.

    The confidence of a word is the geometric mean of its letters' probabilities over their frames. The phones
    are the letters.

    Raises:
        DataError: the text is empty, has a word without a token for any of its letters, or is too long.
    """
    tokens = Symbols(emissions.tokens)
    blank = next((tokens.label(each) for each in BLANKS if each in tokens), 0)
    words = text.split()
    graph, owners = _text_graph([_spellings(word, tokens, blank) for word in words])
    alignments = compose(topologies.correct_ctc(len(tokens), blank).to(torch.float64), graph)
    try:
        (found,) = forced_align(_without_separator(emissions, blank)[None], None, alignments, blank)
    except GraphError as error:
        raise DataError(f"{name}: the text does not fit into its {duration:.1f} s: {error}") from error
    spans = [(owners[span.label], span) for span in found.spans]
    letters = [
        (owner, _interval(tokens.name(int(found.labels[span.start])), [span], emissions.seconds))
        for owner, span in spans
    ]
    spoken = [
        _flagged(_interval(word, [span for owner, span in spans if owner == k], emissions.seconds))
        for k, word in _between(words, {owner for owner, _ in spans})
    ]
    return FileAlignment(name, duration, tuple(spoken), tuple(letter for _, letter in letters))


def _between(words: Sequence[str], owners: set[int]) -> Iterator[tuple[int, str]]:
    """The words that are spoken, which marks alone are not."""
    return ((k, word) for k, word in enumerate(words) if k in owners)


def _interval(label: str, spans: Sequence[Any], seconds: float) -> Interval:
    frames = sum(span.end - span.start for span in spans)
    sure = math.exp(-max(0.0, sum(span.energy for span in spans)) / frames)
    return Interval(spans[0].start * seconds, spans[-1].end * seconds, label, sure)


def _flagged(word: Interval) -> Interval:
    flags = []
    if word.end - word.start > LONGEST_WORD:
        flags.append("too long")
    if word.confidence < LEAST_CONFIDENCE:
        flags.append("low confidence")
    return Interval(word.start, word.end, word.label, word.confidence, tuple(flags))


def _without_separator(emissions: Emissions, blank: int) -> Tensor:
    """The energies [T, C] in float64, a blank being a separator, too: so a text in one reading is a chain of
    letters and blanks, with which hours of frames are quickly aligned."""
    energies = emissions.energies.double().clone()
    columns = [blank, *(k for k, token in enumerate(emissions.tokens) if token in SEPARATORS)]
    energies[:, blank] = -energies[:, columns].neg().logsumexp(1)
    return energies


def _text_graph(ways: Sequence[Sequence[Sequence[int]]]) -> tuple[Graph, list[int]]:
    """Reads the tokens of each word in any of its spellings; writes numbers, of which the list says to which
    word each belongs."""
    if not any(ways):
        raise DataError("the text is empty, or has nothing in it that is spoken")
    last = max(k for k, spellings in enumerate(ways) if spellings)
    build, owners = GraphBuilder(torch.float64), list[int]()
    here = build.state(initial=0.0)
    for k, spellings in enumerate(ways):
        if spellings:
            end = build.state(final=0.0 if k == last else math.inf)
            for letters in spellings:
                states = [here, *(build.state() for _ in letters[1:]), end]
                for place, token in enumerate(letters):
                    build.arc(states[place], states[place + 1], token, len(owners))
                    owners.append(k)
            here = end
    return build.graph(), owners


def _spellings(word: str, tokens: Symbols, blank: int) -> list[list[int]]:
    """The tokens of each reading of a word, each once; none for what is not spoken."""
    said = readings(word)
    found = [spelt for reading in said if (spelt := _spelt("".join(reading), tokens, blank))]
    if said and not found:
        raise DataError(f"the word {word!r} has letters that the network does not know: {' '.join(tokens)}")
    return [list(each) for each in dict.fromkeys(map(tuple, found))]


def _spelt(text: str, tokens: Symbols, blank: int) -> list[int]:
    """In capitals or not, as the tokens are, without marks and accents that they lack; none where they lack a
    letter."""
    spelt: list[int] = []
    for letter in text:
        cases = (letter, letter.upper())
        bare = (unicodedata.normalize("NFD", each)[0] for each in cases)
        known = [tokens.label(each) for each in (*cases, *bare) if each in tokens]
        if known and known[0] != blank:
            spelt.append(known[0])
        elif letter.isalnum():
            return []
    return spelt
