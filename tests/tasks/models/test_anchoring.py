from pathlib import Path

import numpy as np
import pytest

from tasks.core.backend import keras
from tasks.core.errors import StepError
from tasks.core.records import DatasetRecord
from tasks.encoding.encoder import load_autoencoder
from tasks.images.store import open_images
from tasks.models.anchoring import load_anchor, write_anchor_codes
from tasks.models.spec import Anchor
from tasks.models.store import ModelRecord
from tests.conftest import anchor_to


def test_the_codes_are_those_of_the_anchor_for_its_scale(
    model: ModelRecord, dataset: DatasetRecord, root: Path, tmp_path: Path
) -> None:
    images = open_images(dataset, "train", root)
    encoder = load_anchor(anchor_to(model), root / model.folder / "encoder.keras", images)
    for scale in (255.0, 100.0):
        codes = write_anchor_codes(encoder, scale, images, tmp_path / "codes.npy")
        expected = [block.codes for block in load_autoencoder(model, root).encode(images, scale)]
        assert isinstance(codes, np.memmap)
        np.testing.assert_allclose(codes, np.concatenate(expected), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("weights", "has weights [0-9a-f]{12}, expected [0-9a-f]{12}: restore the file, or add --"),
        ("bytes", "cannot be read .*add --new-basis"),
        ("images", "encodes images of 784 values, these have 783: add --new-basis"),
    ],
)
def test_another_encoder_is_refused(
    change: str, expected: str, model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    images = open_images(dataset, "train", root)
    file = root / model.folder / "encoder.keras"
    if change == "weights":
        encoder = keras.saving.load_model(file)
        encoder.layers[-1].bias.assign(encoder.layers[-1].bias + 1)
        encoder.save(file)
    elif change == "bytes":
        file.write_bytes(file.read_bytes()[:100])
    else:
        images = images.reshape(len(images), -1)[:, 1:]
    with pytest.raises(StepError, match=expected):
        load_anchor(anchor_to(model), file, images)


def test_an_anchor_needs_a_strength() -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        Anchor(basis="a" * 64, fingerprint="f" * 64, scale=1.0, strength=0)
