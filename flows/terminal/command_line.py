"""Flows as commands: flags made from the parameters, exit codes, signals."""

import signal
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from inspect import getdoc
from io import TextIOWrapper
from typing import Any, TypeVar

from prefect import Flow
from pydantic import BaseModel, ValidationError, create_model
from pydantic_settings import (
    BaseSettings,
    CliApp,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from flows.terminal.failures import EXPECTED_ERRORS
from flows.terminal.temporary_server import temporary_server
from tasks.core.errors import RefusedError, explain, readable
from tasks.core.settings import read_settings
from tasks.steps.server import server_errors_explained

SUCCESS, FAILURE, USAGE, REFUSED = 0, 1, 2, 3
INTERRUPTED = 128 + signal.SIGINT

P = TypeVar("P", bound=BaseModel)
R = TypeVar("R")


class Flags(BaseSettings):
    """Exit codes: 0 completed, 1 failed, 2 a parameter was refused, 3 the gate refused the run."""

    model_config = SettingsConfigDict(
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the name is pydantic's
        init_settings: PydanticBaseSettingsSource,
        *_: Any,
        **__: Any,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the command line only: environment variables must not change parameters."""
        return (init_settings,)


def parse(flow: Flow[..., Any], parameters: type[P], arguments: list[str]) -> P:
    """Parse a flow's parameters from flags: one for each field of each group.

    Args:
        parameters: a model whose fields are the groups, named as the flow's arguments.

    Raises:
        SystemExit: with code 2 and the reason on stderr; with code 0 after --help.
    """
    for word in arguments:
        if readable(word) != word:  # neither Prefect nor a manifest can hold it
            print(f"{readable(word)} is not UTF-8: rename it, or use a link to it", file=sys.stderr)
            raise SystemExit(USAGE)
    groups: dict[str, Any] = {
        name: field.annotation for name, field in parameters.model_fields.items()
    }
    fields: dict[str, Any] = {
        name: (field.annotation, field)
        for group in groups.values()
        for name, field in group.model_fields.items()
    }
    description = f"{flow.description}\n\n{getdoc(Flags)}"
    flags = create_model(flow.name, __base__=Flags, __doc__=description, **fields)
    flags.model_config["cli_prog_name"] = f"python -m flows.{flow.name}"
    try:
        values = dict(CliApp.run(flags, cli_args=arguments))
        grouped = {
            name: {field: values[field] for field in group.model_fields}
            for name, group in groups.items()
        }
        return parameters.model_validate(grouped)
    except ValidationError as error:
        print(explain(error), file=sys.stderr)
        raise SystemExit(USAGE) from None


def run(
    flow: Flow[..., R],
    parameters: type[P],
    arguments: list[str],
    print_result: Callable[[R], None],
    modules: tuple[str, ...] = (),
    are_needed: Callable[[P], bool] = lambda _values: True,
) -> int:
    """Run a flow in this process, print its result and return the exit code.

    Args:
        parameters: as in `parse`.
        modules: imported by the flow later, and slow to import.
        are_needed: whether the flow will probably import them, by its parameters; called once the
            temporary server has started, so it should take milliseconds.
    """
    if isinstance(sys.stdout, TextIOWrapper):  # whose encoding may lack a letter of ours
        sys.stdout.reconfigure(errors="backslashreplace")
    values = parse(flow, parameters, arguments)
    signal.signal(signal.SIGTERM, exit_on_signal)
    importing = threading.Thread(target=import_ahead, args=(modules,), daemon=True)

    def prepare() -> None:
        if are_needed(values):
            importing.start()

    try:
        settings = read_settings()  # before a module reads them in a thread
        with temporary_server(settings.server_seconds, prepare), server_errors_explained():
            result = flow(**dict(values))
    except EXPECTED_ERRORS as error:
        print(readable(f"{flow.name}: {error}"), file=sys.stderr)
        return REFUSED if isinstance(error, RefusedError) else FAILURE
    except KeyboardInterrupt:
        print(f"{flow.name}: interrupted; run it again to resume", file=sys.stderr)
        return INTERRUPTED
    print_result(result)
    return SUCCESS


def exit_on_signal(number: int, _frame: object) -> None:
    """Raise SystemExit, so that a training stores its state and the temporary server stops."""
    raise SystemExit(128 + number)


def import_ahead(modules: tuple[str, ...]) -> None:
    """Import slow modules while Prefect's temporary server, another process, starts."""
    for module in modules:
        import_module(module)
