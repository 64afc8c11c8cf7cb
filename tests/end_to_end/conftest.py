"""A published run of both models, made once; its readers change nothing."""

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tasks.codes.published import PublishedRun, open_published
from tasks.core.records import SPLITS, DatasetRecord
from tasks.core.storage import describe_file
from tasks.encoding.encoder import encode_split
from tasks.encoding.export import obtain_encoder, write_arrays
from tasks.evaluation.baselines import obtain_baselines
from tasks.models.architectures import DEEP
from tasks.models.obtain import obtain_model
from tasks.models.spec import choose_recipe
from tasks.models.store import ModelRecord
from tasks.parameters.retrain import Parameters
from tasks.reports.figures.drawing import draw_figures
from tasks.reports.report import render_files
from tasks.runs.building import building_folder
from tasks.runs.manifest import RunRecord
from tasks.runs.publication import complete_run
from tests.compilation import VARIABLE
from tests.conftest import (
    BASELINES,
    CONTAINER_TESTS,
    END_TO_END,
    GATE,
    METRICS,
    SAMPLE,
    SERVED_TESTS,
    SPEC,
    group_of,
)
from tests.end_to_end.containers import (
    Engine,
    Stack,
    build_image,
    start_engine,
    start_stack,
)
from tests.end_to_end.serving import Served, serve

if TYPE_CHECKING:
    from playwright.sync_api import Browser


LONG_FILES = ("rescue", "memory", "environment", "faults", "flows", "postgresql")
START = (
    *SERVED_TESTS,
    *CONTAINER_TESTS,
    *(f"{END_TO_END}{name}.py" for name in LONG_FILES),
)
"""The order of the files: processes begin with a group each, and short files fill up."""


def pytest_sessionstart() -> None:
    """Whoever runs the project compiles: so do most processes that these tests start."""
    os.environ.pop(VARIABLE, None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with what takes longest, so that no process waits for it at the end."""

    def place(item: pytest.Item) -> int:
        file = item.nodeid.partition("::")[0]
        return START.index(file) if file in START else len(START)

    items.sort(key=place)


@pytest.fixture(autouse=True)
def unsynced() -> None:
    """Here files are written to the disk, unlike in unit tests."""


DEEP_SPEC = SPEC.model_copy(
    update={
        "architecture": DEEP,
        "recipe": choose_recipe("default", DEEP, epochs=2, batch_size=100),
    }
)


def run_record(
    run: str, dataset: DatasetRecord, models: tuple[ModelRecord, ...], **settings: object
) -> RunRecord:
    parameters = Parameters.model_validate({"data": SAMPLE, "gate": GATE, "run": settings})
    return RunRecord(
        run=run,
        started=datetime.now(UTC),
        parameters=parameters.model_dump(mode="json"),
        dataset=dataset,
        baselines=BASELINES,
        models=models,
        metrics={model.name: METRICS for model in models},
    )


@pytest.fixture(scope="session")
def artifacts(
    trained: tuple[DatasetRecord, ModelRecord, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """An artifacts folder with a published run of the shallow and the deep model."""
    dataset, shallow, source = trained
    root = tmp_path_factory.mktemp("work") / "artifacts"
    shutil.copytree(source, root)
    models = (shallow, obtain_model(dataset, DEEP_SPEC, "cpu", root, lambda progress: None))
    folder = building_folder("run-1", root)
    write_files(folder, dataset, list(models), root)
    record = run_record("run-1", dataset, models)
    obtain_baselines(dataset, {32}, root)
    codes = {split: describe_file(folder, f"codes/{split}.h5") for split in SPLITS}
    figures = draw_figures(dataset, list(models), record.metrics, codes, folder, root)
    complete_run(record.model_copy(update={"figures": tuple(figures)}), root, render_files)
    return root


def write_files(
    folder: Path, dataset: DatasetRecord, models: list[ModelRecord], root: Path
) -> None:
    """Write what the steps of a run derive from its models, except figures."""
    for split in SPLITS:
        encode_split(split, dataset, models, folder / "codes" / f"{split}.h5", root)
        write_arrays(split, models, folder)
    for model in models:
        obtain_encoder(model, dataset, folder, root)


@pytest.fixture
def published(artifacts: Path) -> PublishedRun:
    """That run."""
    return open_published(SAMPLE.dataset, artifacts)


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    """Debian's Chromium, without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=[
                *("--no-sandbox", "--disable-gpu", "--disable-background-networking"),
                *("--disable-component-update", "--disable-sync"),
            ],
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The variable with which many short runs compile once."""
    return {VARIABLE: str(tmp_path_factory.mktemp("compiled"))}


@pytest.fixture(scope="session")
def served(compiled: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """`make serve`, on SQLite."""
    with serve(tmp_path_factory.mktemp("served"), **compiled) as served:
        yield served
    assert served.log.read_text().endswith("Stopped\n")


class Builds(NamedTuple):
    """What is made in the background."""

    engine: Future[Engine]
    images: dict[str, Future[str]]
    """By device, of those that a test needs."""


@pytest.fixture(scope="session")
def builds(request: pytest.FixtureRequest) -> Iterator[Builds]:
    """A Docker engine, then our images, one after the other: it takes minutes, mostly waiting."""
    environment = {**os.environ}  # before a test changes it
    devices = [device for device in ("cpu", "gpu") if is_needed(f"{device}_image", request)]
    with ExitStack() as stack, ThreadPoolExecutor(1) as executor:
        engine = executor.submit(lambda: stack.enter_context(start_engine(environment)))
        images = {
            device: executor.submit(lambda name: build_image(engine.result(), name), device)
            for device in devices
        }
        yield Builds(engine, images)
        executor.shutdown(cancel_futures=True)


def is_needed(fixture: str, request: pytest.FixtureRequest) -> bool:
    """Whether one of the tests that will run uses the fixture."""
    return any(fixture in getattr(item, "fixturenames", ()) for item in request.session.items)


@pytest.fixture(autouse=True)
def early_builds(request: pytest.FixtureRequest) -> None:
    """Begin with the first test of the process that will need them, not with the first container.

    `builds` starts its own Docker engine: no other process may.
    """
    alone = "PYTEST_XDIST_WORKER" not in os.environ
    if (alone or group_of(request.node.nodeid) == "containers") and is_needed("builds", request):
        request.getfixturevalue("builds")


@pytest.fixture(scope="session")
def engine(builds: Builds) -> Engine:
    return builds.engine.result()


@pytest.fixture(scope="session")
def cpu_image(builds: Builds) -> str:
    return builds.images["cpu"].result()


@pytest.fixture(scope="session")
def gpu_image(builds: Builds) -> str:
    return builds.images["gpu"].result()


@pytest.fixture(scope="session")
def stack(
    engine: Engine, cpu_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    with start_stack(engine, tmp_path_factory.mktemp("stack")) as stack:
        yield stack
