"""`python -m tasks.runs list|publish RUN|retire RUN`: show all runs, publish or retire one."""

import argparse
import sys
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table

from tasks.codes.errors import AutoencoderError
from tasks.codes.published import ROOT_VARIABLE, artifacts_folder, published_link
from tasks.core.errors import StepError
from tasks.runs.journal import superseded_at
from tasks.runs.lookup import find_run, find_runs, published_run
from tasks.runs.manifest import SHORT_NAME, Manifest
from tasks.runs.publication import publish, retire

TIME = "%Y-%m-%d %H:%M"


def main(arguments: list[str]) -> int:
    """List the runs, publish one or retire a rival; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tasks.runs")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="show every run with its verdict and losses, oldest first")
    publishing = commands.add_parser("publish", help="verify a run and make it the published one")
    publishing.add_argument("run", help="the name of a run, or the start of it")
    publishing.add_argument(
        "--anyway", action="store_true", help="publish even a refused run or a quick look"
    )
    retiring = commands.add_parser("retire", help="compare no later run with the losses of a run")
    retiring.add_argument("run", help="the name of a run, deleted ones included, or its start")
    options = parser.parse_args(arguments)
    root = artifacts_folder()
    try:
        if options.command == "list":
            print_runs(root)
        elif options.command == "retire":
            dataset, run = find_rival(options.run, root)
            retire(run, dataset, root)
            print(f"Retired run {run}: no later run of {dataset} is compared with its losses")
        else:
            manifest = publish(find_run(options.run, root).run, root, options.anyway)
            link = published_link(manifest.dataset.name, root)
            print(f"Published run {manifest.run} as {link}")
    except AutoencoderError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def find_rival(start: str, root: Path) -> tuple[str, str]:
    """The dataset and the name of the run, possibly deleted, that begins with `start`.

    Raises:
        StepError: there is none whose losses later runs are compared with, or more than one.
    """
    runs = find_runs(root)
    rivals = {(run.dataset.name, run.run) for run in runs if run.verdict.passed}
    rivals |= {(run.dataset.name, best.run) for run in runs for best in run.best_losses.values()}
    found = sorted(rival for rival in rivals if rival[1].startswith(start))
    if len(found) != 1:
        names = ", ".join(run for _, run in (found or sorted(rivals))) or "none"
        raise StepError(
            f"{len(found)} runs that later ones are compared with start with {start!r}, expected "
            f"one of {names}"
        )
    return found[0]


def print_runs(root: Path) -> None:
    """Print a table of each dataset's runs, no wider than 80 columns."""
    runs = find_runs(root)
    if not runs:
        found = "No runs in" if root.exists() else "No runs: there is no folder"
        print(f"{found} {root}. {ROOT_VARIABLE} names another artifacts folder")
    length = _name_length([run.run for run in runs])
    for dataset in dict.fromkeys(run.dataset.name for run in runs):
        Console().print(_table([run for run in runs if run.dataset.name == dataset], length, root))


def _table(runs: list[Manifest], length: int, root: Path) -> Table:
    table = Table(
        Column("run", min_width=length, no_wrap=True),  # never shortened: people copy it
        Column("finished (UTC)", min_width=16, no_wrap=True),
        Column("verdict", min_width=10),
        Column("losses", justify="right", min_width=14),
        Column("state", min_width=16),
        box=SIMPLE_HEAD,
        title=runs[0].dataset.name,
        title_justify="left",
    )
    for run in runs:
        losses = (f"{name} {found.validation_loss:.4f}" for name, found in run.metrics.items())
        table.add_row(
            run.run[:length],
            f"{run.finished:{TIME}}",
            _verdict(run),
            "\n".join(losses),
            _state(run, root),
        )
    return table


def _name_length(names: list[str]) -> int:
    """How many characters tell all names apart; at least `SHORT_NAME`."""
    longest = max(map(len, names), default=0)
    lengths = range(SHORT_NAME, longest)
    return next((n for n in lengths if len({name[:n] for name in names}) == len(names)), longest)


def _verdict(run: Manifest) -> str:
    verdict = run.verdict
    return "published\nanyway" if verdict.published and not verdict.passed else verdict.outcome


def _state(run: Manifest, root: Path) -> str:
    if published_run(run.dataset.name, root) == run.run:
        return "published" if run.verdict.published else "published\nby a person"
    superseded = superseded_at(run.run, run.dataset.name, root)
    return f"superseded\n{superseded:{TIME}}" if superseded else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
