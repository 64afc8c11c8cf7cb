"""A published run of both models, made once; its readers change nothing."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

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
from tasks.reports.figures import draw_figures
from tasks.reports.report import render_files
from tasks.runs.building import building_folder
from tasks.runs.manifest import RunRecord
from tasks.runs.publication import complete_run
from tests.conftest import BASELINES, GATE, METRICS, SAMPLE, SPEC
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
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """`make serve`, on SQLite."""
    with serve(tmp_path_factory.mktemp("served")) as served:
        yield served
    assert served.log.read_text().endswith("Stopped\n")


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    with start_engine() as engine:
        yield engine


@pytest.fixture(scope="session")
def cpu_image(engine: Engine) -> str:
    return build_image(engine, "cpu")


@pytest.fixture(scope="session")
def gpu_image(engine: Engine) -> str:
    return build_image(engine, "gpu")


@pytest.fixture(scope="session")
def stack(
    engine: Engine, cpu_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    with start_stack(engine, tmp_path_factory.mktemp("stack")) as stack:
        yield stack
