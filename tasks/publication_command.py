"""`python -m tasks.publication`: the runs, and the way back to an earlier one."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from tasks.errors import StepError
from tasks.journal import superseded_at
from tasks.manifests import Manifest, find_run, find_runs, published_link
from tasks.storage import artifacts_folder

Publish = Callable[[str, Path, bool], Manifest]


def main(arguments: list[str], publish: Publish) -> int:
    """List the runs or publish one; return the exit code.

    Args:
        publish: that of `tasks.publication`, which is the command's name.
    """
    parser = argparse.ArgumentParser(prog="python -m tasks.publication")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="every run with its verdict and losses, newest last")
    publishing = commands.add_parser("publish", help="verify a run, then publish it")
    publishing.add_argument("run", help="a name that `list` shows, or the start of one")
    publishing.add_argument(
        "--anyway", action="store_true", help="even a run that was refused, or a quick look"
    )
    options = parser.parse_args(arguments)
    root = artifacts_folder()
    try:
        if options.command == "list":
            Console().print(list_runs(root))
        else:
            manifest = publish(find_run(options.run, root).run, root, options.anyway)
            print(f"{published_link(manifest.dataset.name, root)} is now run {manifest.run}")
    except StepError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def list_runs(root: Path) -> Table:
    """Every run, oldest first."""
    table = Table(
        Column("run", min_width=36),  # whole, to be copied
        "dataset",
        "finished",
        "verdict",
        Column("validation losses", justify="right"),
        "state",
    )
    for run in find_runs(root):
        losses = (f"{name} {found.validation_loss:.4f}" for name, found in run.metrics.items())
        table.add_row(
            run.run,
            run.dataset.name,
            f"{run.finished:%Y-%m-%d %H:%M} UTC",
            run.verdict.outcome,
            "\n".join(losses),
            _state(run, root),
        )
    return table


def _state(run: Manifest, root: Path) -> str:
    dataset = run.dataset.name
    if published_link(dataset, root).resolve().name == run.run:
        return "published"
    superseded = superseded_at(run.run, dataset, root)
    return f"superseded {superseded:%Y-%m-%d %H:%M}" if superseded else ""
