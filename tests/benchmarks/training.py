"""`make bench`: our training against the lab's, Keras at its best, and PyTorch, on this machine.

Every competitor trains the same layers on the same images in a process of its own. They take turns,
an epoch each, so that a noisy machine slows all alike; what counts are the ratios.
"""

import json
import math
import multiprocessing
import statistics
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from tasks.core.records import DatasetRecord
from tasks.core.storage import prepare_artifacts_folder, write_bytes
from tasks.evaluation.references import LAB_LOSSES
from tasks.images.store import open_images
from tasks.models.architectures import DenseArchitecture
from tasks.models.spec import TrainingSpec
from tasks.parameters.images import DataParameters
from tasks.parameters.retrain import Parameters
from tasks.reports.figures.style import new_figure
from tests.benchmarks.competitors import Competitor, KerasFit, Ours, TorchEager
from tests.benchmarks.machine import describe_machine
from tests.fetching import fetch

ROUNDS = 5
MAX_EPOCHS = 60
"""A competitor that has not reached the published loss by then counts as a lower bound."""
COVARIANCE_STEPS = 4
"""As in `tasks.models.soap`, which cannot be imported before TensorFlow has its settings."""
PRODUCT = 4096
"""Rows and columns of the matrices whose product gives the machine's rate."""
RESULTS = Path(__file__).resolve().parents[2] / "docs" / "benchmarks"
PYTORCH = "PyTorch eager, fused Adam"
COMPETITORS: dict[str, Callable[..., Competitor]] = {
    "ours": Ours,
    "lab (Keras fit)": partial(KerasFit, best=False),
    "Keras fit, best settings": partial(KerasFit, best=True),
    PYTORCH: TorchEager,
}
TO_LOSS = tuple(name for name in COMPETITORS if name != PYTORCH)
"""Those that are trained to the lab's loss; eager PyTorch had not reached it after 60 epochs."""


class Worker:
    """A competitor in a process of its own."""

    def __init__(self, name: str, spec: TrainingSpec, dataset: DatasetRecord) -> None:
        """Start the process; the competitor is built when this returns."""
        self._connection, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        self._process = context.Process(target=work, args=(theirs, name, spec, dataset))
        self._process.start()
        self._connection.recv()

    def ask(self, what: str) -> Any:
        """Have it done and return the answer."""
        self._connection.send(what)
        return self._connection.recv()

    def stop(self) -> None:
        """End the process."""
        self._connection.send(None)
        self._process.join()


def work(connection: Connection, name: str, spec: TrainingSpec, dataset: DatasetRecord) -> None:
    """Serve a Worker: train epochs and multiply matrices on demand."""
    root = prepare_artifacts_folder()
    train, test = (np.array(open_images(dataset, split, root)) for split in ("train", "test"))
    competitor = COMPETITORS[name](spec, train, test)
    connection.send("ready")
    while (what := connection.recv()) is not None:
        started = time.perf_counter()
        if what == "epoch":
            loss = competitor.run_epoch()
            connection.send((time.perf_counter() - started, loss))
        else:
            connection.send(product_rate(name))


def product_rate(name: str) -> float:
    """Floating-point operations per second of a large float32 product in this process's library."""
    generator = np.random.default_rng(0)
    left, right = generator.random((2, PRODUCT, PRODUCT), np.float32)
    if name == PYTORCH:
        import torch

        tensors = torch.from_numpy(left), torch.from_numpy(right)
        multiply: Callable[[], Any] = lambda: torch.mm(*tensors)  # noqa: E731
    else:
        import tensorflow as tf

        constants = tf.constant(left), tf.constant(right)
        multiply = lambda: tf.matmul(*constants).numpy()  # noqa: E731
    multiply()
    started = time.perf_counter()
    multiply()
    return 2 * PRODUCT**3 / (time.perf_counter() - started)


def kernel_weights(architecture: DenseArchitecture, dataset: DatasetRecord) -> list[int]:
    """The weights of each layer's kernel: a multiply-add each for every image."""
    return [a * b for a, b in pairwise(architecture.layer_sizes(dataset.image_shape))]


def multiply_adds(architecture: DenseArchitecture, dataset: DatasetRecord) -> int:
    """What an epoch with validation needs at least.

    For layers with W weights in all, W_1 of them in the first: forward W, weight gradients W, input
    gradients W - W_1 for every training image; forward W for every test image.
    """
    first, *others = kernel_weights(architecture, dataset)
    weights = first + sum(others)
    return dataset.rows["train"] * (3 * weights - first) + dataset.rows["test"] * weights


def optimizer_multiply_adds(spec: TrainingSpec, dataset: DatasetRecord) -> int:
    """What SOAP's own products of an epoch need at least; none with Adam.

    For a kernel of r rows and c columns and each of its sides that has an eigenbasis, of n rows and
    columns: into the basis, out of it, and every `COVARIANCE_STEPS`-th step its covariance, n r c
    each.
    """
    assert isinstance(spec.architecture, DenseArchitecture)
    recipe = spec.recipe
    if recipe.optimizer != "soap":
        return 0
    products = sum(
        side * math.prod(kernel)
        for kernel in pairwise(spec.architecture.layer_sizes(dataset.image_shape))
        for side in kernel
        if side <= recipe.max_side
    )
    steps = math.ceil(dataset.rows["train"] / recipe.batch_size)
    return steps * products * (2 * COVARIANCE_STEPS + 1) // COVARIANCE_STEPS


def measure(spec: TrainingSpec, dataset: DatasetRecord) -> dict[str, Any]:
    """Train all in turns, an epoch each, until those that are watched have the lab's loss."""
    target = LAB_LOSSES[spec.architecture.name]
    workers = {name: Worker(name, spec, dataset) for name in COMPETITORS}
    epochs: dict[str, list[tuple[float, float]]] = {name: [] for name in workers}
    rates = []
    for number in range(MAX_EPOCHS):
        for name in _unfinished(epochs, target) if number > ROUNDS else workers:
            epochs[name].append(workers[name].ask("epoch"))
        if number < ROUNDS:
            # The faster of two libraries: the floor is what this machine could do.
            rates.append(max(workers[name].ask("product") for name in ("ours", PYTORCH)))
    for worker in workers.values():
        worker.stop()
    return {
        "epoch": summarize_epochs(epochs, spec, dataset, statistics.median(rates)),
        "time_to_loss": summarize_times(epochs, target),
    }


def _unfinished(epochs: dict[str, list[tuple[float, float]]], target: float) -> list[str]:
    return [name for name in TO_LOSS if epochs[name][-1][1] > target]


def summarize_epochs(
    epochs: dict[str, list[tuple[float, float]]],
    spec: TrainingSpec,
    dataset: DatasetRecord,
    rate: float,
) -> dict[str, Any]:
    """Median seconds of an epoch with validation, of the rounds after the first.

    Args:
        epochs: seconds and validation loss of each.
        rate: floating-point operations per second of a large product.
    """
    medians = {
        name: statistics.median(seconds for seconds, _ in values[1 : 1 + ROUNDS])
        for name, values in epochs.items()
    }
    assert isinstance(spec.architecture, DenseArchitecture)
    operations = multiply_adds(spec.architecture, dataset)
    of_optimizer = optimizer_multiply_adds(spec, dataset)
    floor, whole_floor = (2 * count / rate for count in (operations, operations + of_optimizer))
    return {
        "seconds_per_epoch": medians,
        "ratio_to_ours": {name: value / medians["ours"] for name, value in medians.items()},
        "compilation_seconds": {name: epochs[name][0][0] - medians[name] for name in medians},
        "multiply_adds_per_epoch": operations,
        "optimizer_multiply_adds_per_epoch": of_optimizer,
        "product_gflops": rate / 1e9,
        "floor_seconds": floor,
        "ours_over_floor": medians["ours"] / floor,
        "floor_seconds_with_optimizer": whole_floor,
        "ours_over_floor_with_optimizer": medians["ours"] / whole_floor,
    }


def summarize_times(epochs: dict[str, list[tuple[float, float]]], target: float) -> dict[str, Any]:
    """Seconds from the start of training, compilation included, to the lab's published loss."""
    results: dict[str, Any] = {}
    for name in TO_LOSS:
        losses = [loss for _, loss in epochs[name]]
        first = next((i for i, loss in enumerate(losses, 1) if loss <= target), len(losses))
        results[name] = {
            "seconds": sum(seconds for seconds, _ in epochs[name][:first]),
            "epochs": first,
            "reached": min(losses) <= target,
        }
    for result in results.values():
        result["ratio_to_ours"] = result["seconds"] / results["ours"]["seconds"]
    return {"target": target, "competitors": results}


def draw(results: dict[str, Any], path: Path) -> None:
    """Bars of both measurements for both models."""
    with new_figure((11, 6), path) as figure:
        grid = figure.subplots(2, 2, gridspec_kw={"wspace": 0.05, "hspace": 0.4})
        for row, (model, result) in zip(grid, results["models"].items(), strict=True):
            epoch = result["epoch"]["seconds_per_epoch"]
            to_loss = result["time_to_loss"]["competitors"]
            _bars(row[0], epoch, dict.fromkeys(epoch, ""), f"{model}: seconds an epoch")
            row[0].axvline(result["epoch"]["floor_seconds"], color="0.3", linestyle=":")
            whole = result["epoch"]["floor_seconds_with_optimizer"]
            row[0].axvline(whole, color="0.3", linestyle="--")
            row[0].set_xlabel("dotted: the multiply-adds alone; dashed: with the optimizer's")
            _bars(
                row[1],
                {name: value["seconds"] for name, value in to_loss.items()},
                {name: "" if value["reached"] else "≥ " for name, value in to_loss.items()},
                f"{model}: seconds to a loss of {result['time_to_loss']['target']}",
            )
            row[1].set_ylim(row[0].get_ylim())  # the same names, of which the last is missing
            row[1].set_yticklabels([])
        figure.suptitle("{cores} cores of {processor}".format_map(results), y=1.1)


def _bars(axes: Any, values: dict[str, float], marks: dict[str, str], title: str) -> None:
    colors = ["#d55e00" if name == "ours" else "0.7" for name in values]
    bars = axes.barh(list(values), list(values.values()), color=colors)
    axes.bar_label(bars, [f"{marks[name]}{value:.2f}" for name, value in values.items()], padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_title(title, loc="left")
    axes.spines[["top", "right"]].set_visible(False)


def main() -> None:
    """Measure, print, write JSON and plot."""
    dataset = fetch(DataParameters(), prepare_artifacts_folder())
    results: dict[str, Any] = {**describe_machine(), "rounds": ROUNDS, "models": {}}
    for spec in Parameters().specs():
        results["models"][spec.architecture.name] = measure(spec, dataset)
        print(json.dumps(results["models"][spec.architecture.name], indent=2), flush=True)
    write_bytes(RESULTS / "training.json", (json.dumps(results, indent=2) + "\n").encode())
    draw(results, RESULTS / "training.svg")


if __name__ == "__main__":
    main()
