import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.codes.contract import layout
from tasks.codes.provenance import read_attributes
from tasks.codes.published import PublishedRun
from tasks.codes.reader import Codes
from tasks.core.records import SPLITS, Split
from tests.conftest import SAMPLE

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
ARTIFACTS_README = REPOSITORY / "artifacts" / "README.md"
MODELS = ("shallow", "deep")
DATASETS = [entry.path for entry in layout(MODELS, labelled=True)]


def run(*command: str | Path, cwd: Path = HERE, **environment: str) -> str:
    """What a command prints; one that fails or complains fails the test."""
    result = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, ""), f"{command}:\n{result.stderr}"
    return result.stdout


@pytest.fixture(params=SPLITS)
def path(request: pytest.FixtureRequest, published: PublishedRun) -> Path:
    """A codes file."""
    return published.file(f"codes/{request.param}.h5")


@pytest.fixture
def arrays(path: Path) -> dict[str, NDArray[Any]]:
    """What our own reader finds in it."""
    with h5py.File(path) as file:
        return {name: file[name][...] for name in DATASETS}


@pytest.fixture
def attributes(path: Path) -> dict[str, dict[str, Any]]:
    """The attributes that our own reader finds, by the path of what they belong to."""
    with h5py.File(path) as file:
        return {name: read_attributes(file[name]) for name in ("/", *MODELS)}


def test_the_split_has_all_its_rows(arrays: dict[str, NDArray[Any]], path: Path) -> None:
    rows = {"train": 512, "test": 128}[path.stem]
    assert {name: array.shape for name, array in arrays.items()} == {
        "index": (rows,),
        "labels": (rows,),
        "shallow/codes": (rows, 32),
        "shallow/reconstruction_mse": (rows,),
        "deep/codes": (rows, 32),
        "deep/reconstruction_mse": (rows,),
    }
    assert len(np.unique(arrays["deep/codes"], axis=0)) > rows / 2, "the codes tell nothing apart"


@pytest.mark.parametrize("name", DATASETS)
def test_h5dump_reads_every_value(
    name: str, path: Path, arrays: dict[str, NDArray[Any]], tmp_path: Path
) -> None:
    run("h5dump", "-d", f"/{name}", "-b", "LE", "-o", tmp_path / "values", path)
    assert (tmp_path / "values").read_bytes() == arrays[name].tobytes()


def test_h5dump_shows_every_attribute(path: Path, attributes: dict[str, dict[str, Any]]) -> None:
    options = ("--escape", "--width=0", "--format=%.17g")  # as JSON has them
    for item, expected in attributes.items():
        for name, value in expected.items():
            shown = run("h5dump", *options, "-a", f"{item.rstrip('/')}/{name}", path)
            lines = re.findall(r"^ *\(\d+\): (.*)$", shown, re.MULTILINE)
            values = json.loads(f"[{''.join(lines)}]")
            assert values == (value if isinstance(value, list) else [value])


def test_ncdump_shows_every_text_of_the_file(
    path: Path, attributes: dict[str, dict[str, Any]]
) -> None:
    shown = run("ncdump", "-h", path)
    for values in attributes.values():
        for name, value in values.items():
            if isinstance(value, str) or name == "models":
                texts = ", ".join(map(json.dumps, value if isinstance(value, list) else [value]))
                assert f"\t\tstring :{name} = {texts} ;\n" in shown


def test_h5py_gives_text_that_compares(
    path: Path, attributes: dict[str, dict[str, Any]], published: PublishedRun
) -> None:
    with h5py.File(path) as file:
        assert file.attrs["content_sha256"] == attributes["/"]["content_sha256"]
        assert list(file.attrs["models"]) == list(MODELS)
        assert tuple(json.loads(file.attrs["class_names"])) == published.class_names


def test_h5stat_finds_every_dataset_filtered(path: Path) -> None:
    report = run("h5stat", path)
    for fact in (
        "# of unique groups: 3",
        "# of unique datasets: 6",
        "# of unique links: 0",
        "Dataset layout counts[CHUNKED]: 6",
        "Number of external files : 0",
        "GZIP filter: 6",
        "SHUFFLE filter: 6",
        "FLETCHER32 filter: 6",
    ):
        assert fact in report


@pytest.fixture
def in_javascript(path: Path) -> dict[str, Any]:
    """What h5wasm, a later HDF5 compiled for browsers, finds in the file."""
    found: dict[str, Any] = json.loads(run("node", "read_codes.mjs", path))
    return found


def test_h5wasm_finds_what_the_contract_names(in_javascript: dict[str, Any]) -> None:
    assert set(in_javascript) == {"/", *MODELS, *DATASETS}


def test_h5wasm_reads_every_value(
    in_javascript: dict[str, Any], arrays: dict[str, NDArray[Any]]
) -> None:
    for name, expected in arrays.items():
        found = in_javascript[name]
        assert tuple(found["shape"]) == expected.shape
        assert found["dtype"] == {"int64": "<q", "float32": "<f"}[expected.dtype.name]
        # Integers come as text; every float32 is a JSON number from which it comes back.
        values = np.array(found["values"]).astype(expected.dtype)
        assert values.tobytes() == expected.tobytes()


def test_h5wasm_reads_every_attribute(
    in_javascript: dict[str, Any], attributes: dict[str, dict[str, Any]]
) -> None:
    for item, expected in attributes.items():
        assert in_javascript[item]["attributes"] == in_json(expected)
    assert not any(in_javascript[name]["attributes"] for name in DATASETS)


def in_json(value: Any) -> Any:
    """The form that values have in what `read_codes.mjs` prints."""
    if isinstance(value, dict):
        return {name: in_json(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [in_json(entry) for entry in value]
    return str(value) if isinstance(value, int) else value


@pytest.fixture
def workplace(published: PublishedRun, tmp_path: Path) -> Path:
    """A folder in which the examples find the names that stand in them."""
    link = tmp_path / "artifacts" / "published" / "fashion-mnist"
    link.parent.mkdir(parents=True)
    link.symlink_to(published.folder)
    journal = tmp_path / "artifacts" / "publications" / "fashion-mnist.json"
    journal.parent.mkdir()
    journal.symlink_to(published.folder.parents[1] / "publications" / f"{SAMPLE.dataset}.json")
    (tmp_path / "node_modules").symlink_to(HERE / "node_modules")
    return tmp_path


def example(language: str, library: str) -> str:
    """The README's example of reading codes in a language with a library."""
    section = ARTIFACTS_README.read_text().partition("\n## Reading codes\n")[2]
    section = section.partition("\n## ")[0]
    examples: list[str] = re.findall(
        rf"^```{language}\n(.*?)^```", section, re.DOTALL | re.MULTILINE
    )
    (code,) = (code for code in examples if library in code)
    return code


def labels_of(codes: Codes) -> NDArray[np.int64]:
    assert codes.labels is not None
    return codes.labels


def test_the_example_in_plain_python_reads_the_codes(
    workplace: Path, published: PublishedRun
) -> None:
    show = "print(json.dumps([codes.tolist(), labels.tolist(), models, names]))\n"
    # -I: of this project, it finds nothing.
    codes, labels, models, names = json.loads(
        run(sys.executable, "-I", "-c", example("python", "import h5py") + show, cwd=workplace)
    )
    expected = published.codes("test", "deep")
    assert np.array_equal(np.array(codes), expected.codes)
    assert np.array_equal(labels, labels_of(expected))
    assert (models, names) == (list(MODELS), list(published.class_names))


def test_the_example_with_this_project_reads_the_codes(
    workplace: Path, published: PublishedRun
) -> None:
    code = example("python", "tasks.codes import open_published") + "print(encoder)\n"
    root = str(workplace / "artifacts")
    shown = run(sys.executable, "-c", code, cwd=REPOSITORY, AUTOENCODER_ARTIFACTS=root)
    expected = published.codes("test", "deep")
    facts = (expected.codes.shape, labels_of(expected)[:5], expected.model.validation_loss)
    encoder = published.folder / "models" / "deep" / "encoder.keras"
    assert shown == f"{' '.join(map(str, facts))}\n{encoder}\n"


def test_the_example_says_which_codes_changed(workplace: Path, published: PublishedRun) -> None:
    code = example("python", "changed_models")
    root = str(workplace / "artifacts")
    shown = run(sys.executable, "-c", code, cwd=REPOSITORY, AUTOENCODER_ARTIFACTS=root)
    changed, last = shown.splitlines()
    assert changed == "('deep', 'shallow')", "nothing was published a week ago"
    assert last.split()[0] == published.name
    assert last.split()[-1] == published.codes("test", "deep").model.codes_sha256


def test_the_example_in_javascript_reads_the_codes(
    workplace: Path, published: PublishedRun
) -> None:
    results = "[[...codes], [rows, codeSize], `${labels}`, models, names]"
    show = f"console.log(JSON.stringify({results}));\n"
    (workplace / "read.mjs").write_text(example("js", "h5wasm") + show)
    codes, shape, labels, models, names = json.loads(
        run("node", "read.mjs", "artifacts/published/fashion-mnist", cwd=workplace)
    )
    expected = published.codes("test", "deep")
    assert np.array_equal(np.array(codes).reshape(shape), expected.codes)
    assert np.array_equal(np.array(labels.split(","), int), labels_of(expected))
    assert (models, names) == (list(MODELS), list(published.class_names))


def test_hugging_face_takes_the_files_as_one_table_each(
    published: PublishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("connects to a network"))
    import datasets  # reads its environment when it is imported

    tables = datasets.load_dataset(
        "hdf5", data_files={split: str(published.file(f"codes/{split}.h5")) for split in SPLITS}
    ).with_format("numpy")
    for split in SPLITS:
        assert_same_columns(tables[split], published, split)


def assert_same_columns(table: Any, published: PublishedRun, split: Split) -> None:
    """A dataset of the file is a column; a group is a column of records."""
    assert set(table.column_names) == {"index", "labels", *MODELS}
    columns = table[:]
    for model in MODELS:
        expected = published.codes(split, model)
        assert len(table) == len(expected.codes)
        assert np.array_equal(columns["index"], expected.index)
        assert np.array_equal(columns["labels"], labels_of(expected))
        codes = np.stack([row["codes"] for row in columns[model]])
        assert codes.dtype == np.float32
        assert np.array_equal(codes, expected.codes)
        mse = np.array([row["reconstruction_mse"] for row in columns[model]])
        assert np.array_equal(mse, expected.reconstruction_mse)
