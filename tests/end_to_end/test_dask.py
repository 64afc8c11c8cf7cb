"""Sweeps and encoding on Dask: a scheduler and workers as processes of their own, on loopback."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from prefect.settings import PREFECT_API_URL

from flows.sweep import sweep
from tasks.sweeps.records import Sweep, find_sweeps
from tests.conftest import SAMPLE, SAMPLE_FOLDER, sample_images
from tests.end_to_end.serving import free_port
from tests.waiting import wait_until

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("prefect_server")]

DATA = ["--dataset", SAMPLE.dataset, "--source.idx-folder", str(SAMPLE_FOLDER)]
GRID = [
    *DATA,
    "--architectures",
    "deep",
    "--code-sizes",
    "4,8",
    "--batch-size",
    "4",
    "--deep-epochs",
]
"""With small batches an epoch of the sample takes a while, but does not need all cores."""
EPOCHS = "30"
"""Some fifteen seconds of a core: several checkpoints, at each of which a worker can die."""
LOADED = "cpu_feature_guard"
"""TensorFlow says so once, when a process first computes with it."""


@contextmanager
def started(command: list[str], log: Path, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command in the background, with its output in a file; ended by force if it must be."""
    environment = {**os.environ, **variables}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *command], env=environment, stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@dataclass(frozen=True)
class Cluster:
    """A scheduler and two workers."""

    scheduler: str
    workers: list[subprocess.Popen[bytes]]
    logs: list[Path]
    artifacts: Path

    @property
    def variables(self) -> dict[str, str]:
        return {"AUTOENCODER_RUNNER": "dask", "AUTOENCODER_DASK_SCHEDULER": self.scheduler}

    def tell(self) -> str:
        return "\n".join(log.read_text()[-2000:] for log in self.logs)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Without nannies: a worker that dies is not started again."""
    folder, port = tmp_path / "dask", free_port()
    folder.mkdir()
    address, loopback = f"tcp://127.0.0.1:{port}", ["--host", "127.0.0.1", "--no-dashboard"]
    logs = [folder / f"worker-{number}.log" for number in (0, 1)]
    memory = ["--nthreads", "1", "--no-nanny", "--memory-limit", "0"]
    worker = ["distributed.cli.dask_worker", address, *loopback, *memory]
    artifacts = folder / "artifacts"
    variables = {"AUTOENCODER_ARTIFACTS": str(artifacts), "TF_CPP_MIN_LOG_LEVEL": "0"}
    with ExitStack() as stack:
        scheduler = ["distributed.cli.dask_scheduler", *loopback, "--port", str(port)]
        stack.enter_context(started(scheduler, folder / "scheduler.log"))
        workers = [
            stack.enter_context(
                started([*worker, "--local-directory", str(log.with_suffix(""))], log, **variables)
            )
            for log in logs
        ]
        yield Cluster(address, workers, logs, artifacts)


@contextmanager
def running(
    flow: str, root: Path, *flags: str, **variables: str
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A flow as a command in the background, and its log."""
    log = root.with_suffix(".log")
    where = {"AUTOENCODER_ARTIFACTS": str(root), "PREFECT_API_URL": PREFECT_API_URL.value() or ""}
    with started([f"flows.{flow}", *flags], log, **where, **variables) as process:
        yield process, log


def wait_for_end(process: subprocess.Popen[bytes], log: Path) -> None:
    assert process.wait(240) == 0, log.read_text()[-3000:]


def completed(process: subprocess.Popen[bytes], log: Path, root: Path) -> Sweep:
    """Wait for a sweep's end; the newest one in the folder."""
    wait_for_end(process, log)
    return find_sweeps(root)[-1]


def models_under_way(root: Path) -> set[str]:
    return {path.parents[1].name for path in root.glob("models/*/checkpoints/[!.]*")}


def test_workers_stop_training_what_nobody_waits_for_any_more(cluster: Cluster) -> None:
    root = cluster.artifacts
    with running("sweep", root, *GRID, "10000", **cluster.variables) as (process, _):
        wait_until(lambda: len(models_under_way(root)) == 2, cluster.tell, seconds=240)
        process.send_signal(signal.SIGKILL)
    stopped = "TrainingStoppedError"
    wait_until(lambda: all(stopped in log.read_text() for log in cluster.logs), cluster.tell)
    assert len(models_under_way(root)) == 2


def test_no_byte_depends_on_the_runner_or_on_a_worker_that_dies(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = cluster.artifacts
    with running("sweep", root, *GRID, EPOCHS, **cluster.variables) as (process, log):
        wait_until(lambda: len(models_under_way(root)) == 2, cluster.tell, seconds=240)
        cluster.workers[0].send_signal(signal.SIGKILL)
        found = completed(process, log, root)
    survivor = cluster.logs[1].read_text()
    assert "Resuming the deep model" in survivor
    assert survivor.count("Finished in state Completed()") == 2
    assert survivor.count(LOADED) == 1

    with running("sweep", root, *GRID, EPOCHS, AUTOENCODER_RUNNER="dask") as (process, log):
        again = completed(process, log, root)
    assert again.run != found.run
    assert (again.points, again.files) == (found.points, found.files)

    monkeypatch.setenv("AUTOENCODER_ARTIFACTS", str(tmp_path))
    in_threads = sweep(**found.parameters)
    weights = [point.model.weights_sha256 for point in found.points]
    assert [point.model.weights_sha256 for point in in_threads.points] == weights
    assert in_threads.files == found.files


def shards(root: Path) -> list[Path]:
    return list(root.glob("encodings/.partial-*/shards/[!.]*.h5"))


def test_encoding_goes_on_when_a_worker_dies_and_gives_the_same_bytes(
    cluster: Cluster, artifacts: Path, tmp_path: Path
) -> None:
    train, _ = sample_images()
    images = tmp_path / "images.npy"
    np.save(images, np.resize(train, (60_000, 28, 28)))
    flags = ["--dataset", "many", "--source.images-file", str(images)]
    flags += ["--learned-from", SAMPLE.dataset, "--shard-rows"]

    root = cluster.artifacts
    shutil.copytree(artifacts, root)
    with running("encode", root, *flags, "1000", **cluster.variables) as (process, log):
        wait_until(lambda: len(shards(root)) > 3, cluster.tell, seconds=240)
        cluster.workers[0].send_signal(signal.SIGKILL)
        assert len(shards(root)) < 60
        wait_for_end(process, log)
    assert cluster.logs[1].read_text().count(LOADED) == 1

    alone = tmp_path / "alone"
    shutil.copytree(artifacts, alone)
    with running("encode", alone, *flags, "7777", AUTOENCODER_WORKERS="1") as (process, log):
        wait_for_end(process, log)
    (found,), (expected,) = (folder.glob("encodings/*/codes/all.h5") for folder in (root, alone))
    assert found.read_bytes() == expected.read_bytes()
