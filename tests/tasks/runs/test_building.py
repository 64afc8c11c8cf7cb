from pathlib import Path

from tasks.codes.published import run_folder
from tasks.core.records import DatasetRecord
from tasks.models.store import ModelRecord
from tasks.runs.building import begin_run, building_folder
from tasks.runs.lookup import check_files
from tests.conftest import complete


def test_a_second_attempt_keeps_what_was_made_of_the_same_weights(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    begin_run("run-1", [model], root)
    made = building_folder("run-1", root) / "codes" / "test.h5"
    made.parent.mkdir()
    made.touch()
    begin_run("run-1", [model], root)
    assert made.exists()
    begin_run("run-1", [model.model_copy(update={"weights_sha256": "b" * 64})], root)
    assert not made.exists()
    manifest = complete("run-1", model, dataset, root)
    assert not [file for file in manifest.files if ".attempt" in file.path]
    check_files(run_folder("run-1", root), manifest.files)
    assert not (run_folder("run-1", root) / ".attempt").exists()
