"""What a command prints when its flow has completed."""

from collections.abc import Collection
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markdown import Markdown
from rich.table import Column, Table

from tasks.codes.published import published_link, run_folder
from tasks.core.records import Sha256
from tasks.core.storage import prepare_artifacts_folder
from tasks.encoding.shards import EncodingRecord, encoding_folder
from tasks.encoding.stored_neighbors import NeighborsRecord, neighbors_folder
from tasks.evaluation.records import Probes
from tasks.evaluation.references import LAB_LOSSES
from tasks.images import fashion_mnist
from tasks.reports.inspections.page import InspectionRecord, inspection_page
from tasks.runs.kept_basis import answer_bases, list_bases
from tasks.runs.manifest import Manifest, Outcome
from tasks.runs.rivals import loss_key


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
    """Print what the codes are worth, the losses, what became of the run, and where it is.

    Of a published run, also whether codes that others stored stay valid.
    """
    console, manifest = Console(), outcome.manifest
    root = prepare_artifacts_folder()
    link = published_link(manifest.dataset.name, root)
    console.print(_worth_table(manifest))
    console.print(_loss_table(manifest))
    if outcome.unchanged:
        text = f"Unchanged: this run would only repeat the published one, {link}"
        console.print(text, soft_wrap=True)
        _print_bases(console, manifest, list_bases(manifest))
    elif manifest.verdict.published:
        console.print(f"Published as {link}", soft_wrap=True)
        console.print(manifest.verdict.reason, soft_wrap=True)
        _print_bases(console, manifest, manifest.earlier_bases)
    else:
        console.print("Quick look: not published.")
    folder = run_folder(manifest.run, root)
    console.print(f"Models, codes, figures and report: {folder}", soft_wrap=True)


def _print_bases(console: Console, manifest: Manifest, stored: Collection[Sha256]) -> None:
    """Print whether stored codes stay valid, a line for each model under its answer."""
    for answer, models in answer_bases(manifest, stored):
        console.print(f"{answer}:")
        for model in models:
            console.print(f"  {model}", soft_wrap=True)


def _worth_table(manifest: Manifest) -> Table:
    """What the codes are worth to their readers, beside PCA and the pixels."""
    headings = ("five neighbours", "nearest neighbour", "linear probe", "effective dimension")
    table = Table(
        "codes",
        *(Column(heading, justify="right") for heading in headings),
        title="Accuracy of classifiers on the test images, and how codes spread",
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
        title="Test images. Loss: binary cross-entropy per pixel, nats; error: mean squared",
        caption=f"No loss can be below the entropy floor, {floor:.4f}",
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
