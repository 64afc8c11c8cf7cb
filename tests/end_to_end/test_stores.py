"""Publishing to an object store over the S3 protocol, and reading from it, with faults."""

import os
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from tasks.codes import CodesError, open_published, open_run
from tasks.core.records import DatasetRecord
from tasks.core.storage import describe_file
from tasks.models.store import ModelRecord
from tasks.runs.journal import read_journal
from tasks.runs.lookup import check_files, published_run
from tasks.runs.manifest import read_manifest
from tasks.runs.publication import publish
from tasks.stores.copying import copy_published
from tasks.stores.folders import list_copies
from tasks.stores.pointer import read_pointer
from tasks.stores.store import (
    Store,
    configured_store,
    delete_objects,
    is_stored,
    list_objects,
    put_file,
)
from tests.conftest import SAMPLE, complete
from tests.end_to_end.publishers import copy_here, publish_in_turn, read_often
from tests.end_to_end.s3 import BUCKET, S3, SECRET, Fault, serve_s3
from tests.end_to_end.test_crash import FLAGS
from tests.forking import PROCESSES, REPOSITORY, import_once


@pytest.fixture(scope="module")
def server() -> Iterator[S3]:
    import_once("pytest", "tests.end_to_end.publishers")
    with serve_s3() as s3:
        yield s3


@pytest.fixture
def s3(server: S3) -> Iterator[S3]:
    yield server
    server.leave_in_peace()


@pytest.fixture
def store(s3: S3, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A prefix of its own for each test."""
    monkeypatch.setenv("AUTOENCODER_PUBLISH_TO", f"s3://{BUCKET}/{request.node.name[:40]}")
    return configured_store()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUTOENCODER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def two_runs(model: ModelRecord, dataset: DatasetRecord, root: Path) -> None:
    """Of which the second is published."""
    for run in ("run-1", "run-2"):
        complete(run, model, dataset, root)


def start(act: Callable[..., None], *arguments: object) -> BaseProcess:
    process = PROCESSES.Process(target=act, args=arguments)
    process.start()
    return process


def read_everything(dataset: str, address: str, cache: Path) -> str:
    """Fetch and verify all that is published; return the run."""
    shutil.rmtree(cache, ignore_errors=True)
    run = open_published(dataset, address)
    for file in run.files:
        run.file(file.path)
    check_files(run.folder, read_manifest(run.folder).files)
    return run.name


@pytest.mark.parametrize("moment", ["before", "after"])
def test_the_next_publisher_completes_what_one_killed_at_any_request_left(
    moment: str,
    s3: S3,
    store: Store,
    two_runs: None,
    dataset: DatasetRecord,
    root: Path,
    cache: Path,
) -> None:
    """Killed when a request arrives, or when it was handled and not answered yet."""
    kills = 0
    copy_published(dataset.name, root, store)
    while True:
        old = published_run(dataset.name, root)
        new = "run-1" if old == "run-2" else "run-2"
        for folder in list_copies(store):
            if folder.endswith(new):
                delete_objects(list(list_objects(f"{folder}/", store)), store)
        publish(new, root)
        reached = kill_at_request(kills + 1, moment, s3, dataset.name, root)
        assert read_everything(dataset.name, store.address, cache) in (old, new)
        copy_published(dataset.name, root, store)
        assert read_everything(dataset.name, store.address, cache) == new
        if not reached:
            break
        kills += 1
    assert kills > 20, "each file is stored and read back"


def kill_at_request(number: int, moment: str, s3: S3, dataset: str, root: Path) -> bool:
    """Kill a publisher at one of its requests; false if it had fewer."""
    killed = []
    environment = {"AUTOENCODER_PUBLISH_TO": os.environ["AUTOENCODER_PUBLISH_TO"], **s3.environment}
    s3.one_at_a_time.acquire()  # until it is known which process that is
    first = s3.requests
    process = start(copy_here, dataset, root, environment)

    def kill(current: int) -> Fault:
        if current == first + number:
            assert process.pid
            killed.append(process.pid)  # first: the thread that waits for the end reads it
            os.kill(process.pid, signal.SIGKILL)
        return "none"

    setattr(s3, moment, kill)
    s3.one_at_a_time.release()
    process.join()
    s3.leave_in_peace()
    assert process.exitcode == (-signal.SIGKILL if killed else 0)
    return bool(killed)


def test_of_two_publishers_at_once_the_later_publication_wins(
    s3: S3, store: Store, model: ModelRecord, dataset: DatasetRecord, root: Path, cache: Path
) -> None:
    """Each with an artifacts folder of its own."""
    shuffled = random.Random(0)  # noqa: S311 - no secret
    other = root.with_name("other")
    environment = {"AUTOENCODER_PUBLISH_TO": store.address, **s3.environment}
    shutil.copytree(root, other)
    for number in range(8):
        roots = [root, other]
        shuffled.shuffle(roots)
        for place, folder in zip(("early", "late"), roots, strict=True):
            complete(f"{place}-{number}", model, dataset, folder)
        shuffled.shuffle(roots)
        publishers = [start(copy_here, dataset.name, folder, environment) for folder in roots]
        for publisher in publishers:
            publisher.join()
        assert [publisher.exitcode for publisher in publishers] == [0, 0]
        assert read_everything(dataset.name, store.address, cache) == f"late-{number}"


READS, READERS = 1000, 2


@pytest.mark.timeout(1200)
def test_a_thousand_reads_during_switches_see_nothing_incomplete(
    s3: S3,
    store: Store,
    two_runs: None,
    dataset: DatasetRecord,
    root: Path,
    tmp_path: Path,
) -> None:
    copy_published(dataset.name, root, store)
    expected = {
        run: open_run(run, root).codes("test", "shallow").codes for run in ("run-1", "run-2")
    }
    environment = {
        "AUTOENCODER_PUBLISH_TO": store.address,
        "AUTOENCODER_KEEP": "1",
        "AUTOENCODER_GRACE_HOURS": str(3 / 3600),
        **s3.environment,
    }
    publisher = start(publish_in_turn, dataset.name, root, environment)
    try:
        arguments = [
            (dataset.name, store.address, tmp_path / str(n), READS // READERS, s3.environment)
            for n in range(READERS)
        ]
        with PROCESSES.Pool(READERS) as pool:
            seen = pool.starmap(read_often, arguments)
    finally:
        publisher.kill()
        publisher.join()
    assert publisher.exitcode == -signal.SIGKILL, "it published to the end"
    runs = Counter(run for each in seen for run, _ in each)
    assert runs.total() == READS
    assert min(runs["run-1"], runs["run-2"]) > READS / 10
    for run, codes in (entry for each in seen for entry in each):
        np.testing.assert_array_equal(codes, expected[run])
    switches = len(read_journal(dataset.name, root).publications)
    assert switches > len(list_copies(store)) + 5, "old copies are deleted meanwhile"


@pytest.mark.parametrize("fault", ["unavailable", "lost request", "lost answer"])
def test_failures_that_pass_do_no_harm(
    fault: Fault,
    s3: S3,
    store: Store,
    two_runs: None,
    dataset: DatasetRecord,
    root: Path,
    cache: Path,
) -> None:
    copy_published(dataset.name, root, store)
    publish("run-1", root)
    failed = []

    def fail(number: int) -> Fault:
        if number % 4:
            return "none"
        failed.append(number)
        return fault

    s3.before = fail
    copy_published(dataset.name, root, store)
    assert read_everything(dataset.name, store.address, cache) == "run-1"
    assert len(failed) > 10


def test_a_large_file_is_stored_in_parts_and_read_back(
    s3: S3, store: Store, tmp_path: Path
) -> None:
    """As codes of tens of thousands of images are."""
    path = tmp_path / "large"
    path.write_bytes(random.Random(0).randbytes(12_000_000))  # noqa: S311 - no secret
    before = s3.requests
    put_file(path, "large", store)
    assert s3.requests - before == 5, "begun, three parts, completed"
    assert list_objects("", store) == {"large": path.stat().st_size}
    before = s3.requests
    file = describe_file(tmp_path, "large")
    assert is_stored(file, "large", store)
    assert s3.requests - before == 2, "read in two pieces"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    put_file(path, "large", store)
    assert not is_stored(file, "large", store)


def test_a_run_publishes_to_the_store_and_tells_nobody_its_credentials(
    s3: S3, store: Store, root: Path, tmp_path: Path, cache: Path
) -> None:
    """Past a proxy that leads nowhere."""
    home = tmp_path / "prefect"
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")},
        **dict.fromkeys(("http_proxy", "HTTP_PROXY", "all_proxy"), "http://127.0.0.1:9"),
        "PREFECT_HOME": str(home),
    }
    command = [sys.executable, "-m", "flows.retrain", *FLAGS]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    run = published_run(SAMPLE.dataset, root)
    assert run
    assert ["✓", "store"] in [line.split()[:2] for line in done.stderr.splitlines()]
    assert read_everything(SAMPLE.dataset, store.address, cache) == run
    files = [path for folder in (root, home) for path in folder.rglob("*") if path.is_file()]
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]
    assert SECRET not in done.stdout + done.stderr


def test_a_store_that_is_away_leaves_the_run_published_here(
    s3: S3, store: Store, two_runs: None, dataset: DatasetRecord, root: Path, cache: Path
) -> None:
    s3.before = lambda number: "unavailable"
    with (
        mock.patch.dict("tasks.codes.remote.address.RETRY", max_retries=1),
        pytest.raises(Exception, match=r"did not answer: .*503.*The next run copies it") as raised,
    ):
        copy_published(dataset.name, root, configured_store())
    assert "\n" not in str(raised.value)
    assert published_run(dataset.name, root) == "run-2"
    s3.leave_in_peace()
    with pytest.raises(CodesError, match="No run of the dataset"):
        open_published(dataset.name, store.address)
    copy_published(dataset.name, root, store)
    assert read_everything(dataset.name, store.address, cache) == "run-2"
    found = read_pointer(dataset.name, store)
    assert found is not None
    assert found.pointer.superseded == ()
