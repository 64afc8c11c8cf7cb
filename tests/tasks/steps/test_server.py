import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from prefect.settings import (
    PREFECT_API_REQUEST_TIMEOUT,
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    temporary_settings,
)

from tasks.core.errors import StepError
from tasks.steps.server import check_server, server_errors_explained
from tests.waiting import SOON

NOWHERE = "http://127.0.0.1:9/api"


@contextmanager
def answering(status: int, body: str, wait: threading.Event | None = None) -> Iterator[str]:
    """A server that gives everyone the same answer; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if wait:
                wait.wait()
                return  # the client has given up
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *arguments: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/api"
        finally:
            if wait:
                wait.set()
            server.shutdown()
            thread.join()


def refusal(url: str, seconds: float = SOON) -> str:
    """Why a server is not used that has so many seconds to answer."""
    settings = {PREFECT_API_URL: url, PREFECT_CLIENT_MAX_RETRIES: 0}
    with (
        temporary_settings({**settings, PREFECT_API_REQUEST_TIMEOUT: seconds}),
        pytest.raises(StepError) as error,
    ):
        check_server()
    text = str(error.value)
    assert "\n" not in text
    assert f"the Prefect server at {url}, which PREFECT_API_URL names" in text
    return text


def test_a_server_that_is_off_is_named() -> None:
    assert refusal(NOWHERE).startswith("Could not reach the Prefect server")


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (401, "{}", "PREFECT_API_AUTH_STRING"),
        (403, "{}", "PREFECT_API_AUTH_STRING"),
        (404, "{}", "must end with /api"),
        (503, "{}", "status 503"),
        (200, '"2.20.4"', "Found incompatible versions: client: 3."),
    ],
)
def test_a_server_that_cannot_be_used_is_named_with_what_to_do(
    status: int, body: str, reason: str
) -> None:
    with answering(status, body) as url:
        assert reason in refusal(url)


def test_a_server_that_is_too_busy_to_answer_is_named() -> None:
    with answering(200, '"3.8.8"', threading.Event()) as url:
        text = refusal(url, seconds=0.1)
    assert text.startswith("No answer in time")
    assert "PREFECT_API_REQUEST_TIMEOUT higher (0.1 s)" in text


def test_passwords_in_the_address_are_not_shown() -> None:
    with (
        temporary_settings({PREFECT_API_URL: "http://me:secret@127.0.0.1:9/api"}),
        pytest.raises(StepError) as error,
        server_errors_explained(),
    ):
        raise httpx.ConnectError("refused")
    assert "secret" not in str(error.value)


def test_errors_of_ours_are_left_as_they_are() -> None:
    with pytest.raises(RuntimeError, match="ours"), server_errors_explained():
        raise RuntimeError("ours")
