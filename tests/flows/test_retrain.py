import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from obstore.store import MemoryStore
from prefect import flow

from flows.retrain import main, retrain
from tasks.codes import confirmed_at
from tasks.core.records import SPLITS
from tasks.images.sources import IdxFolder
from tasks.models.store import ModelRecord, stored_model
from tasks.parameters.images import DataParameters
from tasks.parameters.retrain import RunParameters
from tasks.runs.anchors import Anchors, TrainingContext
from tasks.runs.manifest import Manifest, Outcome
from tasks.steps import retrain as steps
from tasks.stores.pointer import read_pointer
from tasks.stores.store import Store
from tests.conftest import GATE, SAMPLE, SAMPLE_FOLDER, TRAINING

pytestmark = pytest.mark.usefixtures("prefect_server")


def outcome_of(**parameters: Any) -> Outcome:
    """Run the flow, which trains."""
    outcome = retrain(**parameters)
    assert isinstance(outcome, Outcome)
    return outcome


@pytest.fixture(scope="module")
def first_run(
    prefect_server: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Outcome, Path]:
    """A published run, and the artifacts folder that tests copy."""
    root = tmp_path_factory.mktemp("first-run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOENCODER_ARTIFACTS", str(root))
        return outcome_of(data=SAMPLE, training=TRAINING, gate=GATE), root


@pytest.fixture
def first(first_run: tuple[Outcome, Path], root: Path) -> Manifest:
    """A published run in the test's own artifacts folder."""
    outcome, source = first_run
    shutil.copytree(source, root, symlinks=True, dirs_exist_ok=True)
    assert not outcome.unchanged
    return outcome.manifest


def test_a_run_leaves_models_codes_and_figures_and_publishes_them(
    first: Manifest, root: Path
) -> None:
    published = root / "published" / SAMPLE.dataset
    assert published.resolve() == root.resolve() / "runs" / first.run
    assert Manifest.model_validate_json((published / "manifest.json").read_bytes()) == first
    assert [model.name for model in first.models] == ["shallow", "deep"]
    assert {file.path for file in first.files} == {
        "codes/test.h5",
        "codes/train.h5",
        *(f"codes/{split}-{model}.npy" for split in SPLITS for model in ("shallow", "deep")),
        "croissant.json",
        "report.html",
        "report.md",
        "figures/classes.svg",
        "figures/learning-curves.svg",
        *(f"figures/{name}.png" for name in ("comparison", "learning-curves", "classes")),
        *(f"figures/{name}.png" for name in ("nearest", "walks")),
        *(
            f"figures/{name}{model}.png"
            for name in ("codes-", "extremes-", "activity-", "map-", "neighbors-")
            for model in ("shallow", "deep")
        ),
        *(
            f"models/{model}/{file}"
            for model in ("shallow", "deep")
            for file in (
                *("autoencoder.keras", "encoder.keras", "encoder.h5"),
                *("history.json", "model.json"),
            )
        ),
    }


def test_the_manifest_states_what_a_run_cost_and_how_good_its_codes_are(
    first: Manifest, root: Path
) -> None:
    costs = {cost.step: cost for cost in first.costs}
    assert {"train shallow", "train deep"} <= costs.keys()
    assert sum(cost.processor_seconds for cost in first.costs) > 1
    assert costs["train deep"].seconds > 0
    assert (costs["train deep"].peak_bytes or 0) > 100 * 2**20
    with h5py.File(root / "published" / SAMPLE.dataset / "codes" / "test.h5") as file:
        assert list(file.attrs["models"]) == ["shallow", "deep"]
        assert np.isclose(
            file["deep/reconstruction_mse"][...].mean(),
            first.metrics["deep"].reconstruction_mse,
        )


def test_a_run_that_would_change_nothing_ends_as_unchanged(first: Manifest, root: Path) -> None:
    published = confirmed_at(SAMPLE.dataset, root)
    again = outcome_of(data=SAMPLE, training=TRAINING, gate=GATE)
    assert again.unchanged
    assert again.manifest == first
    assert confirmed_at(SAMPLE.dataset, root) > published
    assert len(list((root / "runs").iterdir())) == 1


@pytest.fixture
def objects(monkeypatch: pytest.MonkeyPatch) -> MemoryStore:
    """The object store that the flow publishes to, in memory."""
    objects = MemoryStore()
    monkeypatch.setenv("AUTOENCODER_PUBLISH_TO", "s3://bucket/prefix")
    monkeypatch.setattr("tasks.stores.store.open_store", lambda address: objects)
    return objects


def test_a_run_copies_what_an_earlier_one_did_not_and_confirms_it_there(
    first: Manifest, objects: MemoryStore
) -> None:
    assert outcome_of(data=SAMPLE, training=TRAINING, gate=GATE).unchanged
    found = read_pointer(SAMPLE.dataset, Store(objects, "s3://bucket/prefix"))
    assert found is not None
    assert found.pointer.run == first.run
    assert found.pointer.confirmed == confirmed_at(SAMPLE.dataset) > found.pointer.published


def test_a_run_fails_in_one_line_where_the_store_refuses_and_stays_published(
    first: Manifest, objects: MemoryStore, root: Path
) -> None:
    objects.put(f"published/{SAMPLE.dataset}.json", b"damaged")
    state = retrain(data=SAMPLE, training=TRAINING, gate=GATE, return_state=True)
    assert state.is_failed()
    assert state.message is not None
    assert "is not in the object store: s3://bucket/prefix/published/" in state.message
    assert "\n" not in state.message
    assert (root / "published" / SAMPLE.dataset).resolve().name == first.run


def test_only_a_damaged_model_is_trained_again(first: Manifest, root: Path) -> None:
    specs = [model.spec for model in first.models]

    @flow
    def train() -> list[ModelRecord]:
        context = TrainingContext("again", first.dataset, "cpu", Anchors(shared=False))
        assert not steps.find_unchanged(context, RunParameters(), specs)
        return [steps.train_model(context, spec, [], False) for spec in specs]

    stored = root / first.models[0].folder / "encoder.keras"  # compiled sooner than the other
    stored.write_bytes(stored.read_bytes()[:-1])
    shallow, deep = train()
    assert deep == first.models[1]
    assert shallow.weights_sha256 == first.models[0].weights_sha256
    assert stored_model(stored.parent) == shallow


@pytest.fixture
def baselines(first_run: tuple[Outcome, Path], root: Path) -> None:
    """The sample with its baselines, which take seconds to compute."""
    shutil.copytree(first_run[1] / "datasets", root / "datasets")


@pytest.mark.usefixtures("baselines", "no_figures")
def test_a_quick_look_is_not_published(root: Path) -> None:
    training = TRAINING.model_copy(update={"recipe": "lab"})  # it is compiled sooner
    manifest = outcome_of(
        data=SAMPLE, training=training, gate=GATE, run=RunParameters(quick=True)
    ).manifest
    assert not manifest.verdict.published
    assert not (root / "published").exists()
    assert [model.spec.recipe.epochs for model in manifest.models] == [1, 1]


@pytest.mark.usefixtures("baselines", "no_figures")
def test_a_refused_run_ends_with_exit_code_3_and_the_reason(
    first_run: tuple[Outcome, Path], root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its models are those of `first_run`, which the usual limits refuse."""
    shutil.copytree(first_run[1] / "models", root / "models")
    flags = ["--dataset", SAMPLE.dataset, "--source.idx-folder", str(SAMPLE_FOLDER)]
    flags += ["--shallow-epochs", str(TRAINING.shallow_epochs)]
    flags += ["--deep-epochs", str(TRAINING.deep_epochs)]
    flags += ["--batch-size", str(TRAINING.batch_size)]
    assert main(flags) == 3
    captured = capsys.readouterr()
    shown = captured.out
    assert "Refused: not published; nothing is published yet." in shown
    assert " of 12 checks failed:" in shown
    assert "tasks.runs publish" in shown
    assert "PCA-32" in shown
    assert "Traceback" not in shown + captured.err
    assert len(list((root / "runs").iterdir())) == 1
    assert not (root / "published").exists()


def test_a_failing_step_fails_the_run_in_one_line(root: Path) -> None:
    state = retrain(
        data=DataParameters(dataset="mine", source=IdxFolder(idx_folder=str(root / "absent"))),
        return_state=True,
    )
    assert state.is_failed()
    assert state.message is not None
    assert "is not a folder" in state.message
    assert "\n" not in state.message
    assert not (root / "runs").exists()


def test_wrong_parameters_are_refused_by_the_flow_itself(root: Path) -> None:
    state = retrain(training={"batch_size": 0}, return_state=True)
    assert state.is_failed()
    assert not any(root.iterdir())


INSPECT = ["--inspect", "--dataset", "mine", "--test-share", "0.5", "--source.images-file"]


@pytest.mark.parametrize(("least", "code"), [(0, 0), (-1, 1)])
def test_a_look_at_the_images_ends_as_a_run_would(
    least: int, code: int, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = np.arange(8 * 6, dtype=np.int16).reshape(8, 2, 3)
    images[[2, 5], 0, 0] = least
    np.save(tmp_path / "images.npy", images)
    assert main([*INSPECT, str(tmp_path / "images.npy")]) == code
    assert {path.name for path in root.iterdir()} <= {"inspections", "locks", "logs"}
    page = (root / "inspections" / "mine" / "index.html").read_text()
    shown = capsys.readouterr()
    if code:
        assert "2 faults in mine; the first: row " in shown.err
        assert "row 2 of " in page
        assert "row 5 of " in page
    else:
        assert "No fault: a run can use these images" in shown.out
        assert str(root / "inspections" / "mine" / "index.html") in shown.out.replace("\n", "")


@pytest.mark.usefixtures("no_figures")
def test_a_retraining_keeps_the_coordinate_system(first: Manifest, root: Path) -> None:
    """The second run takes the basis of the first; repeating it changes nothing."""
    training = TRAINING.model_copy(update={"seed": 1})
    second = outcome_of(data=SAMPLE, training=training, gate=GATE).manifest
    for before, now in zip(first.models, second.models, strict=True):
        assert before.basis == before.encoder_weights_sha256 == now.basis
        assert now.encoder_weights_sha256 != now.basis
        assert f"models/{now.name}/anchor.keras" in {file.path for file in second.files}
    assert outcome_of(data=SAMPLE, training=training, gate=GATE).unchanged
    assert len(list((root / "runs").iterdir())) == 2
