"""The files of a run for other tools, read by those tools; the examples of the documentation."""

import json
import re
import shutil
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tasks.codes.published import PublishedRun, open_run, published_link
from tasks.codes.stored import join_codes, read_stored
from tasks.images import fashion_mnist
from tasks.models.obtain import obtain_model
from tasks.reports.report import render_files
from tasks.runs.building import building_folder
from tasks.runs.lookup import find_published
from tasks.runs.publication import complete_run
from tests.conftest import SAMPLE, SPEC, anchor_to
from tests.end_to_end.conftest import DEEP_SPEC, run_record, write_files
from tests.end_to_end.test_readers import ARTIFACTS_README, REPOSITORY, labels_of, run

NAME = "fashion-mnist"
"""The dataset of the examples; here the sample has that name."""


def find_example(heading: str, text: str) -> str:
    """The example in Python that contains a text, in a section of artifacts/README.md."""
    section = ARTIFACTS_README.read_text().partition(f"\n## {heading}")[2].partition("\n## ")[0]
    examples = re.findall(r"^```python\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    (code,) = (code for code in examples if text in code)
    return str(code)


@pytest.fixture(scope="module")
def workplace(artifacts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder beside a copy of the artifacts, of which the sample was published three times.

    The last time, in `run-2`, the shallow model was trained with another seed, before, in
    `anchored`, the deep one too, in the basis of the first.
    """
    folder = tmp_path_factory.mktemp("workplace")
    (folder / "autoencoder_codes").symlink_to(REPOSITORY / "tasks" / "codes")
    root = folder / "artifacts"
    shutil.copytree(artifacts, root, symlinks=True)
    first = find_published(SAMPLE.dataset, root)
    assert first
    other = SPEC.model_copy(update={"seed": 1})
    shallow = obtain_model(first.dataset, other, "cpu", root, lambda progress: None)
    deep = first.models[1]
    anchored = obtain_model(
        first.dataset,
        DEEP_SPEC.model_copy(update={"seed": 1}).anchored_to(anchor_to(deep)),
        "cpu",
        root,
        lambda progress: None,
        anchor=root / deep.folder / "encoder.keras",
    )
    models = (shallow, deep)
    dataset = first.dataset.model_copy(update={"class_names": fashion_mnist.CLASSES})
    for name, made in (("anchored", (shallow, anchored)), ("run-2", models)):
        write_files(building_folder(name, root), dataset, list(made), root)
        complete_run(run_record(name, dataset, made), root, render_files)
    published_link(NAME, root).symlink_to(published_link(SAMPLE.dataset, root).readlink())
    shutil.copy(
        root / "publications" / f"{SAMPLE.dataset}.json", root / "publications" / f"{NAME}.json"
    )
    return folder


@pytest.fixture
def second(workplace: Path) -> PublishedRun:
    """The second run."""
    return open_run("run-2", workplace / "artifacts")


def show(heading: str, text: str, workplace: Path, more: str = "") -> str:
    """Run an example as it stands, with some lines more; what it prints."""
    return run(sys.executable, "-c", find_example(heading, text) + more, cwd=workplace)


def test_the_example_of_class_names_counts_all_images(
    workplace: Path, second: PublishedRun
) -> None:
    shown = show("Examples", "Counter", workplace)
    counts = eval(shown.strip(), {"Counter": dict})  # noqa: S307 - what the example printed
    labels = second.codes("test", "deep").labels
    assert labels is not None
    assert counts == {second.class_names[n]: int((labels == n).sum()) for n in np.unique(labels)}


def test_the_example_of_neighbours_finds_the_nearest(workplace: Path, second: PublishedRun) -> None:
    shown = show("Examples", "run.encoder", workplace)
    train, test = second.codes("train", "deep"), second.codes("test", "deep")
    distances = ((train.codes - test.codes[0]) ** 2).sum(axis=1)
    nearest = np.argsort(distances)[:5]
    assert train.labels is not None
    names = [second.class_names[label] for label in train.labels[nearest]]
    assert shown == f"{train.index[nearest]} {names}\n"


def test_the_example_with_pandas_gives_the_errors_of_each_class(
    workplace: Path, second: PublishedRun
) -> None:
    more = "print(table.shape, *table.columns[[0, -3, -1]])\nprint(table.to_json())\n"
    *_, shape, table = show("Examples", "pandas", workplace, more).splitlines()
    codes = second.codes("test", "deep")
    assert shape == "(128, 34) unit_0 unit_31 mse"
    columns = json.loads(table)
    assert list(map(int, columns["mse"])) == codes.index.tolist()
    unit = np.array(list(columns["unit_7"].values()))
    assert np.allclose(unit, codes.codes[:, 7], rtol=1e-6, atol=1e-6)
    assert codes.labels is not None
    assert columns["class"]["0"] == second.class_names[codes.labels[0]]


def test_the_example_in_plain_python_encodes_like_the_reader(
    workplace: Path, second: PublishedRun
) -> None:
    more = "import json\nprint(json.dumps(codes.tolist()))\n"
    found = np.array(json.loads(show("Encoding images", "import h5py", workplace, more)))
    images = np.random.default_rng(0).integers(0, 256, (10, 28, 28), np.uint8)
    expected = second.encoder("deep")(images)
    assert np.abs(found - expected).max() <= 1e-6 * np.abs(expected).max()


def test_keras_encodes_with_the_file_that_the_documentation_describes(
    second: PublishedRun,
) -> None:
    from tasks.core.backend import keras

    encoder = keras.saving.load_model(second.file("models/deep/encoder.keras"))
    images = np.random.default_rng(0).integers(0, 256, (100, 28, 28), np.uint8)
    scale = second.encoder("deep").scale
    flat = np.minimum(images.reshape(len(images), -1) / np.float32(scale), 1)
    expected = second.encoder("deep")(images)
    found = encoder.predict(flat, verbose=0)
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


def test_faiss_searches_the_mapped_arrays(workplace: Path, second: PublishedRun) -> None:
    more = "import json\nprint(json.dumps([distances.tolist(), rows.tolist()]))\n"
    distances, rows = json.loads(show("Codes for vector search", "faiss", workplace, more))
    train, test = second.codes("train", "deep").codes, second.codes("test", "deep").codes[:5]
    expected = ((train[np.newaxis] - test[:, np.newaxis]).astype(float) ** 2).sum(axis=2)
    assert np.array_equal(rows, np.argsort(expected, axis=1)[:, :3])
    assert np.allclose(distances, np.sort(expected, axis=1)[:, :3], rtol=1e-4)


def test_the_example_for_diskann_writes_its_format(workplace: Path, second: PublishedRun) -> None:
    show("Codes for vector search", "fbin", workplace)
    content = (workplace / "train-deep.fbin").read_bytes()
    assert np.frombuffer(content, "<u4", 2).tolist() == [512, 32]
    assert content[8:] == second.codes("train", "deep").codes.tobytes()


@pytest.fixture
def weeks(workplace: Path, tmp_path: Path) -> Callable[[str], None]:
    """A folder of its own with the same runs; the function publishes one of them."""
    (tmp_path / "autoencoder_codes").symlink_to(workplace / "autoencoder_codes")
    root = tmp_path / "artifacts"
    (root / "published").mkdir(parents=True)
    (root / "runs").symlink_to(workplace / "artifacts" / "runs")

    def publish(name: str) -> None:
        link = root / "published" / NAME
        link.unlink(missing_ok=True)
        link.symlink_to(f"../runs/{name}")

    return publish


def brute_force(stored: PublishedRun, asked: PublishedRun) -> str:
    """What the example prints: classes of test images and of the nearest stored codes."""
    train, test = stored.codes("train", "deep"), asked.codes("test", "deep")
    lines = []
    for query, label in zip(test.codes[:5], labels_of(test), strict=False):
        nearest = np.argsort(np.linalg.norm(train.codes.astype(float) - query, axis=1))[:3]
        names = [fashion_mnist.CLASSES[found] for found in labels_of(train)[nearest]]
        lines.append(f"{fashion_mnist.CLASSES[label]} is near to {' '.join(names)}\n")
    return "".join(lines)


def test_stored_codes_are_searched_with_those_of_a_retraining(
    weeks: Callable[[str], None], workplace: Path, tmp_path: Path
) -> None:
    before, after = (open_run(name, workplace / "artifacts") for name in ("run-2", "anchored"))
    models = [run.codes("test", "deep").model for run in (before, after)]
    assert models[0].encoder_weights_sha256 != models[1].encoder_weights_sha256
    weeks("run-2")
    assert not show("Examples", ')).write("stored.npz")', tmp_path)
    weeks("anchored")
    assert show("Examples", "read_stored", tmp_path) == brute_force(before, after)


def test_codes_stored_of_another_basis_are_replaced(
    weeks: Callable[[str], None], workplace: Path, tmp_path: Path
) -> None:
    now = open_run("run-2", workplace / "artifacts")
    train = now.codes("train", "deep")
    other = replace(train, model=replace(train.model, basis="0" * 64))
    join_codes(other).write(tmp_path / "stored.npz")
    weeks("run-2")
    refusal, *shown = show("Examples", "read_stored", tmp_path).splitlines(keepends=True)
    assert refusal.startswith("The run run-2 has codes of a new basis (shallow ")
    assert "expected 000000000000: rebuild what you stored from the codes of this run" in refusal
    assert "".join(shown) == brute_force(now, now)
    assert read_stored(tmp_path / "stored.npz").basis == train.basis


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No network, and a cache of the test's own."""
    monkeypatch.setenv("CROISSANT_CACHE", str(tmp_path))
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("connects to a network"))


@pytest.mark.usefixtures("offline")
# rdflib and its kin warn of what they themselves will change.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_mlcroissant_reads_the_description(second: PublishedRun) -> None:
    import mlcroissant

    dataset = mlcroissant.Dataset(jsonld=second.file("croissant.json"))
    assert not dataset.metadata.ctx.issues.errors
    found = {file.id: file for file in dataset.metadata.distribution}
    listed = {file.path: file for file in second.files if file.path != "croissant.json"}
    assert {path: file.sha256 for path, file in found.items()} == {
        path: file.sha256 for path, file in listed.items()
    }
    records: list[dict[str, Any]] = list(dataset.records("classes"))
    names = {row["classes/label"]: row["classes/name"] for row in records}
    assert names == dict(enumerate(second.class_names))


def test_h5py_alone_finds_what_the_documentation_names(second: PublishedRun) -> None:
    section = ARTIFACTS_README.read_text().partition("\n## Encoding images")[2]
    with h5py.File(second.file("models/deep/encoder.h5")) as file:
        assert set(file) == {"encoder_1", "encoder_2", "code"}
        for name in file.attrs:
            assert f"`{name}`" in section
        assert set(file["code"]) == {"kernel", "bias"}
        assert set(file["code"].attrs) == {"activation"}
