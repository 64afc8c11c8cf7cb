"""What a command prints when its flow has completed."""

from rich.console import Console
from rich.table import Column, Table

from tasks.codes.published import published_link, run_folder
from tasks.core.storage import prepare_artifacts_folder
from tasks.encoding.neighbors import NeighborsRecord, neighbors_folder
from tasks.encoding.shards import EncodingRecord, encoding_folder
from tasks.evaluation.references import LAB_LOSSES
from tasks.images import fashion_mnist
from tasks.runs.manifest import Manifest, Outcome
from tasks.sweeps.records import Sweep, summarize, sweep_folder


def print_outcome(outcome: Outcome, durations: dict[str, float]) -> None:
    """Print the losses beside their references, the seconds by step, and where everything is."""
    console, manifest = Console(), outcome.manifest
    console.print(_loss_table(manifest))
    console.print(_step_table(durations))
    root = prepare_artifacts_folder()
    link = published_link(manifest.dataset.name, root)
    if outcome.unchanged:
        console.print("Unchanged: what is published is what this run would make")
    elif manifest.verdict.published:
        console.print(f"Published as {link}", soft_wrap=True)
    console.print(f"The verdict: {manifest.verdict.reason}", soft_wrap=True)
    folder = run_folder(manifest.run, root)
    console.print(f"Models, codes and figures are in {folder}", soft_wrap=True)


def print_neighbors(record: NeighborsRecord, durations: dict[str, float]) -> None:
    """Print the seconds by step and where the files are."""
    console = Console()
    console.print(_step_table(durations))
    for file in record.files:
        path = neighbors_folder(record.run, prepare_artifacts_folder()) / file.path
        console.print(str(path), soft_wrap=True)


def print_encoding(record: EncodingRecord, durations: dict[str, float]) -> None:
    """Print the seconds by step and where the codes are."""
    console = Console()
    console.print(_step_table(durations))
    path = encoding_folder(record.plan.name, prepare_artifacts_folder()) / record.codes.path
    console.print(str(path), soft_wrap=True)


def print_sweep(sweep: Sweep, durations: dict[str, float]) -> None:
    """Print the losses by code size, the seconds by step, and where everything is."""
    console = Console()
    names = ("code size", "seeds", "loss", "error", "PCA's error")
    table = Table(
        "architecture",
        *(Column(name, justify="right") for name in names),
        title="Validation loss: binary cross-entropy per pixel, nats; error: mean squared; means",
    )
    for one in summarize(sweep.points):
        table.add_row(
            one.architecture,
            str(one.code_size),
            str(len(one.losses)),
            f"{one.loss:.4f}",
            f"{one.error:.5f}",
            f"{sweep.pca_error(one.code_size):.5f}",
        )
    console.print(table)
    console.print(_step_table(durations))
    folder = sweep_folder(sweep.run, prepare_artifacts_folder())
    console.print(f"Table and chart are in {folder}", soft_wrap=True)


def _step_table(durations: dict[str, float]) -> Table:
    table = Table("step", Column("seconds", justify="right"))
    for step, seconds in durations.items():
        table.add_row(step, f"{seconds:.1f}")
    return table


def _loss_table(manifest: Manifest) -> Table:
    losses = LAB_LOSSES if manifest.dataset.name == fashion_mnist.NAME else {}
    table = Table(
        "model",
        *(
            Column(name, justify="right")
            for name in (
                "this run",
                "the lab",
                "entropy floor",
                "live units",
                "error",
                "PCA's error",
            )
        ),
        title="Validation loss: binary cross-entropy per pixel, nats; error: mean squared",
    )
    for name, metrics in manifest.metrics.items():
        lab = f"{losses[name]:.4f}" if name in losses else "-"
        table.add_row(
            name,
            f"{metrics.validation_loss:.4f}",
            lab,
            f"{metrics.entropy_floor:.4f}",
            f"{metrics.live_units} of {metrics.code_size}",
            f"{metrics.reconstruction_mse:.4f}",
            f"{metrics.pca_mse:.4f}",
        )
    return table
