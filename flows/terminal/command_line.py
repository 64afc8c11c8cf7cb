"""Flows as commands: flags made from the parameters, exit codes, signals."""

import signal
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from inspect import getdoc
from typing import Any, TypeVar

from prefect import Flow
from prefect.settings import get_current_settings
from pydantic import BaseModel, ValidationError, create_model
from pydantic_settings import (
    BaseSettings,
    CliApp,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from flows.terminal.failures import EXPECTED_ERRORS
from tasks.core.errors import RefusedError, explain
from tasks.steps.timing import collect_durations

SUCCESS, FAILURE, USAGE, REFUSED = 0, 1, 2, 3

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
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the command line alone: no environment variable changes a parameter unseen."""
        return (init_settings,)


def parse(flow: Flow[..., Any], parameters: type[P], arguments: list[str]) -> P:
    """Make a flow's parameters from flags: one for each field, whatever its group.

    Args:
        parameters: a model whose fields are the groups, named as the flow's arguments.

    Raises:
        SystemExit: with code 2 and the reason on stderr; with code 0 after --help.
    """
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
        values = CliApp.run(flags, cli_args=arguments)
        return parameters.model_validate(
            {
                group: {name: getattr(values, name) for name in model.model_fields}
                for group, model in groups.items()
            }
        )
    except ValidationError as error:
        print(explain(error), file=sys.stderr)
        raise SystemExit(USAGE) from None


def run_from_command_line(
    flow: Flow[..., R],
    parameters: BaseModel,
    print_result: Callable[[R, dict[str, float]], None],
    modules: tuple[str, ...],
) -> int:
    """Run the flow in this process, print its result and return the exit code.

    Args:
        print_result: gets what the flow returned and the seconds of each step.
        modules: what the flow will import and takes seconds.
    """
    signal.signal(signal.SIGTERM, exit_on_signal)
    threading.Thread(target=import_ahead, args=(modules,), daemon=True).start()
    try:
        with collect_durations() as durations:
            result = flow(**dict(parameters))
    except EXPECTED_ERRORS as error:
        print(f"{flow.name}: {error}", file=sys.stderr)
        return REFUSED if isinstance(error, RefusedError) else FAILURE
    print_result(result, durations)
    return SUCCESS


def exit_on_signal(number: int, _frame: object) -> None:
    """End the process in order: a training stores its state, the temporary server is stopped."""
    raise SystemExit(128 + number)


def import_ahead(modules: tuple[str, ...]) -> None:
    """Import what takes seconds while Prefect's temporary server, another process, starts.

    The module that starts the server comes first: whatever delays it delays everything.
    """
    if get_current_settings().api.url is None:
        import_module("prefect.server.api.server")
    for module in modules:
        import_module(module)
