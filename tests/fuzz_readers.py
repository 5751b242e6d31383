"""Feeds every reader of files with mutated ones, guided by the branches they reach; run by hand:

    pip install atheris          # a wheel for Python 3.11 to 3.13 on Linux
    python -m tests.fuzz_readers --inputs 1000000

A reader must return or raise GraphFormatError that names a byte of the input. On anything else, and where
the memory of the process passes a limit, this ends with the trace and leaves the input in the folder it
names. Each reader runs in a process of its own, from seeds that our writers make, with as many of the inputs
as all others. JSON and ARPA files are changed within their form, too, which few blind changes leave whole.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

try:
    import atheris
except ImportError:
    sys.exit("atheris is needed: pip install atheris")

# numba does not compile what atheris has instrumented.
_KERNELS = [f"gtn_ebm.kernels.{file.stem}" for file in Path("gtn_ebm/kernels").glob("*.py")]

with atheris.instrument_imports(include=["gtn_ebm"], exclude=_KERNELS):
    from tests.io.samples import READERS, names_a_byte, refusal

LONGEST_INPUT = 4096
MEMORY_MB = 1500


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
        refused = refusal(read, data)
        assert refused is None or names_a_byte(refused, data), refused

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
