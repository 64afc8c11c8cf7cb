"""A server of the S3 protocol on loopback: moto's, in a thread, and faults between it and clients.

Requests are handled one at a time: moto itself looks at a condition and stores the object in two
steps, between which another request could come.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from socket import SHUT_RDWR
from typing import Any, Literal

import httpx
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

Fault = Literal["none", "unavailable", "lost request", "lost answer"]
SECRET = "5ecret/of-this-Test"  # noqa: S105 - not of anything
BUCKET = "results"


class S3:
    """The server; what happens around a request can be replaced."""

    def __init__(self) -> None:
        self.requests = 0
        self.before: Callable[[int], Fault] = lambda number: "none"
        """Called with the number of a request before it is handled."""
        self.after: Callable[[int], None] = lambda number: None
        """The same, when it was handled and is not answered yet."""
        self._moto = DomainDispatcherApplication(create_backend_app)
        self.one_at_a_time = threading.Lock()
        self.port = 0

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        with self.one_at_a_time:
            self.requests += 1
            number = self.requests
            fault = self.before(number)
            if fault == "unavailable":
                start_response("503 Service Unavailable", [("Content-Length", "0")])
                return []
            if fault != "lost request":
                answer = list(self._moto(environ, start_response))
                self.after(number)
                if fault == "none":
                    return answer
            environ["werkzeug.socket"].shutdown(SHUT_RDWR)
            raise ConnectionResetError

    def leave_in_peace(self) -> None:
        self.before, self.after = lambda number: "none", lambda number: None

    @property
    def environment(self) -> dict[str, str]:
        """What clients need."""
        return {
            "AWS_ACCESS_KEY_ID": "access",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ALLOW_HTTP": "true",
        }


@contextmanager
def serve_s3() -> Iterator[S3]:
    """Serve an empty bucket."""
    s3 = S3()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it logs each request
    server = make_server("127.0.0.1", 0, s3, threaded=True)
    s3.port = server.port
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    before = dict(os.environ)
    os.environ.update(s3.environment)
    try:
        with httpx.Client(trust_env=False, timeout=60) as client:
            client.put(f"http://127.0.0.1:{s3.port}/{BUCKET}").raise_for_status()
        yield s3
    finally:
        os.environ.clear()
        os.environ.update(before)
        server.shutdown()
        thread.join()
