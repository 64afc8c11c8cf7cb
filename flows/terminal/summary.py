"""What a command prints when its flow has completed: tables, then how it ended and what to do."""

from collections.abc import Collection, Iterator
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markdown import Markdown
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from tasks.codes.errors import AutoencoderError
from tasks.codes.published import run_folder
from tasks.core.errors import command
from tasks.core.records import Sha256
from tasks.core.storage import prepare_artifacts_folder
from tasks.encoding.shards import EncodingRecord, encoding_folder
from tasks.encoding.stored_neighbors import NeighborsRecord, neighbors_folder
from tasks.evaluation.records import Probes
from tasks.evaluation.references import LAB_LOSSES
from tasks.images import fashion_mnist
from tasks.reports.inspections.page import InspectionRecord, inspection_page
from tasks.reports.report import HTML_FILE
from tasks.runs.checks import loss_check_name
from tasks.runs.kept_basis import answer_bases, list_bases
from tasks.runs.lookup import published_run
from tasks.runs.manifest import Manifest, Outcome, short_name
from tasks.runs.rivals import loss_key

STYLES = {"published": "green", "unchanged": "green", "quick look": "yellow", "refused": "red"}


def print_result(result: Outcome | InspectionRecord) -> None:
    """Print how a run ended, or what was found in a source."""
    if isinstance(result, InspectionRecord):
        print_inspection(result)
    else:
        print_outcome(result)


def print_inspection(record: InspectionRecord) -> None:
    """Print what was found in a source, and where the page with its images is."""
    console = Console()
    console.print(Markdown(record.text))
    console.print(
        f"With images of each class: {inspection_page(record.dataset, prepare_artifacts_folder())}",
        soft_wrap=True,
    )


def print_outcome(outcome: Outcome) -> None:
    """Print what a run found, what became of it, what to do next, and where its report is.

    Of a published run, also whether codes that others stored stay valid.
    """
    console, manifest = Console(highlight=False), outcome.manifest
    root = prepare_artifacts_folder()
    console.print(_worth_table(manifest))
    console.print(_loss_table(manifest))
    head, *others = _describe(outcome, root)
    word, _, rest = head.partition(": ")
    console.print(Text.assemble((f"{word}: ", f"bold {STYLES[outcome.kind]}"), rest))
    for line in others:
        text = line.lstrip()
        console.print(Padding(Text(text), (0, 0, 0, len(line) - len(text)), expand=False))
    if outcome.kind == "refused":
        _print_refusal(console, manifest)
    report = run_folder(manifest.run, root).resolve() / HTML_FILE
    console.print(f"Report: {report.as_uri()}", soft_wrap=True)


def _describe(outcome: Outcome, root: Path) -> Iterator[str]:
    """What became of a run, in lines; the first one begins with the outcome."""
    manifest = outcome.manifest
    dataset, run = manifest.dataset.name, short_name(manifest.run)
    if outcome.kind == "unchanged":
        yield f"Unchanged: this run would only repeat {run}, which readers of {dataset} get."
        yield from _answers(manifest, list_bases(manifest))
        yield "To train all the same: --retrain. To train something new: another --seed."
    elif outcome.kind == "published":
        yield f"Published: readers of {dataset} now get run {run}."
        yield manifest.verdict.reason
        yield from _answers(manifest, manifest.earlier_bases)
    elif outcome.kind == "quick look":
        yield f"Quick look: everything works. Not published; {_what_readers_get(dataset, root)}."
        yield "To train in full, leave out --quick."
    else:
        yield f"Refused: not published; {_what_readers_get(dataset, root)}."


def _what_readers_get(dataset: str, root: Path) -> str:
    try:
        run = published_run(dataset, root)
    except AutoencoderError:  # there is a folder in place of the link
        run = None
    return (
        f"readers of {dataset} still get run {short_name(run)}"
        if run
        else "nothing is published yet"
    )


def _print_refusal(console: Console, manifest: Manifest) -> None:
    """Print each failed check, and the commands between which a person can choose."""
    run, checks = short_name(manifest.run), manifest.verdict.checks
    failed = [check for check in checks if not check.passed]
    reasons = Table.grid(padding=(0, 1))
    for check in failed:
        reasons.add_row(Text("-", style="red"), Text(check.text))
    if failed:
        console.print(f"{len(failed)} of {len(checks)} checks failed:")
        console.print(reasons)
    else:  # a person refused it, or could not be asked
        console.print(manifest.verdict.reason)
    choices = Table.grid(padding=(0, 2))
    choices.add_row("publish it anyway", command(f"tasks.runs publish {run} --anyway"))
    for rival in sorted(_failed_rivals(manifest)):
        choices.add_row(f"compare no longer with {rival}", command(f"tasks.runs retire {rival}"))
    choices.add_row("go back to another run", f"{command('tasks.runs list')}; ... publish RUN")
    console.print("What else you can do:")
    console.print(Padding(choices, (0, 0, 0, 2)))


def _failed_rivals(manifest: Manifest) -> set[str]:
    """The runs whose losses this one misses."""
    failed = {check.name for check in manifest.verdict.checks if not check.passed}
    best = manifest.verdict.rivals
    return {
        short_name(best[key].run)
        for model in manifest.models
        if (key := loss_key(model)) in best and loss_check_name(model.name) in failed
    }


def _answers(manifest: Manifest, stored: Collection[Sha256]) -> Iterator[str]:
    """Whether stored codes stay valid, a line for each model under its answer."""
    for answer, models in answer_bases(manifest, stored):
        yield f"{answer}:"
        for model in models:
            yield f"  {model}"


def _worth_table(manifest: Manifest) -> Table:
    """What the codes are worth to their readers, beside PCA and the pixels."""
    headings = ("five neighbours", "nearest neighbour", "linear probe", "effective dimension")
    table = Table(
        "codes",
        *(Column(heading, justify="right") for heading in headings),
        title="Accuracy on the test images by the codes, and how codes spread",
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
    )
    rows: list[tuple[str, Probes | None, str]] = [
        (name, found.probes, f"{found.effective_dimension:.1f} of {found.code_size}")
        for name, found in manifest.metrics.items()
    ]
    rows += [(f"PCA-{pca.components}", pca.probes, "") for pca in manifest.baselines.pca]
    rows.append(("pixels", manifest.baselines.pixels.probes, ""))
    for name, probes, dimension in rows:
        if probes:
            accuracies = [probes.nearest_5, probes.nearest_1, probes.linear]
            table.add_row(name, *(f"{accuracy:.2%}" for accuracy in accuracies), dimension or "-")
        elif dimension:  # without labels, only models have something to show
            table.add_row(name, "-", "-", "-", dimension)
    return table


def _loss_table(manifest: Manifest) -> Table:
    floor = manifest.baselines.pixels.entropy_floor
    notebook = LAB_LOSSES if manifest.dataset.name == fashion_mnist.NAME else {}
    headings = (
        "this run",
        "reference notebook",
        "best published run",
        "live units",
        "error",
        "PCA error",
    )
    table = Table(
        "model",
        *(Column(heading, justify="right") for heading in headings),
        title=f"Loss on the test images, nats per pixel (at least {floor:.4f}), and squared error",
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
    )
    for model in manifest.models:
        metrics = manifest.metrics[model.name]
        best = manifest.verdict.rivals.get(loss_key(model))
        table.add_row(
            model.name,
            f"{metrics.validation_loss:.4f}",
            f"{notebook[model.name]:.4f}" if model.name in notebook else "-",
            f"{best.validation_loss:.4f}" if best else "-",
            f"{metrics.live_units} of {metrics.code_size}",
            f"{metrics.reconstruction_mse:.4f}",
            f"{metrics.pca_mse:.4f}",
        )
    return table


def print_neighbors(record: NeighborsRecord) -> None:
    """Print where the files are."""
    folder = neighbors_folder(record.run, prepare_artifacts_folder())
    for file in record.files:
        print(folder / file.path)


def print_encoding(record: EncodingRecord) -> None:
    """Print where the codes are."""
    print(encoding_folder(record.plan.name, prepare_artifacts_folder()) / record.codes.path)


def print_report(path: Path) -> None:
    """Print a Markdown file, without its pictures, and where it is."""
    console = Console()
    lines = path.read_text().splitlines()
    console.print(Markdown("\n".join(line for line in lines if not line.startswith("!["))))
    console.print(f"Report, table and chart: {path.parent}", soft_wrap=True)
