"""Beam search with a lexicon and a 3-gram beside flashlight-text and pyctcdecode, in one process and thread.

The emissions are those of real handwriting recognisers (lines and words), the known texts theirs. The
lexicon is all words of the corpora that come with them, and as many made-up words as asked for; the 3-gram is
estimated on the corpora with absolute discounting, and read by each decoder from the same ARPA file. A last
frame that reads a space is put behind each matrix, because flashlight ends a word by its separator only.

The peers need ``pip install flashlight-text pyctcdecode kenlm``; those that do not import are left out.
"""

import importlib
import math
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
import typer
from torch import Tensor

from benchmarks.lexicon import SYLLABLES
from benchmarks.timing import Contestants, Row, compare, show
from gtn_ebm import EPSILON, Graph, compose, determinize, relabel
from gtn_ebm.dense import decode
from gtn_ebm.dense.topologies import correct_ctc
from gtn_ebm.io import Pronunciation, lexicon_graph, read_arpa

SPACE, BACK_OFF = " ", "#0"
DISCOUNT, ORDER = 0.5, 3
BEAM, MAX_ACTIVE = 14.0, 2_000
PEER_BEAM, PEER_WIDTH = 14.0, 100
WORDS = [0, 10_000]
BATCH = 16
"""Copies of a word for one call of ours; the peers take one after the other."""
Decode = Callable[[Tensor], list[str]]
DATA = Path(os.environ.get("GTN_EBM_DATA", "../shared/data"))


class Handwriting(NamedTuple):
    """One image: the energies of its frames, [T, C], the characters of the classes, the blank last, what it
    says, and the corpus that comes with it."""

    name: str
    emissions: Tensor
    characters: str
    text: str
    corpus: str


def read_handwriting(folder: Path) -> list[Handwriting]:
    """The lines and words of ``ctc_emissions``: of its recognisers' raw scores the log softmax."""
    lines = folder / "ctc_emissions/CTCWordBeamSearch/data"
    word = folder / "ctc_emissions/CTCDecoder/data/word"
    bentham = lines / "bentham"
    items = [
        ("IAM line", lines / "iam/mat_0.csv", lines / "iam", _text(lines / "iam/gt_0.txt")),
        ("IAM word", word / "rnnOutput.csv", lines / "iam", "aircraft"),
        *(
            (f"Bentham {k}", bentham / f"mat_{k}.csv", bentham, _text(bentham / f"gt_{k}.txt"))
            for k in range(3)
        ),
    ]
    return [
        Handwriting(
            name, _energies(path), _text(known / "chars.txt"), text.strip(), _text(path.parent / "corpus.txt")
        )
        for name, path, known, text in items
    ]


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _energies(path: Path) -> Tensor:
    scores = np.genfromtxt(path, delimiter=";", dtype=np.float32)
    return -torch.from_numpy(scores[:, ~np.isnan(scores).all(0)]).log_softmax(-1)


def read_sentences(folder: Path) -> list[list[str]]:
    """The corpora, a line a sentence."""
    texts = [
        path.read_text(encoding="utf-8") for path in sorted(folder.glob("ctc_emissions/*/data/*/corpus.txt"))
    ]
    return [line.split() for text in texts for line in text.splitlines() if line.split()]


def made_up(count: int) -> list[str]:
    """Words of two to four syllables."""
    rng = np.random.default_rng(0)
    words: dict[str, None] = {}
    while len(words) < count:
        words["".join(rng.choice(SYLLABLES, rng.integers(2, 5)))] = None
    return list(words)


def write_arpa(path: Path, sentences: list[list[str]], words: list[str]) -> None:
    """Absolute discounting, interpolated with the shorter history; each word once more than it occurs."""
    counts = [Counter[tuple[str, ...]]() for _ in range(ORDER)]
    for sentence in sentences:
        padded = ["<s>", *sentence, "</s>"]
        for length, found in enumerate(counts, 1):
            found.update(zip(*(padded[k:] for k in range(length)), strict=False))
    del counts[0]["<s>",]
    counts[0].update((word,) for word in [*words, "</s>", "<unk>"])
    total = counts[0].total()
    probability = {gram: count / total for gram, count in counts[0].items()}
    weight: dict[tuple[str, ...], float] = {}
    for found in counts[1:]:
        seen, kinds = Counter[tuple[str, ...]](), Counter[tuple[str, ...]]()
        for gram, count in found.items():
            seen[gram[:-1]] += count
            kinds[gram[:-1]] += 1
        weight.update({history: DISCOUNT * kinds[history] / seen[history] for history in seen})
        for gram, count in found.items():
            history = gram[:-1]
            probability[gram] = (count - DISCOUNT) / seen[history] + weight[history] * probability[gram[1:]]
    probability["<s>",] = 0.0
    _write_grams(path, probability, weight)


def _write_grams(
    path: Path, probability: dict[tuple[str, ...], float], weight: dict[tuple[str, ...], float]
) -> None:
    lines = ["\\data\\"]
    by_length = [[gram for gram in probability if len(gram) == length] for length in range(1, ORDER + 1)]
    lines += [f"ngram {length}={len(grams)}" for length, grams in enumerate(by_length, 1)]
    for length, grams in enumerate(by_length, 1):
        lines += ["", f"\\{length}-grams:"]
        for gram in grams:
            log = math.log10(probability[gram]) if probability[gram] else -99.0
            back_off = f"\t{math.log10(weight[gram]):.6f}" if gram in weight else ""
            lines.append(f"{log:.6f}\t{' '.join(gram)}{back_off}")
    path.write_text("\n".join([*lines, "", "\\end\\", ""]), encoding="utf-8")


def decoding_graph(arpa: Path, words: list[str], characters: str) -> Graph:
    """Frames to words: every word is spelled, and followed by a space."""
    spelled = [Pronunciation(word, (*word, SPACE)) for word in words if set(word) <= set(characters)]
    lexicon = lexicon_graph(spelled, loop=BACK_OFF, disambiguate=False)
    assert lexicon.output_symbols is not None
    grammar = read_arpa(arpa, lexicon.output_symbols, back_off=BACK_OFF)
    single = determinize(compose(lexicon, grammar), math.inf)
    letters = {
        label: EPSILON if name == BACK_OFF else characters.index(name)
        for label, name in enumerate(lexicon.input_symbols or [])
    }
    back_off = lexicon.output_symbols.label(BACK_OFF)
    plain = relabel(single, letters, {back_off: EPSILON}).with_symbols(None, lexicon.output_symbols)
    return compose(correct_ctc(len(characters) + 1, len(characters)), plain)


def ours(graph: Graph, emissions: Tensor) -> list[str]:
    """Of each item of emissions [B, T, C]."""
    names = graph.output_symbols
    assert names is not None
    return [
        " ".join(map(names.name, found.path.output_labels)) if found.path else ""
        for found in decode(emissions, None, graph, BEAM, MAX_ACTIVE, blank=emissions.shape[2] - 1)
    ]


def flashlight(arpa: Path, words: list[str], characters: str) -> Callable[[Tensor], str]:
    """flashlight-text's lexicon decoder, its scores those of ours: maxima over alignments, natural
    logarithms."""
    text: Any = importlib.import_module("flashlight.lib.text.decoder")
    model: Any = importlib.import_module("flashlight.lib.text.decoder.kenlm")
    dictionary: Any = importlib.import_module("flashlight.lib.text.dictionary")
    tokens = dictionary.Dictionary([*characters, "<blank>"])
    names = dictionary.Dictionary()
    spelled = [word for word in words if set(word) <= set(characters)]
    for word in [*spelled, "<unk>"]:
        names.add_entry(word)
    language = model.KenLM(str(arpa), names)
    trie = text.Trie(tokens.index_size(), tokens.get_index(SPACE))
    for word in spelled:
        _, score = language.score(language.start(False), names.get_index(word))
        trie.insert([tokens.get_index(c) for c in [*word, SPACE]], names.get_index(word), score)
    trie.smear(text.SmearingMode.MAX)
    options = text.LexiconDecoderOptions(
        beam_size=PEER_WIDTH, beam_size_token=tokens.index_size(), beam_threshold=PEER_BEAM,
        lm_weight=math.log(10), word_score=0.0, unk_score=-math.inf, sil_score=0.0, log_add=False,
        criterion_type=text.CriterionType.CTC,
    )  # fmt: skip
    decoder = text.LexiconDecoder(
        options, trie, language, tokens.get_index(SPACE), tokens.get_index("<blank>"),
        names.get_index("<unk>"), [], False,
    )  # fmt: skip

    def decoded(emissions: Tensor) -> str:
        scores = (-emissions).contiguous()
        best = decoder.decode(scores.data_ptr(), *scores.shape)[0]
        return " ".join(names.get_entry(word) for word in best.words if word >= 0)

    return decoded


def pyctcdecode(arpa: Path, words: list[str], characters: str) -> Callable[[Tensor], str]:
    """pyctcdecode's decoder, which sums over alignments."""
    package: Any = importlib.import_module("pyctcdecode")
    spelled = [word for word in words if set(word) <= set(characters)]
    decoder = package.build_ctcdecoder(
        [*characters, ""], str(arpa), spelled, alpha=math.log(10), beta=0.0, unk_score_offset=-100.0
    )
    return lambda emissions: decoder.decode((-emissions).numpy(), PEER_WIDTH, beam_prune_logp=-PEER_BEAM)


PEERS = {"flashlight-text": flashlight, "pyctcdecode": pyctcdecode}


def with_final_space(item: Handwriting) -> Tensor:
    last = torch.full((1, item.emissions.shape[1]), 30.0)
    last[0, item.characters.index(SPACE)] = 0.0
    return torch.cat([item.emissions, last])


def one_by_one(decoder: Callable[[Tensor], str]) -> Decode:
    return lambda emissions: [decoder(item) for item in emissions]


def contest(item: Handwriting, arpa: Path, words: list[str]) -> dict[str, Decode]:
    graph = decoding_graph(arpa, words, item.characters)
    contestants: dict[str, Decode] = {"gtn_ebm": partial(ours, graph)}
    for name, make in PEERS.items():
        try:
            contestants[name] = one_by_one(make(arpa, words, item.characters))
        except ImportError as error:
            print(f"{name} is left out: {error}")
    return contestants


def edits(first: str, second: str) -> int:
    """Levenshtein's distance."""
    row = list(range(len(second) + 1))
    for k, a in enumerate(first, 1):
        new = [k]
        for (before, above), b in zip(pairwise(row), second, strict=True):
            new.append(min(before + (a != b), above + 1, new[-1] + 1))
        row = new
    return row[-1]


def main(
    words: Annotated[list[int], typer.Option(help="Words made up besides those of the corpora.")] = WORDS,
    runs: Annotated[int, typer.Option(help="Runs of each contestant.")] = 5,
    data: Annotated[Path, typer.Option(help="The folder of real data.")] = DATA,
    json: Annotated[Path | None, typer.Option(help="A file to keep the figures in.")] = None,
) -> None:
    """Beam search with a lexicon and a 3-gram beside flashlight-text and pyctcdecode."""
    torch.set_num_threads(1)
    items, sentences = read_handwriting(data), read_sentences(data)
    known = list(dict.fromkeys(word for sentence in sentences for word in sentence))
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        arpa = Path(folder) / "model.arpa"
        for count in words:
            lexicon = list(dict.fromkeys([*known, *made_up(count)]))
            write_arpa(arpa, [sentence for sentence in sentences if len(sentence) > 1], lexicon)
            for item in items:
                decoders, emissions = contest(item, arpa, lexicon), with_final_space(item)[None]
                for name, answers in ((name, decoder(emissions)) for name, decoder in decoders.items()):
                    wrong = edits(answers[0], item.text)
                    print(f"{item.name}, {len(lexicon)} words, {name}: {answers[0]!r}, {wrong} edits")
                for copies in (1,) if SPACE in item.text else (1, BATCH):
                    batch = emissions.expand(copies, -1, -1)
                    calls: Contestants = {name: partial(decoder, batch) for name, decoder in decoders.items()}
                    title = f"{item.name}, {len(lexicon):,} words" + (
                        f", {copies} times" if copies > 1 else ""
                    )
                    rows += compare(title, copies * emissions.shape[1], calls, runs, time.process_time)
    show("Beam search with a lexicon and a 3-gram (arcs: frames)", rows, json)


if __name__ == "__main__":
    typer.run(main)
