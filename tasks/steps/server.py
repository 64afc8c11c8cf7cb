"""A Prefect server: waiting until it answers, and what its failures mean, in one line."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
from prefect.client.orchestration import get_client
from prefect.settings import get_current_settings

from tasks.core.errors import StepError
from tasks.core.settings import PREFIX

logger = logging.getLogger(__name__)

POLL_SECONDS, REMIND_SECONDS = 0.05, 15


def wait_for_server(
    name: str, find_url: Callable[[], str], seconds: float, check_process: Callable[[], object]
) -> None:
    """Wait until a server that was just started answers; say now and then what is waited for.

    Args:
        name: for messages: "temporary Prefect server".
        find_url: returns the address of its API, which may change while it starts.
        check_process: raises an error if the server's process has ended.

    Raises:
        StepError: it did not answer in time.
    """
    started = reminded = time.monotonic()
    with httpx.Client(trust_env=False) as client:  # no proxy leads to this machine
        while not _answers(client, find_url()):
            check_process()
            now = time.monotonic()
            if now - started > seconds:
                raise StepError(
                    f"The {name} has not answered for {seconds:g} s: try again when the machine is "
                    f"less busy, set {PREFIX}SERVER_SECONDS higher, or name a running server with "
                    "PREFECT_API_URL"
                )
            if now - reminded >= REMIND_SECONDS:
                reminded = now
                logger.info(
                    "Waiting for the %s, which has been starting for %.0f s", name, now - started
                )
            time.sleep(POLL_SECONDS)


def _answers(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(f"{url}/health").is_success
    except httpx.TransportError:
        return False


def check_server() -> None:
    """Ask the server that is configured for its version.

    Raises:
        StepError: it cannot be reached, refuses the password, or has another version.
    """
    with server_errors_explained(), get_client(sync_client=True) as client:
        client.raise_for_api_version_mismatch_once()


@contextmanager
def server_errors_explained() -> Iterator[None]:
    """Raise in one line what went wrong between this process and the Prefect server.

    Raises:
        StepError: names the server, and the settings that name it.
    """
    try:
        yield
    except (httpx.HTTPError, RuntimeError) as error:
        if text := explain(error):
            raise StepError(text) from error
        raise


def explain(error: BaseException) -> str | None:
    """What a failure of Prefect's client means; None if it is another error."""
    url = httpx.URL(get_current_settings().api.url or "").copy_with(userinfo=b"")  # no password
    server = f"the Prefect server at {url}, which PREFECT_API_URL names"
    cause = error
    while cause.__cause__ and not isinstance(cause, httpx.HTTPError):
        cause = cause.__cause__
    if isinstance(cause, httpx.HTTPStatusError):
        return _explain_status(cause.response.status_code, server)
    if isinstance(cause, httpx.TimeoutException):
        return (
            f"No answer in time from {server}: it may be busy; try again, or set "
            f"PREFECT_API_REQUEST_TIMEOUT higher ({get_current_settings().api.request_timeout:g} s)"
        )
    if isinstance(cause, httpx.HTTPError):
        return f"Could not reach {server} ({cause}): start it, or unset PREFECT_API_URL"
    if isinstance(error, RuntimeError) and "incompatible versions" in str(error):
        return f"{error} This is {server}"
    return None


def _explain_status(status: int, server: str) -> str:
    if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return (
            f"Access denied ({status}) by {server}: set its password with PREFECT_API_AUTH_STRING "
            "(user:password), or its key with PREFECT_API_KEY"
        )
    if status == httpx.codes.NOT_FOUND:
        return (
            f"Not found (404): the address of {server}, must end with /api and lead to a Prefect 3 "
            "server"
        )
    return f"An answer with status {status} from {server}: see the log of that server"
