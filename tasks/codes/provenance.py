"""Where codes come from: the attributes of a codes file and of its models.

An attribute that is missing, unknown or wrong raises `CodesError`.
"""

import json
import math
import reprlib
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Literal, Self, get_args

import h5py
import numpy as np
from numpy.typing import NDArray

from .errors import CodesError

Split = Literal["train", "test", "all"]
"""`all` are the images of a set that was encoded without being split."""

SCHEMA_NAME = "autoencoder-flow/codes"
SCHEMA_VERSION = 2
"""Of the files that are written; those of version 1 are read, too."""
SCHEMA_SINCE = "0.2.0"
"""The first version of this project that reads the schema; in the file for older readers."""
SINCE_VERSION_2 = {"class_names", "basis", "codes_sha256"}
"""Attributes that files of version 1 lack."""
CONTENT_SHA256 = "content_sha256"
"""The attribute with the digest of everything else in the file."""
LONGEST_CLASS_NAMES = 64 * 1024
"""Bytes of the longest attribute `class_names`; the manifest has longer ones."""


def _is_finite(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_list_of(kind: type, value: Any) -> bool:
    return type(value) is tuple and all(type(entry) is kind for entry in value)


Rule = tuple[str, Callable[[Any], bool]]
"""What an attribute must be: in words, and as a function of its value."""
TEXT: Rule = ("text", lambda value: type(value) is str)
RULES: dict[str, Rule] = {
    "schema_name": (SCHEMA_NAME, lambda value: value == SCHEMA_NAME),
    "schema_version": (
        f"1 to {SCHEMA_VERSION}",
        lambda value: type(value) is int and 1 <= value <= SCHEMA_VERSION,
    ),
    "models": (
        "a list of different names",
        lambda value: _is_list_of(str, value) and len(set(value)) == len(value) > 0,
    ),
    "split": (f"one of {get_args(Split)}", lambda value: value in get_args(Split)),
    "image_shape": ("a list of integers", lambda value: _is_list_of(int, value)),
    "class_names": ("a JSON array of texts", lambda value: _is_list_of(str, value)),
    "scale": ("a finite number above 0", lambda value: _is_finite(value) and value > 0),
    "seed": ("an integer of at least 0", lambda value: type(value) is int and value >= 0),
    "validation_loss": ("a finite number", _is_finite),
}
"""Of the attributes that are not any text."""


@dataclass(frozen=True)
class Provenance:
    """Base of the two records; every value follows its rule."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            expected, allows = RULES.get(name, TEXT)
            if not allows(value):
                raise CodesError(f"attribute {name} is {value!r}, expected {expected}")

    @classmethod
    def from_attributes(cls, attributes: dict[str, Any]) -> Self:
        """Make a record of attributes; lists become tuples."""
        names = {entry.name for entry in fields(cls)}
        for name in sorted(names ^ attributes.keys()):
            raise CodesError(f"attribute {name} is {'missing' if name in names else 'unknown'}")
        lists = {name: tuple(value) for name, value in attributes.items() if type(value) is list}
        return cls(**attributes | lists)


@dataclass(frozen=True, kw_only=True)
class SplitProvenance(Provenance):
    """The attributes of the file."""

    schema_name: str = SCHEMA_NAME
    schema_version: int = SCHEMA_VERSION
    schema_since: str = SCHEMA_SINCE
    models: tuple[str, ...]
    """The groups, in order."""
    split: Split
    dataset: str
    dataset_payload_sha256: str
    """Identifies images and labels together."""
    image_shape: tuple[int, ...]
    """Height, width and, in colour, 3."""
    scale: float
    """Pixel values were divided by it."""
    class_names: tuple[str, ...] = ()
    """By label, JSON in the file. Empty without labels, in version 1, and where the JSON is longer
    than `LONGEST_CLASS_NAMES`: `PublishedRun.class_names` has them."""


@dataclass(frozen=True, kw_only=True)
class ModelProvenance(Provenance):
    """The attributes of a model's group."""

    fingerprint: str
    """SHA-256 that identifies the training."""
    encoder_weights_sha256: str
    basis: str
    """The `encoder_weights_sha256` of the encoder that defined the coordinate system: codes of one
    basis can be compared. In version 1 each encoder's own."""
    architecture: str
    """Layer sizes, as in 784-32-784."""
    recipe: str
    """JSON: how the model was trained."""
    seed: int
    validation_loss: float
    """Binary cross-entropy per pixel, in nats."""
    codes_sha256: str
    """SHA-256 of the codes' bytes: row after row, float32, little-endian. Of a file of version 1,
    the reader computes it."""


def short_basis(basis: str) -> str:
    """The start of a basis, for messages."""
    return basis[:12]


def read_provenance(file: h5py.File) -> tuple[SplitProvenance, dict[str, ModelProvenance]]:
    """The attributes of a file and, by name, of its models.

    Of a file of version 1, `codes_sha256` is empty.
    """
    attributes = read_attributes(file)
    if attributes.get("schema_name") != SCHEMA_NAME:
        raise CodesError(f"its schema is not {SCHEMA_NAME}")
    version = attributes.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise CodesError(
            f"its schema version is {version}, and this reader supports {SCHEMA_VERSION}: read it "
            f"with autoencoder-flow {attributes.get('schema_since', '(unknown)')} or newer"
        )
    split = SplitProvenance.from_attributes(_file_attributes(attributes, version))
    for group in (file, *(file[model] for model in split.models)):
        _check_text(group, split.schema_version)
    return split, {
        model: ModelProvenance.from_attributes(
            _model_attributes(read_attributes(file[model]), split.schema_version)
        )
        for model in split.models
    }


def _file_attributes(attributes: dict[str, Any], version: Any) -> dict[str, Any]:
    """Those of any version as those of today."""
    attributes = {name: attributes[name] for name in attributes.keys() - {CONTENT_SHA256}}
    if version == 1:
        return _without_new(attributes) | {"class_names": ()}
    names = attributes.pop("class_names", "[]")
    try:
        return attributes | {"class_names": json.loads(names)}
    except (TypeError, ValueError, RecursionError):
        raise CodesError(
            f"attribute class_names is {reprlib.repr(names)}, expected {RULES['class_names'][0]}"
        ) from None


def _model_attributes(attributes: dict[str, Any], version: int) -> dict[str, Any]:
    """Those of any version as those of today."""
    if version > 1:
        return attributes
    basis = attributes.get("encoder_weights_sha256", "")
    return _without_new(attributes) | {"basis": basis, "codes_sha256": ""}


def _without_new(attributes: dict[str, Any]) -> dict[str, Any]:
    for name in sorted(SINCE_VERSION_2 & attributes.keys()):
        raise CodesError(f"attribute {name} is unknown")
    return attributes


def text_type(group: h5py.Group, name: str) -> h5py.h5t.string_info | None:
    """How an attribute of text is stored; none if it holds something else."""
    return h5py.check_string_dtype(group.attrs.get_id(name).dtype)


def _check_text(group: h5py.Group, version: int) -> None:
    """In version 1 text has a fixed length, since then a variable one."""
    for name in group.attrs:
        text = text_type(group, name)
        if text and (text.length is None) != (version > 1):
            kind = "variable-length" if version > 1 else "fixed-length"
            raise CodesError(f"attribute {name} is not {kind} text")


def read_attributes(group: h5py.Group) -> dict[str, Any]:
    """Every attribute as a number, a text or a list."""
    values = {}
    for name in group.attrs:
        text = text_type(group, name)
        kind = group.attrs.get_id(name).dtype.kind
        if not (kind in "if" or (text and text.encoding == "utf-8")):
            raise CodesError(f"attribute {name} is neither a number nor UTF-8 text")
        array = np.asarray(group.attrs[name])
        if text:  # h5py lets wrong bytes of a variable-length text pass
            array = np.char.decode(array, "utf-8") if text.length else array
            if not _is_utf8(array):
                raise CodesError(f"attribute {name} is not UTF-8 text")
        values[name] = array.tolist()
    return values


def _is_utf8(texts: NDArray[Any]) -> bool:
    try:
        for text in texts.flat:
            text.encode()
    except UnicodeEncodeError:
        return False
    return True
