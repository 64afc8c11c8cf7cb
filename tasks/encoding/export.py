"""Copies of a run's results in forms for other tools, made from its own files.

`codes/<split>-<model>.npy` are the codes as an array that can be mapped into memory;
`models/<model>/encoder.h5` are the weights of the encoder as plain arrays.
"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from tasks.codes.activations import ACTIVATIONS
from tasks.codes.contract import chunks_of
from tasks.codes.encoder import (
    ENCODER_SCHEMA,
    ENCODER_VERSION,
    DenseLayer,
    check_encoder,
)
from tasks.codes.errors import CodesError
from tasks.codes.published import PLAIN_ENCODER_FILE
from tasks.core.hdf5 import create_hdf5
from tasks.core.records import DatasetRecord, Split
from tasks.core.storage import atomic_file
from tasks.encoding.writer import write_attributes
from tasks.models.store import ENCODER_FILE, ModelRecord

if TYPE_CHECKING:
    from tasks.core.backend import keras

logger = logging.getLogger(__name__)


def codes_file(split: Split) -> str:
    """The codes file of a split, relative to the folder of its run."""
    return f"codes/{split}.h5"


def array_file(split: Split, model: str) -> str:
    """The array of one model's codes, relative to the folder of its run."""
    return f"codes/{split}-{model}.npy"


def write_arrays(split: Split, models: list[ModelRecord], folder: Path) -> None:
    """Copy the codes of a verified codes file to an array for each model, a chunk at a time.

    Args:
        folder: of the run.
    """
    with h5py.File(folder / codes_file(split), "r", locking=False) as file:
        for model in models:
            with atomic_file(folder / array_file(split, model.name)) as partial:
                _write_array(partial, file[f"{model.name}/codes"])


def _write_array(path: Path, codes: h5py.Dataset) -> None:
    descr = np.lib.format.dtype_to_descr(codes.dtype)
    header = {"descr": descr, "fortran_order": False, "shape": codes.shape}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for rows in chunks_of(codes):
            file.write(np.ascontiguousarray(rows).data)


def obtain_encoder(model: ModelRecord, dataset: DatasetRecord, folder: Path, root: Path) -> None:
    """Write a model's encoder as plain arrays, unless an earlier attempt did.

    Args:
        folder: of the run.
    """
    path = folder / "models" / model.name / PLAIN_ENCODER_FILE
    try:
        if check_encoder(path) == model.encoder_weights_sha256:
            return
    except CodesError:  # missing or damaged
        pass
    from tasks.core.backend import keras

    write_encoder(path, keras.saving.load_model(root / model.folder / ENCODER_FILE), model, dataset)


def write_encoder(
    path: Path, encoder: "keras.Model", record: ModelRecord, dataset: DatasetRecord
) -> None:
    """Write an encoder's layers; where NumPy cannot compute them, only the reason.

    Raises:
        CodesError: the written file is not that encoder.
    """
    layers: dict[str, DenseLayer] = {}
    try:
        layers = find_dense_layers(encoder)
        content: dict[str, Any] = {"layers": list(layers)}
    except ValueError as error:
        logger.info("Only Keras can compute the encoder of the %s model: %s", record.name, error)
        content = {"unsupported": str(error)}
    attributes = {
        "schema_name": ENCODER_SCHEMA,
        "schema_version": ENCODER_VERSION,
        "model": record.name,
        "fingerprint": record.fingerprint,
        "encoder_weights_sha256": record.encoder_weights_sha256,
        "basis": record.basis or record.encoder_weights_sha256,
        "image_shape": dataset.image_shape,
        "dtype": dataset.dtype,
        "scale": dataset.scale,
        **content,
    }
    with atomic_file(path) as partial:
        with create_hdf5(partial) as file:
            write_attributes(file, attributes)
            for name, layer in layers.items():
                group = file.create_group(name)
                write_attributes(group, {"activation": layer.activation})
                group.create_dataset("kernel", data=layer.kernel, track_times=False)
                group.create_dataset("bias", data=layer.bias, track_times=False)
        check_encoder(partial)


def find_dense_layers(encoder: "keras.Model") -> dict[str, DenseLayer]:
    """The layers of an encoder, by name, if it is a chain of dense layers.

    Raises:
        ValueError: it is not; names the first layer that does not fit.
    """
    from tasks.core.backend import keras

    layers, value = {}, encoder.inputs[0]
    for layer in encoder.layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        if type(layer) is not keras.layers.Dense:
            raise ValueError(f"its layer {layer.name} is {type(layer).__name__}, not Dense")
        if layer.input is not value or not layer.use_bias:
            raise ValueError(f"its layer {layer.name} has no bias or is not in a chain of layers")
        kernel, bias = layer.get_weights()
        layers[layer.name] = DenseLayer(kernel, bias, _activation_name(layer))
        value = layer.output
    return layers


def _activation_name(layer: "keras.layers.Dense") -> str:
    from tasks.core.backend import keras

    for name in ACTIVATIONS:
        if layer.activation is keras.activations.get(name):
            return name
    found = keras.activations.serialize(layer.activation)
    raise ValueError(f"its layer {layer.name} has the activation {found}")
