"""Where images can come from: each source with its fields in the form and how it is opened."""

import math
from typing import Annotated, Any, cast

from pydantic import AliasChoices, Discriminator, Field, Tag, field_validator

from tasks.core.form import Group, parameter
from tasks.images.array_sources import ArrayFiles as ArrayFiles
from tasks.images.array_sources import CifarFolder as CifarFolder
from tasks.images.array_sources import IdxFolder as IdxFolder
from tasks.images.described import HOLD_OUT, Source, allowed_path, data_root
from tasks.images.formats.picture import MAX_PICTURE_PIXELS, Background, Reading
from tasks.images.formats.picture_files import PictureFiles, find_pictures
from tasks.images.formats.pictures import open_pictures
from tasks.images.rows import RawDataset


class FashionMnist(Group, title="Fashion-MNIST"):
    """Looked for on this machine, then downloaded."""


class PictureFolder(Source, title="Folder of pictures"):
    """Pictures in any common format."""

    picture_folder: str = parameter(
        ...,
        "Folder of pictures",
        "Where they are; the names of its sub-folders are the classes; sub-folders train, test and "
        "val are the splits",
    )
    test_picture_folder: str | None = parameter(
        None, "Folder of test pictures", f"Where they are; {HOLD_OUT}"
    )
    resize: str | None = parameter(
        None,
        "Resize",
        "Size of all images, such as 28x28, to which pictures are stretched or shrunk (bilinear, "
        "antialiased); leave empty if they have one size",
        unit="height x width, pixels",
        pattern=r"^[1-9][0-9]{0,6}x[1-9][0-9]{0,6}$",
    )
    background: Background = parameter(
        "white",
        "Background",
        "What is seen through the transparent parts of pictures; ignore: the colours stored there",
    )
    in_color: bool = parameter(
        False,
        "In colour",
        "Read grey pictures as colour, for an encoder of colour images (default: only if one of "
        "them is coloured)",
    )
    skip_damaged: bool = parameter(
        False,
        "Skip damaged pictures",
        "Leave out pictures that cannot be decoded, and count them (default: refuse them)",
    )

    @field_validator("resize")
    @classmethod
    def _is_small(cls, resize: str | None) -> str | None:
        if resize and math.prod(map(int, resize.split("x"))) > MAX_PICTURE_PIXELS:
            raise ValueError(f"Must have at most {MAX_PICTURE_PIXELS:,} pixels")
        return resize

    def open(self) -> RawDataset:
        """List the pictures and read their headers; the classes are those for training."""
        size = tuple(map(int, self.resize.split("x"))) if self.resize else None
        reading = Reading(self.background, cast(tuple[int, int] | None, size), self.in_color)

        def find(folder: str) -> PictureFiles:
            return find_pictures(allowed_path(folder), data_root(), reading, self.skip_damaged)

        test = find(self.test_picture_folder) if self.test_picture_folder else None
        return open_pictures(find(self.picture_folder), test, reading)

    @property
    def text(self) -> str:
        """What the source is, for the record of its images."""
        return f"{super().text}, resized to {self.resize}" if self.resize else super().text


DESCRIBED = (IdxFolder, ArrayFiles, CifarFolder, PictureFolder)


def _kind(value: Any) -> str:
    """The kind of source whose fields are given; Fashion-MNIST has none.

    Prefect's form sends only the fields of a source, so that no two kinds may share one. Without
    this, pydantic would report a wrong value once for each kind.
    """
    if isinstance(value, Group):
        return type(value).__name__
    given = value.keys() if isinstance(value, dict) else set()
    kinds = [kind for kind in DESCRIBED if field_names(kind) & given]
    kinds.sort(key=lambda kind: not field_names(kind, required=True) & given)
    return kinds[0].__name__ if kinds else FashionMnist.__name__


def field_names(kind: type[Source], required: bool = False) -> set[str]:
    """All names that the fields of a kind, or those that it requires, may be given by."""
    names: set[str] = set()
    for name, field in kind.model_fields.items():
        alias = field.validation_alias
        if field.is_required() or not required:
            names |= set(map(str, alias.choices)) if isinstance(alias, AliasChoices) else {name}
    return names


def _offer_any(schema: dict[str, Any]) -> None:
    """Prefect's form shows a choice between objects only if it is an `anyOf`."""
    schema["anyOf"] = schema.pop("oneOf")


AnySource = Annotated[
    Annotated[FashionMnist, Tag("FashionMnist")]
    | Annotated[IdxFolder, Tag("IdxFolder")]
    | Annotated[ArrayFiles, Tag("ArrayFiles")]
    | Annotated[CifarFolder, Tag("CifarFolder")]
    | Annotated[PictureFolder, Tag("PictureFolder")],
    Discriminator(_kind),
    Field(json_schema_extra=_offer_any),
]
