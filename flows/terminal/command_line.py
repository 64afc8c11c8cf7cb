"""Flows as commands: what is shown meanwhile, exit codes, signals."""

import signal
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from io import TextIOWrapper
from typing import Any, Generic, NamedTuple, NoReturn, TypeVar

from prefect import Flow, tags
from pydantic import BaseModel
from rich.console import Console
from rich.text import Text

from flows.terminal.display import display
from flows.terminal.failures import EXPECTED_ERRORS
from flows.terminal.flags import parse
from flows.terminal.run_log import RunLog
from flows.terminal.temporary_server import temporary_server
from tasks.core.errors import RefusedError, readable
from tasks.core.settings import read_settings
from tasks.steps.server import TAG, server_errors_explained

SUCCESS, FAILURE, REFUSED = 0, 1, 3
INTERRUPTED = 128 + signal.SIGINT

P = TypeVar("P", bound=BaseModel)
R = TypeVar("R")


class Imports(NamedTuple, Generic[P]):
    """Modules that a flow imports later, and that are slow to import."""

    modules: tuple[str, ...] = ()
    are_needed: Callable[[P], bool] = lambda _parameters: True
    """Whether the flow will probably import them, by its parameters; called once the temporary
    server has started, so it should take milliseconds."""


def run(
    flow: Flow[..., R],
    parameters: type[P],
    arguments: list[str],
    print_result: Callable[[Any], None],
    stages: Callable[[P], tuple[str, ...]] = lambda _parameters: (),
    examples: tuple[tuple[str, str], ...] = (),
    imports: Imports[P] = Imports(),
) -> int:
    """Run a flow in this process, print its result and return the exit code.

    Args:
        parameters: as in `parse`.
        print_result: takes what the flow returns, or the result that it refuses.
        stages: of the steps that people wait for with such parameters, in their order.
        examples: as in `parse`.
    """
    _allow_all_letters()
    values = parse(flow, parameters, arguments, examples)
    signal.signal(signal.SIGTERM, exit_on_signal)
    log: RunLog | None = None
    try:
        settings = read_settings()  # before a module reads them in a thread
        with (
            display(stages(values)) as log,
            temporary_server(settings.server_seconds, _importer(imports, values)),
            server_errors_explained(),
            tags(TAG),
        ):
            result = flow(**dict(values))
    except RefusedError as error:
        print_result(error.result)
        return REFUSED
    except EXPECTED_ERRORS as error:
        _print_failure("Failed", readable(str(error)), "red", log)
        return FAILURE
    except KeyboardInterrupt:
        _print_failure("Interrupted", "run it again to resume", "yellow", log)
        return INTERRUPTED
    print_result(result)
    return SUCCESS


def _allow_all_letters() -> None:
    """Print letters that the encoding of stdout lacks as escapes."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _importer(imports: Imports[P], values: P) -> Callable[[], None]:
    """A function that starts the imports that the flow will probably need."""
    importing = threading.Thread(target=import_ahead, args=(imports.modules,), daemon=True)

    def start() -> None:
        if imports.are_needed(values):
            importing.start()

    return start


def _print_failure(word: str, text: str, style: str, log: RunLog | None) -> None:
    """Print one line on how the command ended, and one that names its log, if there is one."""
    console = Console(stderr=True, highlight=False)
    console.print(Text.assemble((f"{word}: ", f"bold {style}"), text), soft_wrap=True)
    if log and log.path:
        console.print("Log:", str(log.path), soft_wrap=True, markup=False)


def exit_on_signal(number: int, _frame: object) -> NoReturn:
    """Raise SystemExit, so that a training stores its state and the temporary server stops."""
    raise SystemExit(128 + number)


def import_ahead(modules: tuple[str, ...]) -> None:
    """Import slow modules while Prefect's temporary server, another process, starts."""
    for module in modules:
        import_module(module)
