"""`python -m benchmarks NAME [options]`: one benchmark beside its peers; without a name, all of these."""

import typer

from benchmarks import compose, free_energy

app = typer.Typer(add_completion=False, help=__doc__)
app.command("compose")(compose.main)
app.command("free-energy")(free_energy.main)


@app.callback(invoke_without_command=True)
def every(context: typer.Context) -> None:
    """Runs every benchmark with its defaults where none is named."""
    if context.invoked_subcommand is None:
        compose.main()
        free_energy.main()


if __name__ == "__main__":
    app()
