"""Alignment by the letters of a pretrained network, or of any matrix of its scores, without training.

The networks are torchaudio's (``MMS_FA``, ``WAV2VEC2_ASR_BASE_960H`` and their like). torchaudio is imported
when one is asked for, and nothing else here needs it.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gtn_ebm import DataError, Symbols, compose
from gtn_ebm.dense import forced_align, topologies
from recipes.speech_alignment.audio import Passing
from recipes.speech_alignment.flags import Limits, as_alignment, check_fits
from recipes.speech_alignment.intervals import FileAlignment
from recipes.speech_alignment.lexicon import Lexicon, Pronunciation
from recipes.speech_alignment.pieces import Piece, Sounding, pieces_of
from recipes.speech_alignment.transcript import SILENCE, STAR, Prices, Token, Word, transcript, words_of
from recipes.speech_alignment.windows import in_windows

BLANKS = ("<blank>", "[PAD]", "<pad>", "blank", "ε", "-")
"""What token lists call the blank of connectionist temporal classification; "-" is a letter where there is
another of these."""

SEPARATORS = ("|", " ", "▁")
"""What they call the token between words."""

CHUNK, CONTEXT = 30.0, 2.0
"""Seconds that a network hears at once, and of them those on either side that are heard again."""

LIMITS = Limits(word=3.0, phone=0.0, confidence=0.1, misfit=math.inf)

PRICES = Prices(silence=0.0, inserted=6.5, wrong=6.5, skipped=6.5, repeated=6.5)
"""Of what a text does not say, in nats: a letter or two that the network is sure are others."""

STAR_PRICE = 0.5
"""Of each frame that is any sound."""


class Emissions(NamedTuple):
    """What a network says of a recording.

    Attributes:
        energies: −log p, [T, C]; +inf where p is 0, but not of all tokens of a frame.
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
    """Scores kept as a matrix, in any scale of which softmax makes probabilities; −inf, the logarithm of 0,
    is of a token that is impossible.

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
    if not len(scores):
        raise DataError(f"{path}: has no frames")
    amiss = scores.isnan() | scores.isposinf()
    if amiss.any():
        frame, token = amiss.nonzero()[0].tolist()
        raise DataError(f"{path}: the score of token {token} in frame {frame} is {scores[frame, token]}")
    impossible = scores.isneginf().all(1)
    if impossible.any():
        raise DataError(f"{path}: the scores of frame {int(impossible.nonzero()[0])} are −inf for all tokens")
    return Emissions(-scores.double().log_softmax(-1), tuple(names), duration / len(scores))


def align(emissions: Emissions, text: str, name: str, duration: float) -> FileAlignment:
    """The times of the words of a text, in any of its readings, and what the text does not say: a graph of
    what may have been said (see ``transcript``), over letters, which are the phones here.

    A star takes any frames, each at the energy of its likeliest token and STAR_PRICE. The confidence of a
    word is the geometric mean of its letters' probabilities over their frames.

    Raises:
        DataError: the text is empty, has no word that the network has letters for, or does not fit.
    """
    tokens = Symbols(emissions.tokens)
    blank = next((tokens.label(each) for each in BLANKS if each in tokens), 0)
    words = words_of(text, alphabet(tokens, blank))
    check_fits(words, duration)
    look = partial(_look, (*emissions.tokens, STAR), blank, emissions.seconds)
    energies = Passing([_with_star(emissions, blank)])
    pieces = in_windows(energies, 1 / emissions.seconds, words, look)
    return as_alignment(name, duration, words, pieces, LIMITS)


def alphabet(tokens: Symbols, blank: int) -> Lexicon:
    """A lexicon in which the phones of words are the tokens that spell them."""
    letters = {letter: [spelt] for letter in tokens if (spelt := _spelt(letter, tokens, blank))}
    if not letters:
        raise DataError(f"none of the tokens is a letter: {' '.join(tokens)}")

    def spellings(word: str) -> list[Pronunciation]:
        spelt = _spelt(word, tokens, blank)
        return [spelt] if spelt else []

    return Lexicon(letters, spellings)


def _spelt(text: str, tokens: Symbols, blank: int) -> Pronunciation:
    """In capitals or not, as the tokens are, without marks and accents that they lack; none where they lack a
    letter."""
    spelt: list[str] = []
    for letter in text:
        cases = (letter, letter.upper())
        bare = (unicodedata.normalize("NFD", each)[0] for each in cases)
        known = [each for each in (*cases, *bare) if each in tokens and each not in (*SEPARATORS, STAR)]
        if known and tokens.label(known[0]) != blank:
            spelt.append(known[0])
        elif letter.isalnum():
            return ()
    return tuple(spelt)


def _with_star(emissions: Emissions, blank: int) -> NDArray[np.float32]:
    """Energies [T, C + 1]: the blank is a separator of words, too, and the last column a star."""
    energies = emissions.energies.clone()
    columns = [blank, *(k for k, token in enumerate(emissions.tokens) if token in SEPARATORS)]
    energies[:, blank] = -energies[:, columns].neg().logsumexp(1)
    star = energies.amin(1, keepdim=True) + STAR_PRICE
    found: NDArray[np.float32] = torch.cat([energies, star], 1).float().numpy()
    return found


def _look(
    units: Sequence[str],
    blank: int,
    seconds: float,
    energies: NDArray[np.float32],
    words: Sequence[Word],
    *,
    open_start: bool,
    open_end: bool,
) -> list[Piece]:
    """The best path through frames; what neither a word nor a star takes is silence."""
    given = transcript(words, units, PRICES, (), open_end, open_start)
    graph = compose(topologies.correct_ctc(len(units), blank), given.graph)
    (found,) = forced_align(torch.from_numpy(energies)[None], None, [graph], blank)
    spoken: list[Sounding] = []
    for span in found.spans:
        token, paid = given.tokens[span.label], energies[span.start : span.end]
        if token.unit == STAR:
            sure = 1.0 - float(np.exp(-paid[:, blank]).mean())
        else:
            sure = math.exp(-float(paid[:, units.index(token.unit)].mean()))
        frames = span.end - span.start
        spoken.append(Sounding(token, span.start * seconds, span.end * seconds, frames, min(sure, 1.0)))
    pieces, end = pieces_of(spoken), len(energies) * seconds
    if not pieces:
        return _silence(0.0, end, 0)
    return [*_silence(0.0, pieces[0].start, 0), *pieces, *_silence(pieces[-1].end, end, len(words))]


def _silence(start: float, end: float, word: int) -> list[Piece]:
    """Around what is spoken, so that the pieces go from end to end."""
    token = Token("silence", word, SILENCE)
    return [Piece("silence", word, [Sounding(token, start, end, 1, 1.0)])] if end > start else []
