"""`python -m tasks.codes FILE`: what a codes file holds, for people and scripts."""

import argparse
import sys
from pathlib import Path

import h5py
from rich.console import Console
from rich.table import Column, Table

from tasks.codes.contract import provenance_of
from tasks.codes.reader import open_codes
from tasks.core.errors import StepError
from tasks.evaluation.metrics import live_units
from tasks.runs.manifest import MANIFEST_FILE, check_file, read_manifest


def main(arguments: list[str]) -> int:
    """Show or verify a codes file; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tasks.codes", description="Show what a codes file holds."
    )
    parser.add_argument("file", type=Path)
    parser.add_argument(
        "--verify",
        action="store_true",
        help="only check the file against the contract, and against its run's manifest if it "
        "stands in a run folder; exit code 1 if anything is wrong",
    )
    options = parser.parse_args(arguments)
    try:
        if options.verify:
            _check_in_run(options.file)
        with open_codes(options.file) as file:
            if options.verify:
                print(f"{options.file} is sound")
            else:
                _show(file)
    except StepError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _check_in_run(path: Path) -> None:
    folder = path.absolute().parent.parent
    if (folder / MANIFEST_FILE).exists():
        check_file(folder, read_manifest(folder), f"{path.parent.name}/{path.name}")


def _show(file: h5py.File) -> None:
    console = Console()
    split, models = provenance_of(file)
    facts = Table("attribute", Column("value", overflow="fold"), title="File")
    for name, value in split.model_dump().items():
        facts.add_row(name, str(value))
    console.print(facts)
    for name, provenance in models.items():
        table = Table("attribute", Column("value", overflow="fold"), title=f"Model {name}")
        for attribute, value in provenance.model_dump().items():
            table.add_row(attribute, str(value))
        console.print(table)
    console.print(_statistics(file, split.models))


def _statistics(file: h5py.File, models: tuple[str, ...]) -> Table:
    columns = ("model", "codes", "live units", "zeros", "mean", "largest", "mean squared error")
    table = Table(*columns, title="Statistics")
    for model in models:
        codes = file[f"{model}/codes"][...]
        table.add_row(
            model,
            " x ".join(map(str, codes.shape)),
            str(live_units(codes).sum()),
            f"{(codes == 0).mean():.1%}",
            f"{codes.mean():.3f}",
            f"{codes.max():.3f}",
            f"{file[f'{model}/reconstruction_mse'][...].mean():.5f}",
        )
    return table


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
