from pathlib import Path

import pytest
from prefect.exceptions import ParameterTypeError

from flows.neighbors import neighbors
from tasks.core.records import DatasetRecord
from tasks.encoding.stored_neighbors import neighbors_folder
from tasks.evaluation.baselines import obtain_baselines
from tasks.models.store import ModelRecord
from tasks.parameters.published import CodesParameters
from tests.conftest import complete

pytestmark = pytest.mark.usefixtures("prefect_server")


def test_works_on_what_is_published_or_on_the_run_it_is_told(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    for run in ("run-1", "run-2"):
        complete(run, model, dataset, root)
    assert neighbors(CodesParameters(dataset=dataset.name)).run == "run-2"
    assert neighbors(CodesParameters(dataset=dataset.name, run="run-1")).run == "run-1"
    for run in ("run-1", "run-2"):
        assert (neighbors_folder(run, root) / "shallow-32-euclidean.hdf5").exists()


def test_codes_are_compared_with_a_pca_where_it_is_there(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    for run in ("run-1", "run-2"):
        complete(run, model, dataset, root)
    before = neighbors(CodesParameters(dataset=dataset.name, run="run-1")).same_class["shallow"]
    assert before.codes > 0.2
    assert before.pca is None
    obtain_baselines(dataset, {32}, root)
    after = neighbors(CodesParameters(dataset=dataset.name)).same_class["shallow"]
    assert after.codes == before.codes
    assert after.pca is not None
    assert 0.2 < after.pca < 1


def test_nothing_published_fails_in_one_line(root: Path) -> None:
    state = neighbors(CodesParameters(dataset="mine"), return_state=True)
    assert state.is_failed()
    assert state.message is not None
    assert "No run of the dataset mine is published" in state.message


def test_a_name_never_becomes_a_path(root: Path) -> None:
    with pytest.raises((ParameterTypeError, ValueError), match="String should match pattern"):
        neighbors(CodesParameters(run="../../x"))
