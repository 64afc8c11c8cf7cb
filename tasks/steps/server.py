"""A Prefect server: waiting until it answers, what its failures mean, and what it says of a run.

While a run is under way, its process tells the server that it is alive, and ends where it is not
wanted: where the run was deleted or cancelled, or counts as dead and may have been started again.
It then ends at once and reports nothing, as a report would strike the next attempt; no result is
lost, as a process may be killed at any point. Where the server is away, the run goes on.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.settings import get_current_settings

from tasks.core.errors import StepError
from tasks.core.settings import PREFIX, read_settings

logger = logging.getLogger(__name__)

POLL_SECONDS, REMIND_SECONDS = 0.05, 15
BEAT = "autoencoder-flow.beat"
"""Label of a run: a number that grows as long as its process lives (`flows/server/rescue.py`)."""
TAG = "autoencoder-flow"
"""Of our runs: others may use the same names for their flows, on the same server."""
IN_PROGRESS = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
DECIDE_UNTIL = "autoencoder-flow.decide-until"
"""Label of a run that waits for a person: when it is refused without an answer, in ISO format."""
ANSWER_SECONDS = 10
"""How long the server may take to answer."""


def wait_for_server(
    name: str, url: str, seconds: float, check_process: Callable[[], object]
) -> None:
    """Wait until a server that was just started answers; say now and then what is waited for.

    Args:
        name: for messages: "temporary Prefect server".
        url: the address of its API.
        check_process: raises an error if the server's process has ended.

    Raises:
        StepError: it did not answer in time.
    """
    started = reminded = time.monotonic()
    with httpx.Client(trust_env=False) as client:  # no proxy leads to this machine
        while not _answers(client, url):
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


@contextmanager
def watched() -> Iterator[None]:
    """Watch the flow run that is under way, in a thread."""
    run, seconds = _own_run(), read_settings().beat_seconds
    ended = threading.Event()

    def watch() -> None:
        beats, was_cancelled = 0, False
        while not ended.wait(seconds):
            beats += 1
            with suppress_absence(), _client() as client:
                stored = _read(client, run.id)
                if ended.is_set():
                    return
                # A worker that lives ends a cancelled run in order, within seconds.
                is_cancelled = stored is not None and stored.state_type == StateType.CANCELLING
                if (is_cancelled and was_cancelled) or not (
                    is_cancelled or _is_current(stored, run)
                ):
                    _end(run, stored)
                was_cancelled = is_cancelled
                client.update_flow_run_labels(run.id, {BEAT: beats})

    threading.Thread(target=copy_context().run, args=(watch,), name="watch", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def end_if_unwanted() -> None:
    """End this process if its run is not wanted any more; before something is published."""
    run = _own_run()
    with suppress_absence(), _client() as client:
        stored = _read(client, run.id)
        if not _is_current(stored, run):
            _end(run, stored)


@contextmanager
def suppress_absence() -> Iterator[None]:
    """Go on where the server does not answer, or not properly."""
    try:
        yield
    except (httpx.HTTPError, PrefectException) as error:
        logger.debug("The Prefect server was not asked about the run: %s", error)


def _own_run() -> FlowRun:
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise RuntimeError("A run can be watched in a flow only")
    return context.flow_run


def _client() -> SyncPrefectClient:
    return get_client(httpx_settings={"timeout": ANSWER_SECONDS}, sync_client=True)


def _read(client: SyncPrefectClient, run: UUID) -> FlowRun | None:
    """The run as the server has it, or None if it was deleted."""
    try:
        return client.read_flow_run(run)
    except ObjectNotFound:
        return None


def _is_current(stored: FlowRun | None, run: FlowRun) -> bool:
    """Whether the server knows this attempt, and no later one, as the one that is running.

    A run at a terminal has no later one: it goes on if it counted as dead, and then ends as usual.
    """
    if stored is None or stored.state is None or run.state is None:
        return False
    if run.deployment_id is None and stored.state_type == StateType.CRASHED:
        return True
    return stored.state.id == run.state.id


def _end(run: FlowRun, stored: FlowRun | None) -> None:
    """End the process without a word to the server.

    A worker would report a crash of any other exit code, which would strike the next attempt.
    """
    found = "deleted" if stored is None else f"{stored.state_name} for the server"
    logger.warning("This attempt ends: the run is %s", found)
    logging.shutdown()
    os._exit(0 if run.deployment_id else 1)
