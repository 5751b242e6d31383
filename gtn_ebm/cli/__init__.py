"""The command ``gtn-ebm``: operations on graphs in files and pipes.

Exit codes: 0, also where the answer to a question is yes; 1 where it is no; 2 for an error, which is one line
on standard error; 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import NoReturn

from gtn_ebm.cli.advice import in_options
from gtn_ebm.cli.commands import COMMANDS, Command
from gtn_ebm.cli.files import FORMATS, Files
from gtn_ebm.cli.options import Option
from gtn_ebm.errors import GtnEbmError

_PROGRAM = "gtn-ebm"
_ABOUT = """Graph transformer networks: operations on weighted finite-state graphs.

  gtn-ebm fst --help              the operations
  gtn-ebm fst COMMAND --help      one of them, with an example"""
_ABOUT_FST = """Operations on weighted finite-state graphs, named as OpenFst's programs are.

Files are in OpenFst's binary form unless --from and --to say otherwise; - (or nothing) is standard input or
output, so that commands can be joined by pipes, with each other and with OpenFst's own programs:

  gtn-ebm fst compile words.txt | gtn-ebm fst determinize | gtn-ebm fst minimize | gtn-ebm fst print"""
_INTERRUPTED, _BROKEN_PIPE = 130, 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command with these arguments (the program's own where omitted) and returns its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    options, unknown = _parser().parse_known_args([_underscored(argument) for argument in given])
    command: Command = options.command
    if unknown:
        options.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    if command.needs and all(getattr(options, name) is None for name in command.needs):
        options.parser.error(f"give {' or '.join(f'--{name}' for name in command.needs)}")
    try:
        return _answer(command, options)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has enough; nothing is flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except (GtnEbmError, OSError, MemoryError) as error:
        reason = _reason(error)
        print(f"{_PROGRAM}: {' '.join(reason.split())}", file=sys.stderr)
        return 2


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return in_options(str(error)) or "not enough memory"


def _underscored(argument: str) -> str:
    """Option names have _ as OpenFst's, but - is taken, too."""
    name, equals, value = argument.partition("=")
    return "--" + name[2:].replace("-", "_") + equals + value if name.startswith("--") else argument


def _answer(command: Command, options: argparse.Namespace) -> int:
    files = Files(options)
    answer = command.run(files, options)
    if isinstance(answer, bool):
        print("yes" if answer else "no", flush=True)
        return 0 if answer else 1
    files.write(answer)
    return 0


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


class _Version(argparse.Action):
    """Tells which version is installed."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(_PROGRAM, version(_PROGRAM))
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    parser = _Parser(prog=_PROGRAM, description=_ABOUT, formatter_class=form)
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    rooms = parser.add_subparsers(required=True, metavar="fst", title="commands")
    fst = rooms.add_parser(
        "fst", description=_ABOUT_FST, formatter_class=form, help="operations on graphs in files and pipes"
    )
    commands = fst.add_subparsers(required=True, metavar="COMMAND", title="commands")
    for name, command in COMMANDS.items():
        summary = command.about.splitlines()[0]
        added = commands.add_parser(
            name,
            help=summary[0].lower() + summary[1:].rstrip("."),
            description=command.about,
            epilog=f"example:\n  {_PROGRAM} fst {command.example}",
            formatter_class=form,
        )
        _add_arguments(added, command)
    return parser


def _add_arguments(parser: argparse.ArgumentParser, command: Command) -> None:
    parser.set_defaults(command=command, parser=parser)
    for operand in command.operands:
        operand.add_to(parser)
    for option in (*command.options, *_FILE_OPTIONS):
        option.add_to(parser)


_FILE_OPTIONS = (
    Option("-o", "--output", metavar="FILE", default="-", help="where to write (standard output)"),
    Option("--from", dest="source", choices=FORMATS, default="openfst", help="format read (openfst)"),
    Option("--to", dest="target", choices=FORMATS, help="format written (openfst)"),
    Option("--arc_type", choices=("standard", "log", "log64"), help="arcs written to openfst (as read)"),
    Option("--fst_type", choices=("vector", "const"), default="vector", help="openfst's form (vector)"),
)
