from pathlib import Path

import pytest

from tasks.codes.errors import CodesError
from tasks.codes.published import run_folder
from tasks.core.records import DatasetRecord
from tasks.core.storage import write_bytes
from tasks.core.versions import installed_versions
from tasks.models.store import ModelRecord
from tasks.runs.building import begin_run, building_folder, digest_codes
from tasks.runs.lookup import check_files
from tasks.runs.manifest import DERIVED_VERSION
from tests.conftest import complete


def test_a_second_attempt_keeps_what_was_made_from_the_same_inputs(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    """Corrected labels give other codes files, although they change no weights."""
    made = building_folder("run-1", root) / "codes" / "test.h5"
    other_weights = model.model_copy(update={"weights_sha256": "b" * 64})
    other_labels = dataset.model_copy(update={"payload_sha256": "c" * 64})
    for changed in ((dataset, other_weights), (other_labels, model)):
        begin_run("run-1", dataset, [model], root)
        write_bytes(made, b"")
        begin_run("run-1", dataset, [model], root)
        assert made.exists()
        begin_run("run-1", changed[0], [changed[1]], root)
        assert not made.exists()
    manifest = complete("run-1", model, dataset, root)
    assert not [file for file in manifest.files if ".attempt" in file.path]
    check_files(run_folder("run-1", root), manifest.files)
    assert not (run_folder("run-1", root) / ".attempt").exists()


def test_a_second_attempt_keeps_no_codes_of_an_earlier_format(
    model: ModelRecord, dataset: DatasetRecord, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = building_folder("run-1", root) / "codes" / "test.h5"
    with monkeypatch.context() as patch:
        patch.setattr("tasks.runs.building.DERIVED_VERSION", DERIVED_VERSION - 1)
        begin_run("run-1", dataset, [model], root)
    write_bytes(made, b"")
    begin_run("run-1", dataset, [model], root)
    assert not made.exists()


def test_a_second_attempt_keeps_nothing_that_another_version_made(
    model: ModelRecord, dataset: DatasetRecord, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = building_folder("run-1", root) / "figures" / "map-shallow.png"
    earlier = installed_versions().model_copy(update={"project": "0.1.0"})
    with monkeypatch.context() as patch:
        patch.setattr("tasks.runs.building.installed_versions", lambda: earlier)
        begin_run("run-1", dataset, [model], root)
    write_bytes(made, b"")
    begin_run("run-1", dataset, [model], root)
    assert not made.exists()


def test_codes_files_that_were_verified_before_are_only_compared(
    model: ModelRecord, dataset: DatasetRecord, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = complete("run-1", model, dataset, root)
    folder = run_folder("run-1", root)
    assert digest_codes(folder) == manifest.codes_sha256
    monkeypatch.setattr("tasks.codes.reader.check_contract", None)
    assert digest_codes(folder, manifest.files) == manifest.codes_sha256
    path = folder / "codes" / "test.h5"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CodesError, match=r"test\.h5 .* it has SHA-256"):
        digest_codes(folder, manifest.files)
