"""What docker/compose.yaml says, as text: no engine is needed."""

import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from flows.server.supervision import CODE

COMPOSE: dict[str, Any] = yaml.safe_load((CODE / "docker/compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]


@pytest.mark.parametrize("service", ["server", "init", "worker"])
def test_no_proxy_stands_between_the_containers(service: str) -> None:
    environment = SERVICES[service]["environment"]
    assert environment["NO_PROXY"] == environment["no_proxy"]
    direct = set(environment["NO_PROXY"].split(","))
    assert direct >= {"localhost", "127.0.0.1", "::1", "server", "database"}


def test_nor_between_the_server_and_a_run_in_a_container_of_its_own() -> None:
    deployments = yaml.safe_load((CODE / "prefect.yaml").read_text())["deployments"]
    (variables, gpu) = (
        deployment["work_pool"]["job_variables"]["env"]
        for deployment in deployments
        if deployment["name"].startswith("container")
    )
    assert variables == gpu
    assert variables["NO_PROXY"] == variables["no_proxy"] == "localhost,127.0.0.1,::1,server"


@pytest.mark.parametrize("service", ["server", "worker"])
def test_a_health_check_ignores_proxies(service: str) -> None:
    class Healthy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            return

    test, *command = SERVICES[service]["healthcheck"]["test"]
    assert (test, command[0]) == ("CMD", "python")
    with HTTPServer(("127.0.0.1", 0), Healthy) as server:
        thread = Thread(target=server.handle_request)
        thread.start()
        proxies = dict.fromkeys(("http_proxy", "HTTP_PROXY"), "http://127.0.0.1:9")
        url = f"http://127.0.0.1:{server.server_port}/health"
        subprocess.run(
            [sys.executable, *command[1:]],
            env={**os.environ, **proxies, "HEALTH_URL": url, "NO_PROXY": "", "no_proxy": ""},
            check=True,
        )
        thread.join()


def test_messages_name_an_address_that_a_browser_can_open() -> None:
    for service in ("server", "init", "worker"):
        environment = SERVICES[service]["environment"]
        assert environment["PREFECT_UI_URL"] == "http://127.0.0.1:${PORT:-4200}"


@pytest.mark.parametrize(
    ("engine", "chosen", "expected"),
    [("echo 1", "", ("1", "1")), ("echo 2", "", ("2", "2")), ("echo 2", "8", ("2", "8"))],
)
def test_no_container_asks_for_more_cores_than_the_engine_has(
    engine: str, chosen: str, expected: tuple[str, str], tmp_path: Path
) -> None:
    """Also in folders and files whose names have spaces."""
    docker = tmp_path / "docker"
    docker.write_text(f"#!/bin/sh\n{engine}\n")
    docker.chmod(0o700)
    words = [f"DOCKER={docker}", f"DATA={tmp_path}/my images", f"PASSWORDS={tmp_path}/my passwords"]
    show = "COMPOSE=sh -c 'echo \"$$CORES|$$CPUS|$$DATA|$$4\"' sh"
    done = subprocess.run(
        ["make", "--no-print-directory", "--silent", "down", *words, show],
        cwd=CODE,
        env={**os.environ, "CPUS": chosen},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    shown = done.stdout.strip().split("|")
    assert shown == [*expected, f"{tmp_path}/my images", f"{tmp_path}/my passwords"]
    assert (tmp_path / "my passwords").stat().st_mode & 0o777 == 0o600
    assert not list(tmp_path.glob("*.new"))
