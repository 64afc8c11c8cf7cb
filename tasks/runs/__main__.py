"""`python -m tasks.runs`: list, check, publish, copy to an object store, retire a rival."""

import argparse
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table

from tasks.codes.errors import AutoencoderError, CodesError
from tasks.codes.publications import check_age, confirmed_at, describe_age
from tasks.codes.published import ROOT_VARIABLE, published_link
from tasks.core.errors import StepError
from tasks.core.settings import read_settings
from tasks.core.storage import existing_artifacts_folder
from tasks.reports.history.page import write_page
from tasks.runs.journal import superseded_at
from tasks.runs.lookup import find_run, find_runs, is_named, published_run
from tasks.runs.manifest import SHORT_NAME, Manifest, short_name
from tasks.runs.publication import publish, retire
from tasks.stores.copying import copy_published
from tasks.stores.store import configured_store, is_configured

TIME = "%Y-%m-%d %H:%M"


def main(arguments: list[str]) -> int:
    """List the runs, publish one or retire a rival; return the exit code."""
    options = parse(arguments)
    try:
        root = existing_artifacts_folder()
        if options.command == "list":
            print_runs(root)
        elif options.command == "check":
            return check(options.dataset or published_datasets(root), root)
        elif options.command == "copy":
            copy(options.dataset or published_datasets(root), root)
        elif options.command == "retire":
            dataset, run = find_rival(options.run, root)
            retire(run, dataset, root)
            print(f"Retired run {run}: no later run of {dataset} is compared with its losses")
        else:
            publish_run(options.run, root, options.anyway)
    except AutoencoderError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command and its options."""
    parser = argparse.ArgumentParser(prog="python -m tasks.runs")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="show every run with its verdict and losses, oldest first")
    checking = commands.add_parser(
        "check", help="exit with code 1 unless what is published was confirmed recently"
    )
    checking.add_argument("dataset", nargs="*", help="all that are published, by default")
    publishing = commands.add_parser("publish", help="verify a run and make it the published one")
    publishing.add_argument("run", help="the name of a run, or the start of its id")
    publishing.add_argument(
        "--anyway", action="store_true", help="publish even a refused run or a quick look"
    )
    copying = commands.add_parser("copy", help="copy what is published to the object store")
    copying.add_argument("dataset", nargs="*", help="all that are published, by default")
    retiring = commands.add_parser("retire", help="compare no later run with the losses of a run")
    retiring.add_argument(
        "run", help="the name of a run, or the start of its id; also of a deleted one"
    )
    return parser.parse_args(arguments)


def publish_run(start: str, root: Path, anyway: bool) -> None:
    """Publish a run here and, where there is one, in the object store.

    Raises:
        AutoencoderError: it cannot be published, or not be copied.
    """
    manifest = publish(find_run(start, root).run, root, anyway)
    write_page(root)
    link = published_link(manifest.dataset.name, root)
    print(f"Published run {manifest.run} as {link}; the next run announces it in Prefect")
    if is_configured():
        copy([manifest.dataset.name], root)


def find_rival(start: str, root: Path) -> tuple[str, str]:
    """The dataset and the id of the run, possibly deleted, that is meant by `start`.

    Raises:
        StepError: there is none whose losses later runs are compared with, or more than one.
    """
    runs = find_runs(root)
    rivals = {(run.dataset.name, run.run) for run in runs if run.verdict.passed}
    rivals |= {(run.dataset.name, best.run) for run in runs for best in run.best_losses.values()}
    found = sorted(rival for rival in rivals if is_named(rival[1], start))
    if len(found) != 1:
        names = ", ".join(run for _, run in (found or sorted(rivals))) or "none"
        raise StepError(
            f"{len(found)} runs that later ones are compared with start with {start!r} in {root}, "
            f"expected one of {names}"
        )
    return found[0]


def published_datasets(root: Path) -> list[str]:
    """The datasets of which a run is published, sorted.

    Raises:
        StepError: there are none.
    """
    links = (root / "published").glob("[!.]*")
    if names := sorted(link.name for link in links):
        return names
    raise StepError(f"Nothing is published in {root}. {ROOT_VARIABLE} names another folder")


def check(datasets: list[str], root: Path) -> int:
    """Print a line for each dataset; return 1 if one is overdue or not readable, else 0."""
    max_age, code = read_settings().max_age, 0
    for dataset in datasets:
        try:
            age = check_age(dataset, max_age, root)
            print(f"{dataset} is fresh: {_confirmation(age, max_age)}")
        except CodesError as error:
            print(error, file=sys.stderr)
            code = 1
    return code


def copy(datasets: list[str], root: Path) -> None:
    """Copy what is published of each dataset; print a line for each.

    Raises:
        AutoencoderError: the store does not answer or refuses, or a run is damaged.
    """
    store = configured_store()
    for dataset in datasets:
        copied = copy_published(dataset, root, store)
        if copied is None:
            raise StepError(f"No run of {dataset} is published in {root}")
        later = "" if copied.is_own else ", which was published later from another artifacts folder"
        print(f"{copied.address} has run {copied.run} of {dataset}{later}")


def _confirmation(age: timedelta, max_age: timedelta) -> str:
    """How long ago the published run was confirmed, and how long it may be."""
    return f"confirmed {describe_age(age)} ago, at most {describe_age(max_age)} allowed"


def print_runs(root: Path) -> None:
    """Print a table of each dataset's runs, no wider than 80 columns."""
    runs = find_runs(root)
    if not runs:
        print(f"No runs in {root.absolute()}. {ROOT_VARIABLE} names another artifacts folder")
    length = _name_length([run.run for run in runs])
    for dataset in dict.fromkeys(run.dataset.name for run in runs):
        Console().print(_table([run for run in runs if run.dataset.name == dataset], length, root))


def _table(runs: list[Manifest], length: int, root: Path) -> Table:
    dataset = runs[0].dataset.name
    table = Table(
        Column("run, finished (UTC)", no_wrap=True),  # never shortened: people copy it
        Column("verdict", min_width=10),
        Column("losses", justify="right", min_width=14),
        Column("state", min_width=16),
        box=SIMPLE_HEAD,
        title=f"{dataset}\n{_freshness(dataset, root)}",
        title_justify="left",
    )
    for run in runs:
        losses = (f"{name} {found.validation_loss:.4f}" for name, found in run.metrics.items())
        table.add_row(
            f"{_name(run, length)}\n{run.finished:{TIME}}",
            _verdict(run),
            "\n".join(losses),
            _state(run, root),
        )
    return table


def _freshness(dataset: str, root: Path) -> str:
    """Whether the published run is fresh or overdue, in one line."""
    max_age = read_settings().max_age
    try:
        age = datetime.now(UTC) - confirmed_at(dataset, root)
    except CodesError:
        return "nothing is published"
    return f"{'overdue' if age > max_age else 'fresh'}: {_confirmation(age, max_age)}"


def _name(run: Manifest, length: int) -> str:
    """What Prefect calls a run, without its dataset, and so much of its id."""
    title = run.title.removeprefix(f"{run.dataset.name}-")
    return title.removesuffix(short_name(run.run)) + run.run[:length]


def _name_length(names: list[str]) -> int:
    """How many characters tell all names apart; at least `SHORT_NAME`."""
    longest = max(map(len, names), default=0)
    lengths = range(SHORT_NAME, longest)
    return next((n for n in lengths if len({name[:n] for name in names}) == len(names)), longest)


def _verdict(run: Manifest) -> str:
    verdict = run.verdict
    if verdict.approval and verdict.approval.answer:
        decided = "no answer" if verdict.approval.answer == "time-out" else "by a person"
        return f"{verdict.outcome}\n{decided}"
    return "published\nanyway" if verdict.published and not verdict.passed else verdict.outcome


def _state(run: Manifest, root: Path) -> str:
    if published_run(run.dataset.name, root) == run.run:
        return "published" if run.verdict.published else "published\nby a person"
    superseded = superseded_at(run.run, run.dataset.name, root)
    return f"superseded\n{superseded:{TIME}}" if superseded else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
