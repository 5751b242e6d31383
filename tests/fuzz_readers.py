"""Feeds every reader of files with mutated ones, guided by the branches they reach; run by hand:

    pip install atheris          # a wheel for Python 3.11 to 3.13 on Linux
    python -m tests.fuzz_readers --inputs 1000000

A reader must return or raise GraphFormatError. On anything else, and where the memory of the process passes a
limit, this ends with the trace and leaves the input in the folder it names. Each reader runs in a process of
its own, from seeds that our writers make, with as many of the inputs as all others. JSON and ARPA files are
changed within their form, too, which few blind changes leave whole.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

try:
    import atheris
except ImportError:
    sys.exit("atheris is needed: pip install atheris")

# numba does not compile what atheris has instrumented.
_KERNELS = [f"gtn_ebm.kernels.{file.stem}" for file in Path("gtn_ebm/kernels").glob("*.py")]

with atheris.instrument_imports(include=["gtn_ebm"], exclude=_KERNELS):
    from gtn_ebm import io as files
    from gtn_ebm.errors import GraphFormatError
    from gtn_ebm.symbols import Symbols
    from tests.io.samples import ARPA, LEXICON, LEXICON_WITH_PROBABILITIES, aligned_const, seed_graphs

LONGEST_INPUT = 4096
MEMORY_MB = 1500


def _written(write: Callable[..., None], *arguments: object) -> list[bytes]:
    found = []
    for graph in seed_graphs():
        file = io.BytesIO()
        write(graph, file, *arguments)
        found.append(file.getvalue())
    return found


def _binary_symbols() -> list[bytes]:
    file = io.BytesIO()
    files.write_binary_symbols(Symbols(["a", "ε̄", "long name"]), file)
    return [file.getvalue()]


READERS: dict[str, tuple[Callable[[BinaryIO], object], Callable[[], list[bytes]]]] = {
    "openfst": (
        files.read_openfst,
        lambda: [
            *_written(files.write_openfst),
            *_written(files.write_openfst, "log64"),
            *_written(files.write_openfst, "standard", "const"),
            *_written(files.write_openfst, "log64", "const"),
            aligned_const(),
        ],
    ),
    "binary_symbols": (files.read_binary_symbols, _binary_symbols),
    "gtn": (files.read_gtn, lambda: _written(files.write_gtn)),
    "gtn_text": (files.read_gtn_text, lambda: _written(files.write_gtn_text)),
    "k2_text": (files.read_k2_text, lambda: _written(files.write_k2_text)),
    "json": (files.read_json, lambda: _written(files.write_json)),
    "text": (files.read_text, lambda: _written(files.write_text)),
    "acceptor_text": (files.read_acceptor_text, lambda: [b"0 1 1 0.5\n1 2 2\n2 1e3\n"]),
    "symbols": (files.read_symbols, lambda: ["<eps> 0\na 1\nß 7\n".encode()]),
    "arpa": (files.read_arpa, lambda: [ARPA.encode()]),
    "arpa_pruned": (lambda file: files.read_arpa(file, threshold=0.1), lambda: [ARPA.encode()]),
    "lexicon": (files.read_lexicon, lambda: [LEXICON.encode()]),
    "lexicon_with_probabilities": (
        files.read_lexicon_with_probabilities,
        lambda: [LEXICON_WITH_PROBABILITIES.encode()],
    ),
}


_JSON_VALUES: list[Any] = [
    *(None, True, 0, -1, 1, 2, 2**31 - 1, 2**31, 2**63, -(10**400), 1e39, -0.0, "", "a", "int64", "bool"),
    *([], {}, [0], {"list": []}, {"float": "nan"}, {"float": []}, {"tuple": [1]}, {"dict": [["a", 1]]}),
    *({"dict": [[[], 0]]}, {"tensor": [True, 1], "dtype": "int8", "shape": [1, 2]}),
]


_ARPA_COLUMNS = [
    *b"-99 0 -0.0 99 1e9 -1e-9 -inf -0.01 <s> </s> <unk> a b".split(),
    b"",
    b"a b",
    b"b a",
    b"a b a",
]


def _mutated_json(data: bytes, most: int, seed: int) -> bytes:
    """With other members and entries in it; bytes changed blindly seldom remain JSON."""
    draw = random.Random(seed)
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return atheris.Mutate(data, most)
    for _ in range(draw.randint(1, 4)):
        places = list(_places(content))
        if not places or draw.random() < 0.2:
            return atheris.Mutate(data, most)
        container, key = draw.choice(places)
        other, other_key = draw.choice(places)
        container[key] = json.loads(json.dumps(draw.choice([draw.choice(_JSON_VALUES), other[other_key]])))
        if draw.random() < 0.2:
            del container[key]
        elif isinstance(container, list) and draw.random() < 0.5:
            container.append(container[key])
    return json.dumps(content).encode()[:most]


def _mutated_arpa(data: bytes, most: int, seed: int) -> bytes:
    """With other columns and lines in it, and the right numbers of n-grams."""
    draw = random.Random(seed)
    lines = data.split(b"\n")
    for _ in range(draw.randint(1, 4)):
        if draw.random() < 0.2:
            return atheris.Mutate(data, most)
        place = draw.randrange(len(lines))
        columns = lines[place].split(b"\t")
        columns[draw.randrange(len(columns))] = draw.choice(_ARPA_COLUMNS)
        lines[place : place + draw.randint(0, 1)] = [b"\t".join(columns)]
    _, *sections = b"\n".join(lines).split(b"-grams:")
    counts = [sum(b"\t" in line for line in section.split(b"\n")) for section in sections]
    head = b"".join(b"ngram %d=%d\n" % (length, count) for length, count in enumerate(counts, start=1))
    return (b"\\data\\\n" + head + b"\\1" + b"-grams:".join([b"", *sections]))[:most]


def _places(content: Any) -> Iterator[tuple[Any, Any]]:
    """Each container inside with each of its keys."""
    if isinstance(content, dict | list):
        for key in content if isinstance(content, dict) else range(len(content)):
            yield content, key
            yield from _places(content[key])


_MUTATORS = {"json": _mutated_json, "arpa": _mutated_arpa, "arpa_pruned": _mutated_arpa}


def _fuzz(name: str, inputs: int, folder: Path) -> None:
    """Never returns: libFuzzer ends the process."""
    read, seeds = READERS[name]
    corpus = folder / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()):
        (corpus / f"seed{number}").write_bytes(seed)

    def one_input(data: bytes) -> None:
        with contextlib.suppress(GraphFormatError):
            read(io.BytesIO(data))

    options = [
        f"-runs={inputs}",
        f"-max_len={LONGEST_INPUT}",
        f"-rss_limit_mb={MEMORY_MB}",
        "-len_control=10",
    ]
    crashes = f"-artifact_prefix={folder / name}-"
    arguments = [sys.argv[0], *options, crashes, "-print_final_stats=1", str(corpus)]
    atheris.Setup(arguments, one_input, custom_mutator=_MUTATORS.get(name))
    atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=1_000_000, help="in all (default: %(default)s)")
    parser.add_argument("--reader", choices=READERS, help="only this one")
    parser.add_argument("--folder", type=Path, help="where inputs are kept; a temporary folder where omitted")
    chosen = parser.parse_args()
    folder = chosen.folder or Path(tempfile.mkdtemp(prefix="fuzz_readers-"))
    if chosen.reader:
        _fuzz(chosen.reader, chosen.inputs, folder)
    each = -(-chosen.inputs // len(READERS))
    failed = []
    for name in READERS:
        print(f"{name}: {each} inputs", flush=True)
        module = [sys.executable, "-m", "tests.fuzz_readers", "--reader", name]
        if subprocess.run([*module, "--inputs", str(each), "--folder", str(folder)], check=False).returncode:
            failed.append(name)
    sys.exit(f"crashes of {', '.join(failed)}: see {folder}" if failed else 0)


if __name__ == "__main__":
    main()
