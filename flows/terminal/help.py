"""`--help` of a command: examples, then its flags in the groups of the form.

Not by argparse: it shows the types of Python and no groups.
"""

import shutil
import textwrap
import types
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import AliasChoices, BaseModel
from pydantic.fields import FieldInfo

HELP_FLAGS = {"-h", "--help"}
WIDTH = 100
"""Columns at most."""
LARGE = 10**6
"""A larger bound is not told: nobody comes near it."""
INDENT = 26
"""Columns of a flag; a longer one has a line of its own."""
EXIT_CODES = "Exit codes: 0 completed, 1 failed, 2 a flag was refused,"
REFUSED = " 3 the quality gate refused the run,"
INTERRUPTED = " 130 interrupted (run it again to resume)."


class Flag(NamedTuple):
    """A flag and the field behind it."""

    names: list[str]
    """All by which it may be given."""
    field: FieldInfo
    heading: str = ""
    """Of the flags that belong together within a group."""


def flag_of(place: Sequence[object]) -> str:
    """The flag of a field, by the names that lead to it; those of classes are left out."""
    names = [str(name) for name in place if not str(name)[:1].isupper()]
    return f"--{'.'.join(names).replace('_', '-')}"


def list_flags(parameters: type[BaseModel]) -> list[str]:
    """All flags of a command."""
    names = []
    for group in _groups(parameters).values():
        for flag in group_flags(group):
            names += flag.names
            if flag.field.annotation is bool:
                names += [name.replace("--", "--no-", 1) for name in flag.names]
        names += [flag_of([name]) for name in group.model_fields]
    return list(dict.fromkeys([*names, "--help"]))


def group_flags(group: type[BaseModel]) -> Iterator[Flag]:
    """The flags of a group; a choice between models has those of each."""
    for name, field in group.model_fields.items():
        choices = [kind for kind in _models_in(field.annotation) if kind.model_fields]
        if not choices:
            yield Flag([flag_of([name])], field)
        for kind in choices:
            heading = str(kind.model_config.get("title") or kind.__name__)
            for inner, inner_field in kind.model_fields.items():
                names = _field_names(inner, inner_field)
                yield Flag([flag_of([name, each]) for each in names], inner_field, heading)


def _field_names(name: str, field: FieldInfo) -> list[str]:
    """All names that a field may be given by."""
    alias = field.validation_alias
    return list(map(str, alias.choices)) if isinstance(alias, AliasChoices) else [name]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models of a union, tagged or not; none where it is something else."""
    if get_origin(annotation) not in (Union, types.UnionType):
        return []
    kinds = [
        get_args(kind)[0] if hasattr(kind, "__metadata__") else kind
        for kind in get_args(annotation)
    ]
    return [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]


def _groups(parameters: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """The groups by their titles."""
    groups = {}
    for name, field in parameters.model_fields.items():
        extra = field.json_schema_extra
        title = extra.get("title") if isinstance(extra, dict) else None
        groups[str(title or name.capitalize())] = field.annotation
    return groups  # type: ignore[return-value]  # each field is a group


def render_help(
    name: str, description: str, parameters: type[BaseModel], examples: Sequence[tuple[str, str]]
) -> str:
    """The help of a command.

    Args:
        name: of the flow.
        examples: flags and what they do.
    """
    width = min(shutil.get_terminal_size().columns, WIDTH)
    command = f"python -m flows.{name}"
    lines = [f"Usage: {command} [FLAGS]", "", *textwrap.wrap(description, width), ""]
    if examples:
        lines.append("Examples")
        for flags, meaning in examples:
            lines += [f"  {command} {flags}".rstrip(), f"      {meaning}"]
        lines.append("")
    for title, group in _groups(parameters).items():
        lines.append(title)
        heading = ""
        for flag in group_flags(group):
            if flag.heading != heading:
                heading = flag.heading
                lines += [f"  {heading}:"] if heading else []
            lines += _describe_flag(flag, width)
        lines.append("")
    codes = EXIT_CODES + (REFUSED if "gate" in parameters.model_fields else "") + INTERRUPTED
    return "\n".join([*lines, *textwrap.wrap(codes, width)])


def _describe_flag(flag: Flag, width: int) -> list[str]:
    name, *others = flag.names
    start = f"  {name} {_metavar(name, flag.field)}".rstrip()
    text = f"{flag.field.description}{_limits(flag.field)}"
    if others:
        text += f". Also {', '.join(others)}"
    indent = " " * INDENT
    if len(start) < INDENT:
        return textwrap.wrap(f"{start:<{INDENT}}{text}", width, subsequent_indent=indent)
    wrapped = textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent)
    return [start, *wrapped]


def _metavar(flag: str, field: FieldInfo) -> str:
    """What stands for a value."""
    kinds = {kind for kind in _flat(field.annotation) if kind is not type(None)}
    if bool in kinds:
        return ""
    if get_origin(field.annotation) is Literal:
        return "|".join(get_args(field.annotation))
    if float in kinds:
        return "FRACTION" if _bounds(field).get("le", _bounds(field).get("lt")) == 1 else "NUMBER"
    word = "N" if int in kinds else "NAME"
    if any(isinstance(kind, type) and issubclass(kind, BaseModel) for kind in kinds):
        return "JSON"
    if get_origin(field.annotation) is tuple:
        return f"{word},{word},..."
    if flag.endswith(("-file", "-folder")):
        return "PATH"
    return "RUN" if flag == "--run" else word


def _flat(annotation: Any) -> Iterator[Any]:
    """The types that an annotation is made of."""
    arguments = get_args(annotation)
    if get_origin(annotation) is Literal or not arguments:
        yield annotation
        return
    for inner in arguments[:1] if hasattr(annotation, "__metadata__") else arguments:
        yield from _flat(inner)


def _bounds(field: FieldInfo) -> dict[str, Any]:
    names = ("ge", "gt", "le", "lt")
    return {
        name: getattr(bound, name)
        for bound in field.metadata
        for name in names
        if getattr(bound, name, None) is not None
    }


def _limits(field: FieldInfo) -> str:
    """Bounds and default, in parentheses."""
    bounds = {name: bound for name, bound in _bounds(field).items() if abs(bound) <= LARGE}
    words = []
    if "ge" in bounds and "le" in bounds:
        words.append(f"{bounds['ge']} to {bounds['le']}")
    else:
        names = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
        words += [f"{names[name]} {bound}" for name, bound in bounds.items()]
    if field.is_required():
        words.append("required with this source")
    elif field.default != () and not isinstance(field.default, bool | None):
        default = field.default
        text = ",".join(map(str, default)) if isinstance(default, tuple) else str(default)
        words.append(f"default: {text}")
    return f" ({'; '.join(words)})" if words else ""
