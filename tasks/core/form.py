"""Parameters are declared once, with these two, for the form, the flags and the manifest."""

from typing import Any

from pydantic import BaseModel, Field

BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


class Group(BaseModel, frozen=True, extra="forbid"):
    """Parameters that belong together: a titled group in the form."""


def parameter(default: Any, title: str, description: str, unit: str = "", **bounds: Any) -> Any:
    """Declare a field; its unit and bounds are appended to the description."""
    facts = [unit] if unit else []
    facts += [f"{BOUNDS[name]} {bound}" for name, bound in bounds.items() if name in BOUNDS]
    text = f"{description} [{', '.join(facts)}]" if facts else description
    return Field(default, title=title, description=text, **bounds)
