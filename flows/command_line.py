"""`python -m flows.retrain`: flags made from the parameters, and the table at the end."""

import signal
import sys
import threading
from importlib import import_module
from inspect import getdoc
from typing import Any

from prefect import Flow
from prefect.settings import get_current_settings
from pydantic import BaseModel, ValidationError, create_model
from pydantic_settings import (
    BaseSettings,
    CliApp,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from rich.console import Console
from rich.table import Column, Table

from flows.failures import EXPECTED_ERRORS
from flows.timing import collect_durations
from tasks.dataset import FASHION_MNIST
from tasks.evaluation import LAB_LOSSES
from tasks.parameters import Parameters, explain
from tasks.publication import Manifest, Outcome, run_folder
from tasks.storage import artifacts_root

SUCCESS, FAILURE, USAGE = 0, 1, 2


class Flags(BaseSettings):
    """Retrain both autoencoders and publish their codes.

    Exit codes: 0 the run completed, 1 it failed, 2 a parameter was refused.
    """

    model_config = SettingsConfigDict(
        cli_prog_name="python -m flows.retrain",
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


def parse(arguments: list[str]) -> Parameters:
    """Make the parameters from flags: one for each field, whatever its group.

    Raises:
        SystemExit: with code 2 and the reason on stderr; with code 0 after --help.
    """
    groups = _groups()
    fields: dict[str, Any] = {
        name: (field.annotation, field)
        for group in groups.values()
        for name, field in group.model_fields.items()
    }
    flags = create_model("Flags", __base__=Flags, __doc__=getdoc(Flags), **fields)
    try:
        values = CliApp.run(flags, cli_args=arguments)
        return Parameters.model_validate(
            {
                group: {name: getattr(values, name) for name in model.model_fields}
                for group, model in groups.items()
            }
        )
    except ValidationError as error:
        print(explain(error), file=sys.stderr)
        raise SystemExit(USAGE) from None


def _groups() -> dict[str, type[BaseModel]]:
    groups: dict[str, Any] = {
        name: field.annotation for name, field in Parameters.model_fields.items()
    }
    return groups


def run_from_command_line(flow: Flow[..., Outcome], arguments: list[str]) -> int:
    """Run the flow in this process and print where the results are; return the exit code."""
    parameters = parse(arguments)
    signal.signal(signal.SIGTERM, exit_on_signal)
    threading.Thread(target=import_ahead, daemon=True).start()
    try:
        with collect_durations() as durations:
            outcome = flow(**dict(parameters))
    except EXPECTED_ERRORS as error:
        print(f"retrain: {error}", file=sys.stderr)
        return FAILURE
    print_summary(outcome, durations)
    return SUCCESS


def exit_on_signal(number: int, _frame: object) -> None:
    """End the process in order: a training stores its state, the temporary server is stopped."""
    raise SystemExit(128 + number)


def import_ahead() -> None:
    """Import what takes seconds while Prefect's temporary server, another process, starts.

    The module that starts the server comes first: whatever delays it delays everything.
    """
    if get_current_settings().api.url is None:
        import_module("prefect.server.api.server")
    import_module("tasks.encoding")
    import_module("tasks.training")


def print_summary(outcome: Outcome, durations: dict[str, float]) -> None:
    """Print the losses beside their references, the seconds by step, and where everything is."""
    console, manifest = Console(), outcome.manifest
    console.print(_loss_table(manifest))
    steps = Table("step", Column("seconds", justify="right"))
    for step, seconds in durations.items():
        steps.add_row(step, f"{seconds:.1f}")
    console.print(steps)
    root = artifacts_root()
    folder = run_folder(manifest.run, root)
    if outcome.unchanged:
        console.print("Unchanged: what is published is what this run would make")
    elif manifest.verdict.published:
        console.print(f"Published as {root / 'published' / manifest.dataset.name}", soft_wrap=True)
    else:
        console.print(f"Not published: {manifest.verdict.reason}")
    console.print(f"Models, codes and figures are in {folder}", soft_wrap=True)


def _loss_table(manifest: Manifest) -> Table:
    losses = LAB_LOSSES if manifest.dataset.name == FASHION_MNIST else {}
    table = Table(
        "model",
        *(
            Column(name, justify="right")
            for name in ("this run", "the lab", "entropy floor", "live units")
        ),
        title="Validation loss: binary cross-entropy per pixel, nats",
    )
    for name, metrics in manifest.metrics.items():
        lab = f"{losses[name]:.4f}" if name in losses else "-"
        table.add_row(
            name,
            f"{metrics.validation_loss:.4f}",
            lab,
            f"{metrics.entropy_floor:.4f}",
            str(metrics.live_units),
        )
    return table
