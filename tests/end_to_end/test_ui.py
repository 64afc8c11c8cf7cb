"""What a person does in Prefect's UI, in a real browser."""

import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import TYPE_CHECKING, Any

import pytest

from tasks.runs.building import ATTEMPT_FOLDER
from tasks.runs.manifest import read_manifest
from tests.conftest import SAMPLE, SAMPLE_FOLDER
from tests.end_to_end.serving import RUN, Served, ask_until, is_running, long_run
from tests.fetching import fetch
from tests.waiting import SOON, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def page(served: Served, browser: "Browser") -> Iterator["Page"]:
    """A page whose reader has signed in; none of what is opened on it asks anybody else."""
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(served.address)
    page.locator("input").first.fill(served.secret)
    page.keyboard.press("Enter")
    page.wait_for_url("**/dashboard**")
    page.goto("about:blank")  # a dashboard takes a third of a core
    yield page
    page.close()
    ours = (served.address, "data:", "blob:")
    assert asked
    assert not [url for url in asked if not url.startswith(ours)]


@contextmanager
def forwarded(served: Served) -> Iterator[str]:
    """The server's address through another port, as with a tunnel."""
    target = ("127.0.0.1", int(served.address.rpartition(":")[2]))

    def copy(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection(target) as server:
                back = threading.Thread(target=copy, args=(server, self.request))
                back.start()
                copy(self.request, server)
                back.join()

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as tunnel:
        tunnel.daemon_threads = True
        thread = threading.Thread(target=tunnel.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{tunnel.server_address[1]}"
        tunnel.shutdown()
        thread.join()


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_both_uis_work_through_another_port(
    version: str, served: Served, browser: "Browser", tmp_path: Path
) -> None:
    with forwarded(served) as address, browser.new_context() as context:
        context.add_cookies([{"name": "prefect_ui_version", "value": version, "url": address}])
        page = context.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        page.locator("input").first.fill(served.secret)
        page.keyboard.press("Enter")
        page.wait_for_url(re.compile(r"^[^?]*/dashboard"))  # not ?redirect=/dashboard
        assert ("/v2/" in page.url) == (version == "v2")
        page.goto(page.url.replace("/dashboard", "/deployments"))
        try:
            page.get_by_text("on-publication").first.wait_for(timeout=120_000)
        finally:
            page.screenshot(path=tmp_path / f"{version}.png")
    assert any(url.startswith(f"{address}/api/") for url in asked)
    assert not [url for url in asked if url.startswith(served.address)]


def field(page: "Page", title: str, tag: str = "input") -> "Locator":
    """The form's field with this title."""
    return page.get_by_text(title).first.locator(f"xpath=following::{tag}[1]")


APPROVED = {**RUN, "data": {**RUN["data"], "dataset": "approved"}}
"""A run of a dataset that no other test publishes."""
SIXTEEN = {"code_size": 16}


def models(run: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = run["parameters"].get("models", {})
    return found


def test_a_person_changes_a_parameter_submits_and_reads_the_report(
    served: Served, page: "Page", tmp_path: Path
) -> None:
    deployment = served.deployment("retrain/weekly")["id"]
    page.goto(f"{served.address}/deployments/deployment/{deployment}/run")
    field(page, "Dataset (Optional)", "textarea").fill(SAMPLE.dataset)
    page.get_by_role("button", name="Folder of IDX files", exact=True).click()
    field(page, "Holds train-images", "textarea").fill(str(SAMPLE_FOLDER))
    field(page, "Code size").fill("16")
    field(page, "Shallow epochs").fill("3")
    field(page, "Deep epochs").fill("3")
    page.get_by_text("Publish anyway").first.locator("xpath=following::label[1]").click()
    page.screenshot(path=tmp_path / "form.png", full_page=True)
    page.get_by_role("button", name="Submit").click()
    page.wait_for_url("**tab=Runs")

    def submitted() -> str | None:
        found = served.find("flow_runs")
        return next((run["id"] for run in found if SIXTEEN.items() <= models(run).items()), None)

    run = ask_until(submitted, served.tail)
    page.goto(f"{served.address}/runs/flow-run/{run}")
    page.get_by_text("Published", exact=True).first.wait_for(timeout=300_000)
    page.screenshot(path=tmp_path / "run.png")
    assert (served.artifacts / "published" / SAMPLE.dataset).resolve().name == run
    artifacts = served.find("artifacts", flow_runs={"id": {"any_": [run]}}, limit=100)
    keys = {found["key"]: found["id"] for found in artifacts}
    page.goto(f"{served.address}/artifacts/artifact/{keys[f'report-{SAMPLE.dataset}']}")
    page.get_by_text("loss (nats per pixel)").first.wait_for()
    figures = page.locator("img[src^='data:image/']")
    figures.first.wait_for()
    assert figures.count() == 15
    assert not page.locator("img[src*='figures/']").count(), "the server has no such files"
    loaded = "images => images.every(image => image.complete && image.naturalWidth > 300)"
    assert figures.evaluate_all(loaded)
    page.screenshot(path=tmp_path / "report.png", full_page=True)


def test_a_failed_run_is_retried_from_the_command_line_and_the_ui(
    served: Served, page: "Page"
) -> None:
    training = {**RUN["training"], "seed": 21}
    dataset = served.artifacts / fetch(SAMPLE, served.artifacts).folder
    stone = dataset / "baselines.json"
    stone.unlink(missing_ok=True)
    stone.mkdir()
    run = served.start({**RUN, "training": training})
    served.wait_for(run, "Failed")
    served.wait_for_step(run, "Export the encoders")
    done = [step["name"] for step in served.steps(run) if step["state_name"] == "Completed"]
    assert done[-1] == "Export the encoders"
    retry = [sys.executable, "-m", "prefect", "flow-run", "retry", run]
    subprocess.run(retry, check=True, env=served.environment)
    ask_until(lambda: served.ended(run, attempt=2), served.tail)
    assert stone.is_dir()
    stone.rmdir()

    page.goto(f"{served.address}/runs/flow-run/{run}")
    page.get_by_role("button", name="Retry").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Retry").click()
    served.wait_for(run, "Published")
    served.wait_for_message(run, "The deep model exists")
    served.wait_for_step(run, "Publish the run if it is good enough")
    attempts = served.steps(run)
    for attempt in (2, 3):
        again = {
            step["name"]: step["total_run_time"]
            for step in attempts
            if step["flow_run_run_count"] == attempt
        }
        redone = {name: again[name] for name in done}
        assert max(redone.values()) < 1, redone


def test_a_cancelled_run_leaves_a_checkpoint_and_nothing_half_written(
    served: Served, page: "Page"
) -> None:
    parameters = long_run(seed=22)
    run = served.start(parameters)
    page.goto(f"{served.address}/runs/flow-run/{run}")  # it takes a while, which a training may not
    served.wait_until_training(run)
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Confirm").click()
    served.wait_for(run, "Cancelled", SOON)
    checkpoints = list(served.artifacts.glob("models/*/checkpoints/*"))
    assert checkpoints
    assert not [path for path in checkpoints if path.name.startswith(".")]
    made = list(served.artifacts.glob("runs/.*/*"))
    assert {path.name for path in made} <= {ATTEMPT_FOLDER}, "results of no step"

    again = served.start(parameters)
    served.wait_for(again, "Published")
    served.wait_for_message(again, "Resuming the deep model")
    wait_until(lambda: (served.artifacts / "neighbors" / again).exists(), served.tail)


@pytest.fixture
def waiting(served: Served) -> Callable[..., str]:
    """Start a run that is worse than the published one, and wait until it is suspended."""

    def start(seed: int, **settings: str) -> str:
        training = {**RUN["training"], "seed": seed, "shallow_epochs": 25}
        env = {"AUTOENCODER_APPROVAL_TOLERANCE": "0", **settings}
        run = served.start(
            {**APPROVED, "training": training, "run": {"new_basis": True}},
            job_variables={"env": env},
        )
        served.wait_for(run, "Suspended")
        return run

    first = served.start(APPROVED)
    served.wait_for(first, "Published", or_else="Unchanged")
    return start


def test_a_person_approves_a_run_that_is_slightly_worse(
    served: Served, page: "Page", waiting: Callable[..., str], tmp_path: Path
) -> None:
    run = waiting(seed=31)
    folder = served.artifacts / "runs" / run
    ask_until(lambda: not is_running(run), served.tail)
    assert not folder.exists()
    page.goto(f"{served.address}/runs/flow-run/{run}")
    page.get_by_role("button", name="Resume").first.click()
    form = page.get_by_role("dialog")
    form.get_by_text("worse than the best published").first.wait_for()
    form.get_by_text("Publish this run").first.locator("xpath=following::label[1]").click()
    form.get_by_text("Your name").first.locator("xpath=following::textarea[1]").fill("Ada")
    page.screenshot(path=tmp_path / "resume.png")
    form.get_by_role("button", name="Submit").click()
    served.wait_for(run, "Published")
    assert (served.artifacts / "published" / "approved").resolve() == folder.resolve()
    assert read_manifest(folder).verdict.reason.endswith("Ada approved it.")
    trained = [step for step in served.steps(run) if step["name"].startswith("Train")]
    assert len(trained) == 2, "only before it was suspended"


def test_a_run_about_which_nobody_decides_is_refused(
    served: Served, waiting: Callable[..., str]
) -> None:
    run = waiting(seed=32, AUTOENCODER_APPROVAL_HOURS="0.0001")
    served.wait_for(run, "Refused")
    reason = read_manifest(served.artifacts / "runs" / run).verdict.reason
    assert "Nobody approved it until" in reason
    assert (served.artifacts / "published" / "approved").resolve().name != run
