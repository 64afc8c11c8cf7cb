"""Encode images with NumPy alone: the reader of `models/<model>/encoder.h5`.

Layout, for each of the encoder's dense layers, from the image to the code:

    /<layer>/kernel   (inputs, units) float32
    /<layer>/bias     (units,) float32

Everything else is an attribute: those in `ENCODER_ATTRIBUTES` on the file, beside `layers`, the
names in their order; `activation` on each layer. Where a model has other layers, the file has none,
and instead of `layers` the attribute `unsupported`, which says why.
"""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from .activations import ACTIVATIONS
from .errors import CodesError
from .provenance import read_attributes
from .reader import refusals_explained
from .scales import FRACTION, LARGEST_SCALE_RATIO, unit_ratio

ENCODER_SCHEMA = "autoencoder-flow/encoder"
ENCODER_VERSION = 1
ENCODER_ATTRIBUTES: dict[str, type] = {
    "model": str,
    "fingerprint": str,
    "encoder_weights_sha256": str,
    "basis": str,
    "image_shape": list,
    "dtype": str,
    "scale": float,
}
"""Attributes of the file, with their types, beside its schema and `layers` or `unsupported`."""
UNSUPPORTED = "unsupported"
BLOCK_VALUES = 2**20
"""Of the widest layer, the image included: blocks of images stay in the processor's cache."""


@dataclass(frozen=True, eq=False)
class DenseLayer:
    """activation(x @ kernel + bias)."""

    kernel: NDArray[np.float32]
    """(inputs, units)."""
    bias: NDArray[np.float32]
    """(units,)."""
    activation: str
    """One of `ACTIVATIONS`."""

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, inputs) -> (N, units)."""
        product = x @ self.kernel
        product += self.bias
        return ACTIVATIONS[self.activation](product)


@dataclass(frozen=True, eq=False)
class Encoder:
    """A trained encoder; a function from images to codes."""

    model: str
    fingerprint: str
    """SHA-256 that identifies the training."""
    encoder_weights_sha256: str
    """As in the codes files that this encoder wrote."""
    basis: str
    """The `encoder_weights_sha256` of the encoder that defined the coordinate system; codes of one
    basis can be compared."""
    image_shape: tuple[int, ...]
    """Height, width and, in colour, 3."""
    dtype: str
    """Type of the images that were learned from: uint8, uint16 or float32."""
    scale: float
    """Pixel values are divided by it; greater ones count as 1."""
    layers: tuple[DenseLayer, ...] = field(repr=False)

    @property
    def pixels(self) -> int:
        """Values of one image, each colour counted."""
        return math.prod(self.image_shape)

    @property
    def code_size(self) -> int:
        """Numbers that describe one image."""
        return len(self.layers[-1].bias)

    def __call__(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Encode images.

        Args:
            images: (N, height, width[, 3]) or (N, pixels), of the type that was learned from or
                with the same values in another: wider whole numbers, truth values, or float of 0 to
                1 where bytes were learned from, bytes where that was.

        Returns:
            (N, code_size) float32: the codes of a codes file up to the rounding of float32.

        Raises:
            CodesError: the images have another type, shape or unit.
        """
        images = np.asarray(images)
        self._check_shape(images)
        scale = self._choose_scale(images)
        widest = max(self.pixels, *(len(layer.bias) for layer in self.layers))
        rows = max(1, BLOCK_VALUES // widest)
        codes = np.empty((len(images), self.code_size), np.float32)
        for start in range(0, len(images), rows):
            values = self._on_unit_scale(images[start : start + rows], scale)
            for layer in self.layers:
                values = layer(values)
            codes[start : start + rows] = values
        return codes

    def _check_shape(self, images: NDArray[Any]) -> None:
        if images.shape[1:] not in (self.image_shape, (self.pixels,)):
            shapes = ", ".join(map(str, self.image_shape))
            raise CodesError(
                f"The images have shape {images.shape}, expected (N, {shapes}) or "
                f"(N, {self.pixels}); a single image is images[np.newaxis]"
            )

    def _choose_scale(self, images: NDArray[Any]) -> float:
        """The value of the images that is 1 for the model, by their type: any image has the same.

        Raises:
            CodesError: it cannot be told.
        """
        own, found = np.dtype(self.dtype), images.dtype
        is_float = found.kind == own.kind == "f"
        is_wider = found.kind in "iu" and own.kind == "u" and found.itemsize > own.itemsize
        if found.name == self.dtype or is_float:  # the name is the same in either byte order
            return self.scale
        greatest = images.max(initial=0) if found.kind in "biuf" else np.nan
        if is_wider and greatest <= np.iinfo(own).max:
            return self.scale
        usual = {"b": ("uint8", 1), "f": ("float32", 1), "u": ("uint8", 255)}
        if found in (np.uint8, np.bool_) or (found.kind == "f" and greatest <= FRACTION):
            ratio = unit_ratio(*usual[found.kind], self.dtype, self.scale)
            if ratio:
                return self.scale * ratio
        raise CodesError(
            f"The images are {found.name} with values up to {greatest:g}, expected {self.dtype} as "
            f"in the images that the {self.model} model learned from, up to {self.scale:g}: "
            "convert them"
        )

    def _on_unit_scale(self, images: NDArray[Any], scale: float) -> NDArray[np.float32]:
        """Pixels as the model got them in training, (rows, pixels): divided, at most 1."""
        lowest, highest = images.min(), images.max()
        if not (lowest >= 0 and np.isfinite(highest)):  # NaN fails every comparison
            raise CodesError(
                f"The images have values from {lowest} to {highest}, expected finite values of at "
                "least 0"
            )
        if highest > LARGEST_SCALE_RATIO * scale:
            raise CodesError(
                f"The images have values up to {highest:g}, those that the {self.model} model "
                f"learned from up to {self.scale:g}: convert them to the same unit"
            )
        values = images.reshape(len(images), -1).astype(np.float32)
        values /= np.float32(scale)
        return np.minimum(values, np.float32(1), out=values)


def layers_sha256(layers: Iterable[DenseLayer]) -> str:
    """SHA-256 of the weights in order: of each, its type, shape and values."""
    digest = hashlib.sha256()
    for layer in layers:
        for weight in (layer.kernel, layer.bias):
            digest.update(f"{weight.dtype.str}{weight.shape}".encode())
            digest.update(weight.tobytes())
    return digest.hexdigest()


def read_encoder(path: Path | str) -> Encoder:
    """Read an encoder file and check all of it.

    Raises:
        CodesError: the file is missing or damaged, or the model has layers that are not dense.
    """
    path = Path(path)
    attributes, layers = _read_file(path)
    if reason := attributes.get(UNSUPPORTED):
        raise CodesError(
            f"NumPy cannot compute the encoder of the {attributes['model']} model: {reason}. Use "
            f"{path.with_name('encoder.keras')} with Keras"
        )
    facts = {name: attributes[name] for name in ENCODER_ATTRIBUTES}
    return Encoder(**facts | {"image_shape": tuple(facts["image_shape"])}, layers=layers)


def check_encoder(path: Path) -> str:
    """Check an encoder file; return its `encoder_weights_sha256`.

    Raises:
        CodesError: the file is missing or damaged.
    """
    sha256: str = _read_file(path)[0]["encoder_weights_sha256"]
    return sha256


def _read_file(path: Path) -> tuple[dict[str, Any], tuple[DenseLayer, ...]]:
    """The attributes and the layers; a file without layers has the reason as an attribute."""
    with refusals_explained(path, "an encoder file"), h5py.File(path, "r", locking=False) as file:
        attributes = read_attributes(file)
        _check_attributes(attributes)
        layers = tuple(_read_layer(file[name]) for name in attributes.get("layers", ()))
        if UNSUPPORTED not in attributes:
            _check_layers(layers, attributes)
    return attributes, layers


def _check_attributes(attributes: dict[str, Any]) -> None:
    found = attributes.get("schema_name"), attributes.get("schema_version")
    if found != (ENCODER_SCHEMA, ENCODER_VERSION):
        raise CodesError(f"its schema is {found}, expected {(ENCODER_SCHEMA, ENCODER_VERSION)}")
    content = {UNSUPPORTED: str} if UNSUPPORTED in attributes else {"layers": list}
    for name, kind in (ENCODER_ATTRIBUTES | content).items():
        if type(value := attributes.get(name)) is not kind:
            raise CodesError(f"attribute {name} is {value!r}, expected {kind.__name__}")


def _read_layer(group: h5py.Group) -> DenseLayer:
    activation = read_attributes(group)["activation"]
    if activation not in ACTIVATIONS:
        raise CodesError(f"its activation {activation} is none of {', '.join(ACTIVATIONS)}")
    return DenseLayer(group["kernel"][...], group["bias"][...], activation)


def _check_layers(layers: tuple[DenseLayer, ...], attributes: dict[str, Any]) -> None:
    inputs = math.prod(attributes["image_shape"])
    for layer in layers:
        found = layer.kernel.shape, layer.bias.shape
        expected = (inputs, len(layer.bias)), (len(layer.bias),)
        if found != expected:
            raise CodesError(f"a kernel and its bias have shapes {found}, expected {expected}")
        inputs = len(layer.bias)
    if layers_sha256(layers) != attributes["encoder_weights_sha256"]:
        raise CodesError("its weights do not have the SHA-256 in encoder_weights_sha256")
