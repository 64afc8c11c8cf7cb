"""Where codes come from: the attributes of a codes file and of its models.

An attribute that is missing, unknown or wrong raises `CodesError`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Literal, Self, get_args

import h5py
import numpy as np

from .errors import CodesError

Split = Literal["train", "test", "all"]
"""`all` are the images of a set that was encoded without being split."""

SCHEMA_NAME = "autoencoder-flow/codes"
SCHEMA_VERSION = 1
SCHEMA_SINCE = "0.1.0"
"""The first version of this project that reads the schema; in the file for older readers."""
CONTENT_SHA256 = "content_sha256"
"""The attribute with the digest of everything else in the file."""


def _is_finite(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_list_of(kind: type, value: Any) -> bool:
    return type(value) is tuple and all(type(entry) is kind for entry in value)


Rule = tuple[str, Callable[[Any], bool]]
"""What an attribute must be: in words, and as a function of its value."""
TEXT: Rule = ("text", lambda value: type(value) is str)
RULES: dict[str, Rule] = {
    "schema_name": (SCHEMA_NAME, lambda value: value == SCHEMA_NAME),
    "schema_version": ("1", lambda value: type(value) is int and value == SCHEMA_VERSION),
    "models": (
        "a list of different names",
        lambda value: _is_list_of(str, value) and len(set(value)) == len(value) > 0,
    ),
    "split": (f"one of {get_args(Split)}", lambda value: value in get_args(Split)),
    "image_shape": ("a list of integers", lambda value: _is_list_of(int, value)),
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


@dataclass(frozen=True, kw_only=True)
class ModelProvenance(Provenance):
    """The attributes of a model's group."""

    fingerprint: str
    """SHA-256 that identifies the training."""
    encoder_weights_sha256: str
    architecture: str
    """Layer sizes, as in 784-32-784."""
    recipe: str
    """JSON: how the model was trained."""
    seed: int
    validation_loss: float
    """Binary cross-entropy per pixel, in nats."""


def read_provenance(file: h5py.File) -> tuple[SplitProvenance, dict[str, ModelProvenance]]:
    """The attributes of a file and, by name, of its models."""
    attributes = read_attributes(file)
    if attributes.get("schema_name") != SCHEMA_NAME:
        raise CodesError(f"its schema is not {SCHEMA_NAME}")
    version = attributes.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise CodesError(
            f"its schema version is {version}, and this reader supports {SCHEMA_VERSION}: read it "
            f"with autoencoder-flow {attributes.get('schema_since', '(unknown)')} or newer"
        )
    attributes.pop(CONTENT_SHA256, None)
    split = SplitProvenance.from_attributes(attributes)
    return split, {
        model: ModelProvenance.from_attributes(read_attributes(file[model]))
        for model in split.models
    }


def read_attributes(group: h5py.Group) -> dict[str, Any]:
    """Every attribute as a number, a text or a list."""
    values = {}
    for name in group.attrs:
        dtype = group.attrs.get_id(name).dtype
        text = h5py.check_string_dtype(dtype)
        if not (dtype.kind in "if" or (text and text.length and text.encoding == "utf-8")):
            raise CodesError(f"attribute {name} is neither a number nor fixed-length UTF-8 text")
        array = np.asarray(group.attrs[name])
        values[name] = (np.char.decode(array, "utf-8") if text else array).tolist()
    return values
