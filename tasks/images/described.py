"""What all sources share that the user describes: how they are opened, which paths are allowed."""

from abc import abstractmethod
from pathlib import Path
from typing import Any, Self

from pydantic import field_validator, model_validator

from tasks.core.errors import StepError
from tasks.core.form import Group
from tasks.core.settings import read_settings
from tasks.images.rows import RawDataset

HOLD_OUT = "leave empty if there are none"
IF_ANY = "if there are labels"


class Source(Group):
    """A source that the user describes."""

    @abstractmethod
    def open(self) -> RawDataset:
        """Open the source; its values are read later.

        Raises:
            StepError: something is missing, damaged or forbidden.
        """

    @property
    def text(self) -> str:
        """What the source is, for the record of its images."""
        return str(self.model_config["title"])

    @field_validator("*", mode="before")
    @classmethod
    def _empty_is_none(cls, value: Any) -> Any:
        """The form sends an empty text for a field that was cleared."""
        return None if value == "" else value

    @model_validator(mode="after")
    def _test_labels_need_test_images(self) -> Self:
        named = {name.rpartition("_")[0] for name, value in self if value}
        if "test_labels" in named and "test_images" not in named:
            raise ValueError("Test labels are named without test images: name both")
        return self


def allowed_path(name: str | Path) -> Path:
    """Resolve a path that a run's parameters name; it must lie in the data root, if one is set.

    Raises:
        StepError: it lies elsewhere, or is neither a file nor a folder, such as a pipe.
    """
    allowed = data_root()
    try:
        path = Path(name).expanduser().resolve()
        readable = path.is_file() or path.is_dir() or not path.exists()
    except (RuntimeError, ValueError, OSError) as error:  # links in a circle, no such user, NUL
        raise StepError(f"{name!r} is not a valid path: {error}") from None
    if not readable:
        raise StepError(f"{name} is neither a file nor a folder")
    if allowed and not path.is_relative_to(allowed):
        raise StepError(f"{name} is outside {allowed}, the only place data may be in")
    return path


def data_root() -> Path | None:
    """The only folder that data may lie in, if the deployment sets one."""
    folder = read_settings().data_root
    return folder.resolve() if folder else None
