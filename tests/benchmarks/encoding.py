"""Our encoding against `encoder.predict`, from host array to host array, as part of `make bench`.

All are compiled before they are timed, and they take turns, so that a noisy machine slows all
alike. Keras gets normalized float32 images, ours start from uint8. A run writes the error of the
reconstruction beside each code, so it decodes too; without that, it does what `predict` does.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tasks.core.backend import keras, tf
from tasks.core.records import DatasetRecord
from tasks.core.storage import prepare_artifacts_folder, write_bytes
from tasks.encoding.encoder import THREADS, load_autoencoder
from tasks.images.store import open_images
from tasks.models.batches import Block, blocks_in_order, map_ahead
from tasks.models.compiled import normalize
from tasks.models.obtain import obtain_model
from tasks.models.store import ENCODER_FILE, ModelRecord
from tasks.parameters.images import DataParameters
from tasks.parameters.retrain import Parameters, RunParameters
from tests.benchmarks.machine import describe_machine
from tests.benchmarks.training import RESULTS
from tests.fetching import fetch

ROUNDS = 7
OURS, OURS_WITH_ERRORS = "ours, codes alone", "ours, codes and errors"
THEIRS = "encoder.predict, default batch"
LEAST_RATIO = 10.0
"""Times that `encoder.predict` must take of our encoding: doing the same, codes alone."""


def compile_codes(encoder: keras.Model) -> Callable[..., tf.Tensor]:
    """Compile: (block of uint8 images, scale) -> codes."""

    def encode(images: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
        return encoder(normalize(images, scale))

    return tf.function(encode, jit_compile=True, autograph=False)  # type: ignore[no-any-return]


def measure(model: ModelRecord, dataset: DatasetRecord) -> dict[str, Any]:
    """Median seconds for all training images, in rounds taken in turn."""
    root = prepare_artifacts_folder()
    images = np.array(open_images(dataset, "train", root))
    normalized = images.reshape(len(images), -1).astype(np.float32) / np.float32(dataset.scale)
    autoencoder = load_autoencoder(model, root)
    encoder = keras.saving.load_model(root / model.folder / ENCODER_FILE)
    encode_alone = compile_codes(encoder)
    scale = tf.constant(dataset.scale, tf.float32)

    def encode_block(block: Block) -> np.ndarray:
        codes: np.ndarray = encode_alone(block.images, scale).numpy()
        return codes[: block.rows]

    ways: dict[str, Callable[[], np.ndarray]] = {
        OURS: lambda: np.concatenate(
            list(map_ahead(encode_block, blocks_in_order(images), THREADS))
        ),
        OURS_WITH_ERRORS: lambda: np.concatenate(
            [block.codes for block in autoencoder.encode(images, dataset.scale)]
        ),
        THEIRS: lambda: encoder.predict(normalized, verbose=0),
        "encoder.predict, batches of 2048": lambda: encoder.predict(
            normalized, batch_size=2048, verbose=0
        ),
    }
    results = [way() for way in ways.values()]
    for result in results[1:]:
        np.testing.assert_allclose(result, results[0], rtol=0, atol=1e-4 * results[0].max())
    medians = time_in_turns(ways)
    return {
        "images": len(images),
        "seconds": medians,
        "predict_takes_times": {name: medians[THEIRS] / medians[name] for name in medians},
    }


def time_in_turns(ways: dict[str, Callable[[], np.ndarray]]) -> dict[str, float]:
    """Median seconds of each way, by its name; in each round all of them take their turn."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}


def main() -> int:
    """Measure both models, print, write JSON; return the exit code, 1 if we are too slow."""
    root = prepare_artifacts_folder()
    dataset = fetch(DataParameters(), root)
    results = {}
    for spec in Parameters(run=RunParameters(quick=True)).specs():
        model = obtain_model(dataset, spec, "cpu", root, lambda progress: None)
        results[model.name] = measure(model, dataset)
    text = json.dumps({**describe_machine(), "rounds": ROUNDS, "models": results}, indent=2)
    print(text)
    write_bytes(RESULTS / "encoding.json", (text + "\n").encode())
    ratios = {name: found["predict_takes_times"][OURS] for name, found in results.items()}
    slow = {name: ratio for name, ratio in ratios.items() if ratio < LEAST_RATIO}
    for name, ratio in slow.items():
        print(
            f"{THEIRS} takes {ratio:.1f} times our encoding with the {name} model, expected at "
            f"least {LEAST_RATIO:g}",
            file=sys.stderr,
        )
    return int(bool(slow))


if __name__ == "__main__":
    sys.exit(main())
