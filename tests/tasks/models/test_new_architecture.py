"""A convolutional architecture, added here alone and run from end to end.

What had to be written: `ConvolutionalArchitecture` and its entry in the registry. Flags, form,
recipe, fingerprint, checkpoints, codes, figures and report follow. In the project the entry stands
in `BUILT_IN`; here `python -m tests.tasks.models.test_new_architecture` adds it and does twice what
`python -m flows.retrain` does.
"""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest

from tasks.codes import CodesError, open_published
from tasks.models import architectures
from tasks.models.architectures import CODE_LAYER, LOGITS_LAYER, Architecture, BuiltIn
from tasks.models.recipes import Recipe

if TYPE_CHECKING:
    from tasks.core.backend import keras


class ConvolutionalArchitecture(Architecture):
    """One convolution, a dense code, and a decoder with one transposed convolution."""

    kind: str = "convolutional"
    filters: int = 4

    def describe(self, image_shape: tuple[int, ...]) -> str:
        pixels = math.prod(image_shape)
        return f"{pixels}-conv{self.filters}-{self.code_size}-conv{self.filters}-{pixels}"

    def connect(
        self, image: "keras.KerasTensor", image_shape: tuple[int, ...], recipe: Recipe, seed: int
    ) -> "keras.KerasTensor":
        from tasks.core.backend import keras

        height, width, *colours = image_shape
        channels = colours[0] if colours else 1
        seeds = iter(np.random.SeedSequence(seed).generate_state(4))

        def kernels() -> keras.Initializer:
            return getattr(keras.initializers, recipe.kernels)(seed=int(next(seeds)))

        layers = [
            keras.layers.Reshape((height, width, channels)),
            keras.layers.Conv2D(
                self.filters, 3, 2, "same", activation="relu", kernel_initializer=kernels()
            ),
            keras.layers.Flatten(),
            keras.layers.Dense(
                self.code_size,
                activation="relu",
                kernel_initializer=kernels(),
                bias_initializer=keras.initializers.Constant(recipe.code_bias),
                name=CODE_LAYER,
            ),
            keras.layers.Dense(
                height // 2 * (width // 2) * self.filters,
                activation="relu",
                kernel_initializer=kernels(),
            ),
            keras.layers.Reshape((height // 2, width // 2, self.filters)),
            keras.layers.Conv2DTranspose(channels, 3, 2, "same", kernel_initializer=kernels()),
            keras.layers.Flatten(name=LOGITS_LAYER),
        ]
        for layer in layers:
            image = layer(image)
        return image


CONVOLUTIONAL = ConvolutionalArchitecture(name="conv")

if __name__ == "__main__":
    architectures.BUILT_IN += (BuiltIn(CONVOLUTIONAL, epochs=30, optional="it sees neighbours"),)

    from flows.retrain import main

    sys.exit(max(main(sys.argv[1:]) for _ in range(2)))


def retrain(*flags: str) -> subprocess.CompletedProcess[str]:
    """Run the flow twice with the architecture in its registry."""
    return subprocess.run(
        [sys.executable, "-m", "tests.tasks.models.test_new_architecture", *flags],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def server(prefect_server: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test's Prefect server, for other processes too."""
    from prefect.settings import PREFECT_API_URL

    monkeypatch.setenv("PREFECT_API_URL", PREFECT_API_URL.value())


def test_form_and_flags_follow_the_registry() -> None:
    shown = " ".join(retrain("--help").stdout.split())
    assert "--conv " in shown
    assert "Also train the conv model: it sees neighbours" in shown
    assert "--conv-epochs N" in shown
    assert "default: 30)" in shown


@pytest.mark.usefixtures("server")
def test_the_model_is_trained_published_and_reused(root: Path) -> None:
    from tasks.models.store import ModelRecord
    from tests.conftest import SAMPLE, SAMPLE_FOLDER

    flags = ["--dataset", SAMPLE.dataset, "--source.idx-folder", str(SAMPLE_FOLDER)]
    flags += ["--conv", "--conv-epochs", "30", "--shallow-epochs", "1", "--deep-epochs", "1"]
    flags += ["--batch-size", "64", "--code-size", "16", "--publish-anyway"]
    both = retrain(*flags)
    assert both.returncode == 0, both.stderr
    assert both.stdout.count("Published: ") == 1
    assert both.stdout.count("Unchanged: ") == 1
    folder = root / "published" / SAMPLE.dataset
    manifest = json.loads((folder / "manifest.json").read_text())
    assert [model["name"] for model in manifest["models"]] == ["shallow", "deep", "conv"]
    model = ModelRecord.model_validate(manifest["models"][2])
    assert model.spec.architecture == CONVOLUTIONAL.model_copy(update={"code_size": 16})
    assert model.layers == "784-conv4-16-conv4-784"
    assert model.spec.recipe.epochs == 30
    assert model.validation_loss < 0.5  # where all is grey, it is 0.69
    with h5py.File(folder / "codes" / "test.h5") as file:
        assert file["conv/codes"].shape == (128, 16)
        assert file["conv/codes"][...].min() >= 0
    files = {file["path"] for file in manifest["files"]}
    assert {"figures/codes-conv.png", "models/conv/encoder.keras", "report.html"} <= files
    assert "conv" in (folder / "report.md").read_text()
    published = open_published(SAMPLE.dataset, root)
    assert published.encoder("deep").code_size == 16
    with pytest.raises(CodesError, match="conv model: its layer reshape.* is Reshape, not Dense"):
        published.encoder("conv")
    assert [path.name for path in (root / "runs").iterdir()] == [manifest["run"]]
