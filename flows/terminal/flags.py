"""From flags to a flow's parameters; a wrong one is refused in one line that names the flag."""

import sys
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any, NoReturn, TypeVar

from prefect import Flow
from pydantic import BaseModel, ValidationError, create_model
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    CliApp,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from flows.terminal.help import HELP_FLAGS, flag_of, list_flags, render_help
from tasks.core.errors import readable

USAGE = 2
"""Exit code: a flag or a parameter was refused."""

P = TypeVar("P", bound=BaseModel)


class Flags(BaseSettings):
    """The flags of a command: one for each field of each group of parameters."""

    model_config = SettingsConfigDict(
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
        cli_exit_on_error=False,
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


def parse(
    flow: Flow[..., Any],
    parameters: type[P],
    arguments: list[str],
    examples: Sequence[tuple[str, str]] = (),
) -> P:
    """Parse a flow's parameters from flags.

    Args:
        parameters: a model whose fields are the groups, named as the flow's arguments.
        examples: flags and what they do, for the help.

    Raises:
        SystemExit: with code 2 and the reason on stderr; with code 0 after --help.
    """
    if not HELP_FLAGS.isdisjoint(arguments):
        print(render_help(flow.name, flow.description or "", parameters, examples))
        raise SystemExit(0)
    for reason in [*_unreadable_words(arguments), *_unknown_flags(parameters, arguments)]:
        _refuse(f"{reason} (all flags: python -m flows.{flow.name} --help)")
    groups = _groups_of(parameters)
    fields: dict[str, Any] = {
        name: (field.annotation, field)
        for group in groups.values()
        for name, field in group.model_fields.items()
    }
    flags = create_model(flow.name, __base__=Flags, **fields)
    try:
        values = dict(CliApp.run(flags, cli_args=arguments))
        grouped = {
            name: {field: values[field] for field in group.model_fields}
            for name, group in groups.items()
        }
        return parameters.model_validate(grouped)
    except SettingsError as error:
        _refuse(str(error).removeprefix("error parsing CLI: ").removeprefix("argument "))
    except ValidationError as error:
        _refuse("\n".join(explain(fact, set(groups)) for fact in error.errors()))


def _groups_of(parameters: type[BaseModel]) -> dict[str, Any]:
    """The models of the groups, by name."""
    return {name: field.annotation for name, field in parameters.model_fields.items()}


def _refuse(reason: str) -> NoReturn:
    print(reason, file=sys.stderr)
    raise SystemExit(USAGE)


def _unreadable_words(arguments: list[str]) -> Iterator[str]:
    """For each word that neither Prefect nor a manifest can hold, what to do."""
    for word in arguments:
        if readable(word) != word:
            yield f"{readable(word)} is not UTF-8: rename it, or use a link to it"


def _unknown_flags(parameters: type[BaseModel], arguments: list[str]) -> Iterator[str]:
    """For each flag that does not exist, what was probably meant."""
    known = list_flags(parameters)
    for argument in arguments:
        name = argument.partition("=")[0]
        if not name.startswith("--") or name in known:
            continue
        similar = [flag for flag in known if name.removeprefix("--") in flag]
        similar += get_close_matches(name, known, n=2, cutoff=0.7)
        guess = " or ".join(dict.fromkeys(similar[:3]))
        yield f"There is no flag {name}" + (f": did you mean {guess}?" if guess else "")


def explain(fact: ErrorDetails, groups: set[str]) -> str:
    """One line with the flag, its value and the expectation.

    Args:
        groups: names that begin the place of a field, and are not part of its flag.
    """
    place = [part for part in fact["loc"] if part not in groups]
    value, message = fact["input"], _expectation(fact)
    # A check across fields has all of them as its input, and names the values itself.
    shown = "" if isinstance(value, dict | BaseModel) else f" {value}"
    return f"{flag_of(place)}{shown}: {message}" if place else message


def _expectation(fact: ErrorDetails) -> str:
    """What was expected, in plain words."""
    context, kind = fact.get("ctx", {}), fact["type"]
    bounds = {
        "greater_than_equal": f"must be at least {context.get('ge')}",
        "greater_than": f"must be above {context.get('gt')}",
        "less_than_equal": f"must be at most {context.get('le')}",
        "less_than": f"must be below {context.get('lt')}",
        "literal_error": f"must be {context.get('expected')}",
        "missing": "is missing",
        "extra_forbidden": "does not belong to this source",
        "int_parsing": "must be a whole number",
        "int_from_float": "must be a whole number",
        "float_parsing": "must be a number",
        "string_pattern_mismatch": f"must match {context.get('pattern')}",
        "string_too_long": f"must have at most {context.get('max_length')} characters",
    }
    other = fact["msg"].removeprefix("Value error, ").replace("Input should", "must")
    return bounds.get(kind, other)
