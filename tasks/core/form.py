"""Parameters are declared once, with these, for the form, the flags and the manifest."""

from typing import Any

from pydantic import BaseModel, Field


class Group(BaseModel, frozen=True, extra="forbid"):
    """Parameters that belong together: a titled group in the form."""


def parameter(default: Any, title: str, description: str, unit: str = "", **bounds: Any) -> Any:
    """Declare a field; its unit is appended to the description. Flags and form show its bounds."""
    text = f"{description} ({unit})" if unit else description
    return Field(default, title=title, description=text, **bounds)


def titled(title: str) -> Any:
    """The title of a group, to annotate a flow's argument with.

    Prefect replaces other titles by the argument's name.
    """
    return Field(json_schema_extra={"title": title})
