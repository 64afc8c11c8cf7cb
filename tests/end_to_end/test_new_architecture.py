"""An architecture that is not ours, from its flag to its codes."""

import json
import subprocess
import sys
from pathlib import Path

import h5py
import pytest

from tasks.codes import CodesError, open_published
from tasks.models.store import ModelRecord
from tests.conftest import SAMPLE, SAMPLE_FOLDER
from tests.convolutional import CONVOLUTIONAL


def retrain(*flags: str) -> subprocess.CompletedProcess[str]:
    """Run the flow twice with the architecture in its registry."""
    return subprocess.run(
        [sys.executable, "-m", "tests.convolutional", *flags],
        capture_output=True,
        text=True,
        check=False,
    )


def test_form_and_flags_follow_the_registry() -> None:
    shown = " ".join(retrain("--help").stdout.split())
    assert "--conv " in shown
    assert "Also train the conv model: it sees neighbours" in shown
    assert "--conv-epochs N" in shown
    assert "default: 30)" in shown


def test_the_model_is_trained_published_and_reused(root: Path) -> None:
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
