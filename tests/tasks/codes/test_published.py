import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from tasks.codes import CodesError, open_published, open_run
from tasks.codes import published as published_module
from tasks.codes.published import artifacts_folder, published_link
from tasks.core.records import DatasetRecord
from tasks.models.store import ModelRecord
from tests.conftest import complete

MANIFEST: dict[str, Any] = {
    "schema_version": 3,
    "run": "later",
    "dataset": {"name": "mine", "class_names": ["boot", "coat"], "unknown": 1},
    "models": [{"name": "shallow", "unknown": {}}, {"name": "deep"}],
    "files": [{"path": "report.md", "size": 2, "sha256": "a" * 64, "unknown": []}],
    "unknown": None,
}


@pytest.fixture
def manifest(root: Path) -> Path:
    """The manifest of a run of a later version of this project."""
    path = root / "runs" / "later" / "manifest.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(MANIFEST))
    return path


def test_a_published_run_stays_the_same_run(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    complete("run-1", model, dataset, root)
    run = open_published(dataset.name)
    complete("run-2", model, dataset, root)
    assert run.name == "run-1"
    assert run.folder == (root / "runs" / "run-1").resolve()
    assert len(run.codes("train", "shallow").codes) == 512
    assert run.codes(model="shallow").labels is not None
    assert open_published(dataset.name, str(root)).name == "run-2"
    assert dataclasses.replace(open_run("run-1"), folder=run.folder) == run


def test_a_published_file_that_was_changed_is_refused(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    complete("run-1", model, dataset, root)
    run = open_published(dataset.name, root)
    path = run.folder / "codes" / "test.h5"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(CodesError, match="differs from its manifest"):
        run.codes(model="shallow")
    with pytest.raises(CodesError, match="has no file codes/other.h5"):
        run.file("codes/other.h5")


def test_a_missing_file_is_named(model: ModelRecord, dataset: DatasetRecord, root: Path) -> None:
    complete("run-1", model, dataset, root)
    run = open_published(dataset.name, root)
    (run.folder / "report.md").unlink()
    with pytest.raises(CodesError, match=r"report\.md cannot be read \(No such file"):
        run.file("report.md")


def test_fields_that_a_reader_does_not_know_are_ignored(manifest: Path, root: Path) -> None:
    run = open_run("later", root)
    assert (run.name, run.dataset, run.schema_version) == ("later", "mine", 3)
    assert run.class_names == ("boot", "coat")
    assert run.models == ("shallow", "deep")
    assert run.files == (("report.md", 2, "a" * 64),)
    assert run.folder == manifest.parent


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (["run"], 7, "run is 7, expected str"),
        (["run"], None, "run is missing, expected str"),
        (["schema_version"], "1", "schema_version is '1', expected int"),
        (["dataset"], [], r"dataset\.name is missing, expected str"),
        (["dataset", "class_names"], [1], r"dataset\.class_names"),
        (["models"], {}, "models is {}, expected list"),
        (["models", 1], "deep", "name is missing, expected str"),
        (["files", 0, "size"], 2.0, r"size is 2\.0, expected int"),
        (["files", 0, "sha256"], None, "sha256 is missing, expected str"),
    ],
)
def test_what_is_missing_or_of_another_type_is_named(
    path: list[Any], value: object, reason: str, manifest: Path, root: Path
) -> None:
    damaged = json.loads(manifest.read_text())
    parent = damaged
    for name in path[:-1]:
        parent = parent[name]
    parent[path[-1]] = value
    manifest.write_text(json.dumps(damaged))
    with pytest.raises(CodesError, match=rf"manifest\.json cannot be used: {reason}") as refusal:
        open_run("later", root)
    assert "\n" not in str(refusal.value)


def test_a_run_of_another_basis_is_refused(manifest: Path, root: Path) -> None:
    models = [{"name": "shallow", "basis": "a" * 64}, {"name": "deep", "basis": "b" * 64}]
    manifest.write_text(json.dumps(MANIFEST | {"models": models}))
    link = published_link("mine", root)
    link.parent.mkdir()
    link.symlink_to("../runs/later")
    assert open_published("mine", root).bases == {"shallow": "a" * 64, "deep": "b" * 64}
    for basis in ("a" * 64, None):
        assert open_published("mine", root, basis=basis).basis == basis
    for open_by_name, name in ((open_published, "mine"), (open_run, "later")):
        with pytest.raises(CodesError) as refusal:
            open_by_name(name, root, basis="c" * 64)
        assert str(refusal.value) == (
            "The run later has codes of a new basis (shallow aaaaaaaaaaaa, deep bbbbbbbbbbbb), "
            "expected cccccccccccc: rebuild what you stored from the codes of this run, and store "
            "their basis with it"
        )


def test_a_run_opened_with_a_basis_gives_nothing_of_another(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    complete("run-1", model, dataset, root)
    run = open_published(dataset.name, root, basis=model.basis)
    assert run.codes(model="shallow").basis == run.encoder("shallow").basis == model.basis
    kept = dataclasses.replace(run, basis="b" * 64, bases={**run.bases, "wide": "b" * 64})
    reason = (
        "The shallow codes of run run-1 have basis .*, not bbbbbbbbbbbb, .*: take those of wide"
    )
    with pytest.raises(CodesError, match=reason):
        kept.codes(model="shallow")
    with pytest.raises(CodesError, match=reason):
        kept.encoder("shallow")


def test_each_encoder_of_an_earlier_version_has_its_own_basis(manifest: Path, root: Path) -> None:
    models = [{"name": "shallow", "basis": None, "encoder_weights_sha256": "e" * 64}]
    manifest.write_text(json.dumps(MANIFEST | {"models": models}))
    assert open_run("later", root).bases == {"shallow": "e" * 64}


@pytest.mark.parametrize("content", ["", "{", "\udcff"])
def test_a_manifest_that_is_no_json_is_refused(content: str, manifest: Path, root: Path) -> None:
    manifest.write_text(content, errors="surrogateescape")
    with pytest.raises(CodesError, match=r"manifest\.json is not JSON"):
        open_run("later", root)


def test_a_manifest_without_class_names_has_none(manifest: Path, root: Path) -> None:
    manifest.write_text(json.dumps(MANIFEST | {"dataset": {"name": "mine"}}))
    assert open_run("later", root).class_names == ()


def test_a_folder_without_manifest_is_no_run(root: Path) -> None:
    with pytest.raises(CodesError, match=r"runs/absent holds no run \(No such file or directory\)"):
        open_run("absent", root)


def test_a_dangling_link_is_explained(root: Path) -> None:
    link = published_link("mine", root)
    link.parent.mkdir()
    link.symlink_to("../runs/gone")
    with pytest.raises(CodesError, match=r"leads to \.\./runs/gone, which is gone: publish"):
        open_published("mine", root)


def test_nothing_published_is_explained(root: Path) -> None:
    with pytest.raises(CodesError, match=r"No run of the dataset mine is published in .*: run the"):
        open_published("mine")


@pytest.mark.parametrize("name", ["", ".", "..", "../runs/later", "/etc"])
def test_a_name_is_no_path(name: str, manifest: Path, root: Path) -> None:
    for open_by_name in (open_run, open_published):
        with pytest.raises(CodesError, match="is not the name of a run or dataset"):
            open_by_name(name, root)


def test_the_artifacts_folder_is_that_of_the_environment_or_of_the_checkout(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert artifacts_folder() == root
    for unset in ("", None):
        if unset is None:
            monkeypatch.delenv("AUTOENCODER_ARTIFACTS")
        else:
            monkeypatch.setenv("AUTOENCODER_ARTIFACTS", unset)
        assert artifacts_folder() == Path(__file__).parents[3] / "artifacts"
    monkeypatch.setattr(published_module, "CHECKOUT", None)
    with pytest.raises(CodesError, match="set AUTOENCODER_ARTIFACTS, or give it as argument root"):
        open_published("mine")
