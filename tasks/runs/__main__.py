"""`python -m tasks.runs`: the runs, and the way back to an earlier one."""

import argparse
import sys
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table

from tasks.codes.errors import AutoencoderError
from tasks.core.storage import artifacts_folder
from tasks.runs.journal import superseded_at
from tasks.runs.manifest import Manifest, find_run, find_runs, published_link
from tasks.runs.publication import publish

LEAST_PREFIX = 8
"""Letters of a run's name that are shown, as Git does with its commits."""
TIME = "%Y-%m-%d %H:%M"


def main(arguments: list[str]) -> int:
    """List the runs or publish one; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tasks.runs")
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
            Console().print(*list_runs(root))
        else:
            manifest = publish(find_run(options.run, root).run, root, options.anyway)
            print(f"{published_link(manifest.dataset.name, root)} is now run {manifest.run}")
    except AutoencoderError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def list_runs(root: Path) -> list[Table]:
    """A table of each dataset's runs, oldest first, no wider than 80 columns."""
    runs = find_runs(root)
    length = _prefix_length([run.run for run in runs])
    tables: dict[str, Table] = {}
    for run in runs:
        table = tables.setdefault(run.dataset.name, _empty_table(run.dataset.name, length))
        losses = (f"{name} {found.validation_loss:.4f}" for name, found in run.metrics.items())
        table.add_row(
            run.run[:length],
            f"{run.finished:{TIME}}",
            run.verdict.outcome,
            "\n".join(losses),
            _state(run, root),
        )
    return list(tables.values())


def _empty_table(dataset: str, length: int) -> Table:
    return Table(
        Column("run", min_width=length, no_wrap=True),  # whole, to be copied
        Column("finished (UTC)", min_width=16, no_wrap=True),
        Column("verdict", min_width=10),
        Column("losses", justify="right", min_width=14),
        Column("state", min_width=16),
        box=SIMPLE_HEAD,
        title=dataset,
        title_justify="left",
    )


def _prefix_length(names: list[str]) -> int:
    """How many letters tell all names apart, `LEAST_PREFIX` at least."""
    longest = max(map(len, names), default=0)
    lengths = range(LEAST_PREFIX, longest)
    return next((n for n in lengths if len({name[:n] for name in names}) == len(names)), longest)


def _state(run: Manifest, root: Path) -> str:
    dataset = run.dataset.name
    if published_link(dataset, root).resolve().name == run.run:
        return "published"
    superseded = superseded_at(run.run, dataset, root)
    return f"superseded\n{superseded:{TIME}}" if superseded else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
