"""`make bench-scale`: time and memory of each stage against the number of images.

The images are Fashion-MNIST's, shifted, mirrored and brightened at random, from a seed. Each stage
of each size runs in a process of its own, which tells its largest anonymous memory: pages of files
do not count, as the kernel takes them back when it needs them. Compilation is not timed.
"""

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.codes.published import ROOT_VARIABLE, PublishedRun, open_published
from tasks.core.records import SPLITS, DatasetRecord
from tasks.core.storage import prepare_artifacts_folder, write_bytes
from tasks.encoding.shards import (
    EncodingPlan,
    begin_encoding,
    obtain_shard,
    plan_encoding,
    shard_spans,
)
from tasks.images import fashion_mnist
from tasks.images.dataset import fetch_images
from tasks.images.sources import ArrayFiles
from tasks.images.store import open_images
from tasks.models.spec import TrainingSpec
from tasks.parameters.images import DataParameters
from tasks.parameters.retrain import Parameters, RunParameters
from tasks.reports.figures.style import new_figure
from tasks.runs.manifest import read_manifest
from tests.benchmarks.machine import describe_machine
from tests.benchmarks.training import RESULTS
from tests.fetching import fetch

SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
FITTED_FROM = 100_000
"""Slopes are those of the sizes from here on; below, what does not grow weighs too much."""
WORKERS = (1, 2)
SHARD_ROWS = 16_384
SAMPLE_SECONDS = 0.02
AUGMENTED_ROWS = 10_000
"""Images made at once."""

Result = dict[str, float]
Stage = Callable[[DatasetRecord, TrainingSpec, Path], float]


def augment(images: NDArray[np.uint8], count: int, path: Path) -> None:
    """Write `count` variants of images, (count, 28, 28) uint8, as an `.npy` file."""
    target = np.lib.format.open_memmap(path, "w+", np.uint8, (count, *images.shape[1:]))
    for start in range(0, count, AUGMENTED_ROWS):
        generator = np.random.default_rng([0, start])
        rows = min(AUGMENTED_ROWS, count - start)
        chosen = images[generator.integers(len(images), size=rows)]
        mirrored = generator.random(rows) < 0.5
        chosen[mirrored] = chosen[mirrored, :, ::-1]
        shifts = generator.integers(-2, 3, size=(rows, 2))
        for row, shift in enumerate(shifts):
            chosen[row] = np.roll(chosen[row], shift, axis=(0, 1))
        brightness = generator.uniform(0.7, 1.0, size=(rows, 1, 1))
        target[start : start + rows] = np.round(chosen * brightness)
    target.flush()


def train(dataset: DatasetRecord, spec: TrainingSpec, root: Path) -> float:
    """The second of two epochs of training; the first one compiles."""
    from tasks.models.training import Training

    images, validation = (open_images(dataset, split, root) for split in ("train", "test"))
    training = Training(spec, images, validation, dataset.scale)
    started = 0.0
    for _ in training.advance():
        if len(training.history) == 1 and not started:
            started = time.perf_counter()
    return time.perf_counter() - started


def encode(dataset: DatasetRecord, spec: TrainingSpec, root: Path) -> float:
    """Codes and errors of all training images, written and verified."""
    from tasks.encoding.encoder import encode_split, load_autoencoder

    model = _model(dataset, spec, root)
    images = open_images(dataset, "train", root)[:10]
    list(load_autoencoder(model, root).encode(images, dataset.scale))
    started = time.perf_counter()
    encode_split("train", dataset, [model], root / "train.h5", root)
    return time.perf_counter() - started


def evaluate(dataset: DatasetRecord, spec: TrainingSpec, root: Path) -> float:
    """Losses, errors and similarities of all training images."""
    from tasks.evaluation.evaluate import evaluate_images

    model = _model(dataset, spec, root)
    evaluate_images(model, dataset, root, "test")
    started = time.perf_counter()
    evaluate_images(model, dataset, root, "train")
    return time.perf_counter() - started


def search(dataset: DatasetRecord, spec: TrainingSpec, root: Path) -> float:
    """The 100 nearest neighbours of 10,000 test codes among all training codes."""
    from tasks.codes.reader import read_codes
    from tasks.encoding.encoder import encode_split
    from tasks.encoding.neighbors import write_neighbors

    encode_split("test", dataset, [_model(dataset, spec, root)], root / "test.h5", root)
    train_codes, test_codes = (read_codes(root / f"{split}.h5").codes for split in SPLITS)
    started = time.perf_counter()
    write_neighbors(root / "neighbors.hdf5", train_codes, test_codes, "b" * 64)
    return time.perf_counter() - started


STAGES: dict[str, Stage] = {
    "training, an epoch": train,
    "encoding": encode,
    "evaluation": evaluate,
    "neighbours of 10,000": search,
}


def _model(dataset: DatasetRecord, spec: TrainingSpec, root: Path) -> Any:
    """A model of one epoch: how good it is does not matter here."""
    from tasks.models.obtain import obtain_model

    return obtain_model(dataset, spec, "cpu", root, lambda _: None)


def _spec(epochs: int) -> TrainingSpec:
    deep = Parameters(run=RunParameters(quick=True)).specs()[1]
    return deep.model_copy(update={"recipe": deep.recipe.model_copy(update={"epochs": epochs})})


def _anonymous_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


def _measured(name: str, dataset: DatasetRecord, root: Path, answers: Any) -> None:
    """In a process of its own: the stage's seconds, and the largest memory meanwhile."""
    peak, ended = 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not ended.wait(SAMPLE_SECONDS):
            peak = max(peak, _anonymous_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    seconds = STAGES[name](dataset, _spec(2 if STAGES[name] is train else 1), root)
    ended.set()
    watcher.join()
    answers.put({"seconds": seconds, "peak_bytes": max(peak, _anonymous_bytes())})


def measure_stages(dataset: DatasetRecord, root: Path) -> dict[str, Result]:
    """Every stage, one after the other; the model is made before, as its training takes memory."""
    _run_apart(_model, dataset, _spec(1), root)
    results = {}
    for name in STAGES:
        answers = multiprocessing.get_context("spawn").SimpleQueue()
        _run_apart(_measured, name, dataset, root, answers)
        results[name] = answers.get()
    return results


def _run_apart(function: Callable[..., Any], *arguments: Any) -> None:
    """Call a function in a process of its own."""
    process = multiprocessing.get_context("spawn").Process(target=function, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"{function.__name__}{arguments} ended with code {process.exitcode}")


def measure_workers(images: Path, root: Path) -> dict[int, float]:
    """Images a second that so many processes encode, in shards that are written and verified."""
    plan, run = _plan(images, root)
    spans = shard_spans(plan.dataset.rows["all"], SHARD_ROWS)
    context = multiprocessing.get_context("spawn")
    rates = {}
    for workers in WORKERS:
        begin_encoding(plan, run, root)
        with ProcessPoolExecutor(workers, context) as executor:
            warm = [executor.submit(obtain_shard, plan, span, root) for span in spans[:workers]]
            wait(warm)  # each process has loaded and compiled the encoders
            started = time.perf_counter()
            wait([executor.submit(obtain_shard, plan, span, root) for span in spans[workers:]])
            seconds = time.perf_counter() - started
        rates[workers] = (spans[-1][1] - spans[workers][0]) / seconds
        shutil.rmtree(root / "encodings")
    return rates


def _plan(images: Path, root: Path) -> tuple[EncodingPlan, PublishedRun]:
    """To encode images with the encoders of a published run of one epoch."""
    command = [sys.executable, "-m", "flows.retrain", "--publish-anyway"]
    command += ["--shallow-epochs", "1", "--deep-epochs", "1"]
    subprocess.run(command, check=True, env={**os.environ, ROOT_VARIABLE: str(root)})
    source = ArrayFiles(images_file=str(images))
    run = open_published(fashion_mnist.NAME, root)
    manifest = read_manifest(run.folder)
    augmented = fetch_images("augmented", source, root)
    return plan_encoding(augmented, run.name, manifest.dataset, manifest.models, root), run


def slope(results: dict[int, dict[str, Result]], stage: str, what: str) -> float:
    """Of a straight line through log(seconds or bytes) against log(images)."""
    sizes = [size for size in results if size >= FITTED_FROM]
    values = [results[size][stage][what] for size in sizes]
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def draw(results: dict[int, dict[str, Result]], path: Path) -> None:
    """Seconds and memory of each stage against the number of images."""
    with new_figure((11, 4.2), path) as figure:
        left, right = figure.subplots(1, 2, gridspec_kw={"wspace": 0.2})
        for stage, color, marker in zip(
            STAGES, ("#d55e00", "#0072b2", "#009e73", "#cc79a7"), "osD^", strict=True
        ):
            sizes = list(results)
            line = {"color": color, "marker": marker}
            seconds = [results[size][stage]["seconds"] for size in sizes]
            label = f"{stage} (slope {slope(results, stage, 'seconds'):.2f})"
            left.loglog(sizes, seconds, label=label, **line)
            peaks = [results[size][stage]["peak_bytes"] / 2**20 for size in sizes]
            right.semilogx(sizes, peaks, label=stage, **line)
        left.set_ylabel("seconds, compilation apart")
        right.set_ylabel("largest anonymous memory (MiB)")
        right.set_ylim(bottom=0)
        for axes in (left, right):
            axes.set_xlabel("images of 28 x 28")
            axes.legend()
        left.set_title("Time of the deep model's stages")
        right.set_title("Memory")


def main() -> None:
    """Measure, print, write JSON and plot."""
    root = prepare_artifacts_folder()
    published = fetch(DataParameters(), root)
    train_images, test_images = (
        np.array(open_images(published, split, root)) for split in ("train", "test")
    )
    results: dict[int, dict[str, Result]] = {}
    with tempfile.TemporaryDirectory(prefix="scaling-") as name:
        folder = Path(name)
        np.save(folder / "test.npy", test_images)
        for size in SIZES:
            images = folder / f"{size}.npy"
            augment(train_images, size, images)
            source = ArrayFiles(images_file=str(images), test_images_file=str(folder / "test.npy"))
            data = DataParameters(dataset="augmented", source=source)
            dataset = fetch(data, folder / "artifacts")
            results[size] = measure_stages(dataset, folder / "artifacts")
            print(json.dumps({size: results[size]}, indent=2), flush=True)
        rates = measure_workers(folder / f"{SIZES[-1]}.npy", folder / "artifacts")
    slopes = {
        stage: {what: slope(results, stage, what) for what in ("seconds", "peak_bytes")}
        for stage in STAGES
    }
    content = {
        **describe_machine(),
        "sizes": results,
        "slopes": slopes,
        "images_encoded_a_second_by_processes": rates,
    }
    text = json.dumps(content, indent=2)
    print(text)
    write_bytes(RESULTS / "scaling.json", (text + "\n").encode())
    draw(results, RESULTS / "scaling.svg")


if __name__ == "__main__":
    main()
