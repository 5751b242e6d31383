"""`python -m benchmarks NAME [options]`: one benchmark beside its peers; without a name, all of these."""

import typer

from benchmarks import (
    alignment,
    best_paths,
    compose,
    crf,
    ctc,
    decoding,
    digits,
    free_energy,
    gtn,
    lexicon,
    long_speech,
    robustness,
    speech,
    transducer,
)

app = typer.Typer(add_completion=False, help=__doc__)
BENCHMARKS = {
    "compose": compose.main,
    "free-energy": free_energy.main,
    "best-paths": best_paths.main,
    "lexicon": lexicon.main,
    "crf": crf.main,
    "ctc": ctc.main,
    "gtn": gtn.main,
    "transducer": transducer.main,
    "alignment": alignment.main,
    "decoding": decoding.main,
    "speech": speech.main,
    "long-speech": long_speech.main,
    "digits": digits.main,
    "robustness": robustness.main,
}
for name, main in BENCHMARKS.items():
    app.command(name)(main)


@app.callback(invoke_without_command=True)
def every(context: typer.Context) -> None:
    """Runs every benchmark with its defaults where none is named."""
    if context.invoked_subcommand is None:
        for main in BENCHMARKS.values():
            main()


if __name__ == "__main__":
    app()
