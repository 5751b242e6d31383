"""Feeds every reader of files with mutated ones, guided by the branches they reach; run by hand:

    pip install atheris          # a wheel for Python 3.11 to 3.13 on Linux
    python -m tests.fuzz_readers --inputs 1000000

A reader must return or raise GraphFormatError. On anything else, and where the memory of the process passes a
limit, this ends with the trace and leaves the input in the folder it names. Each reader runs in a process of
its own, from seeds that our writers make, with as many of the inputs as all others.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

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
    atheris.Setup([sys.argv[0], *options, crashes, "-print_final_stats=1", str(corpus)], one_input)
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
