import shutil
from pathlib import Path

import pytest

from tasks.core.errors import StepError
from tasks.core.records import DatasetRecord
from tasks.models.architectures import DEEP, SHALLOW, WIDE, Architecture
from tasks.models.checkpoints import Progress
from tasks.models.fingerprint import fingerprint_of
from tasks.models.obtain import obtain_model
from tasks.models.spec import TrainingSpec
from tasks.models.store import ModelRecord, stored_model
from tasks.parameters.retrain import Parameters, RunParameters
from tasks.parameters.training import TrainingParameters
from tasks.runs.anchors import (
    Anchors,
    TrainingContext,
    anchor_of,
    find_sources,
    obtain_anchors,
    obtain_model_in_basis,
    plan_fingerprints,
    plan_training,
)
from tasks.runs.building import begin_run
from tasks.runs.manifest import Manifest
from tests.conftest import SPEC, anchor_to, complete, example_model

OTHER_SEED = SPEC.model_copy(update={"seed": 1})
SHARED = Anchors(shared=True)


def ignore(progress: Progress) -> None:
    """Take no notice."""


def specs_of(*architectures: Architecture) -> list[TrainingSpec]:
    return [SPEC.model_copy(update={"architecture": found}) for found in architectures]


def sized(architecture: Architecture, code_size: int) -> Architecture:
    return architecture.model_copy(update={"code_size": code_size})


@pytest.fixture
def manifest(model: ModelRecord, dataset: DatasetRecord, root: Path) -> Manifest:
    """A published run with a shallow model, which is free."""
    return complete("run-1", model, dataset, root)


@pytest.mark.parametrize(
    ("published", "wanted", "expected"),
    [
        (["shallow", "deep"], [SHALLOW, DEEP], {"shallow": "shallow", "deep": "deep"}),
        (["shallow", "deep"], [WIDE], {"wide": "deep"}),
        (["shallow", "deep", "wide"], [WIDE], {"wide": "wide"}),
        (["deep"], [SHALLOW, DEEP], {"deep": "deep"}),
        (["shallow"], [DEEP, WIDE], {}),
        (["deep"], [sized(DEEP, 16), sized(WIDE, 16)], {}),
        ([], [SHALLOW, DEEP], {}),
    ],
)
def test_a_model_keeps_the_basis_of_its_name_or_takes_that_of_the_deep_one(
    published: list[str],
    wanted: list[Architecture],
    expected: dict[str, str],
    manifest: Manifest,
    dataset: DatasetRecord,
) -> None:
    models = tuple(example_model(name) for name in published)
    previous = manifest.model_copy(update={"models": models})
    found = find_sources(previous, dataset, specs_of(*wanted))
    assert {name: model.name for name, model in found.items()} == expected


def test_a_model_whose_size_changed_takes_the_basis_of_the_deep_one(
    manifest: Manifest, dataset: DatasetRecord
) -> None:
    models = (example_model("deep"), example_model("wide", code_size=16))
    previous = manifest.model_copy(update={"models": models})
    assert find_sources(previous, dataset, specs_of(WIDE)) == {"wide": models[0]}


@pytest.mark.parametrize("reason", ["lab", "earlier version", "other shape"])
def test_some_runs_give_no_basis(reason: str, manifest: Manifest, dataset: DatasetRecord) -> None:
    previous = manifest
    if reason == "lab":
        parameters = Parameters(training=TrainingParameters(recipe="lab")).model_dump(mode="json")
        previous = manifest.model_copy(update={"parameters": parameters})
    elif reason == "earlier version":
        models = tuple(model.model_copy(update={"basis": None}) for model in manifest.models)
        previous = manifest.model_copy(update={"models": models})
    else:
        dataset = dataset.model_copy(update={"image_shape": (14, 56)})
    assert find_sources(manifest, manifest.dataset, [SPEC])
    assert not find_sources(previous, dataset, [SPEC])


def test_drift_does_not_add_up(model: ModelRecord) -> None:
    """The anchor of whoever follows an anchored model is the basis's first encoder."""
    first = anchor_of(model, scale=255.0)
    assert first == anchor_to(model)
    earlier = first.model_copy(update={"strength": 0.5})
    second = model.model_copy(
        update={"spec": SPEC.anchored_to(earlier), "encoder_weights_sha256": "e" * 64}
    )
    assert anchor_of(second, scale=1.0) == first


def choose(
    root: Path,
    dataset: DatasetRecord,
    run: str = "run-2",
    new_basis: bool = False,
    training: TrainingParameters = TrainingParameters(),
) -> Anchors:
    parameters = Parameters(training=training, run=RunParameters(new_basis=new_basis))
    return obtain_anchors(run, parameters, dataset, [SPEC], root)


@pytest.mark.parametrize(
    ("dtype", "scale", "anchor_scale"),
    [("float32", 1.0, 1.0), ("uint16", 255.0, 255.0), ("uint8", 250.0, 255.0)],
)
def test_an_anchor_reads_the_same_images_in_another_unit(
    dtype: str, scale: float, anchor_scale: float, manifest: Manifest, root: Path
) -> None:
    dataset = manifest.dataset.model_copy(update={"dtype": dtype, "scale": scale})
    assert choose(root, dataset).published["shallow"].scale == anchor_scale


def test_images_in_an_unknown_unit_get_no_basis(
    manifest: Manifest, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = manifest.dataset.model_copy(update={"dtype": "uint16", "scale": 4095.0})
    assert choose(root, dataset) == SHARED
    assert "it has images of uint8 up to 255, this run of uint16 up to 4095" in caplog.text


def test_by_default_the_published_basis_is_kept(
    manifest: Manifest, dataset: DatasetRecord, root: Path
) -> None:
    anchor = anchor_to(manifest.models[0])
    assert choose(root, dataset) == Anchors(published={"shallow": anchor}, shared=True)
    assert choose(root, dataset, "run-3", new_basis=True) == SHARED
    lab = choose(root, dataset, "run-4", training=TrainingParameters(recipe="lab"))
    assert lab == Anchors(shared=False)
    other = dataset.model_copy(update={"name": "other"})
    assert choose(root, other, "run-5") == SHARED


def test_a_retry_chooses_as_the_first_attempt_did(
    manifest: Manifest, model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    """Although another run was published, the first is gone, and the models changed."""
    first = choose(root, dataset)
    (root / "published" / dataset.name).unlink()
    shutil.rmtree(root / "runs" / "run-1")
    assert choose(root, dataset) == first
    begin_run("run-2", dataset, [model], root)
    begin_run("run-2", dataset, [], root)
    assert choose(root, dataset) == first
    planned = plan_training(TrainingContext("run-2", dataset, "cpu", first), OTHER_SEED, [], root)
    assert planned.spec == OTHER_SEED.anchored_to(anchor_to(model))
    assert planned.anchor_file
    assert planned.anchor_file.exists()


def test_a_retry_whose_images_changed_chooses_again(
    manifest: Manifest, dataset: DatasetRecord, root: Path
) -> None:
    """An encoder of 784 pixels gives no basis to images of another shape."""
    assert choose(root, dataset).published
    changed = {"image_shape": (14, 14), "payload_sha256": "0" * 64}
    assert choose(root, dataset.model_copy(update=changed)) == SHARED


def test_an_anchor_that_is_missing_is_told(
    manifest: Manifest, dataset: DatasetRecord, root: Path
) -> None:
    (root / "runs" / "run-1" / "models" / "shallow" / "encoder.keras").unlink()
    with pytest.raises(StepError, match="is missing, .*restore it, or .* with --new-basis"):
        choose(root, dataset)


def test_a_published_run_that_cannot_be_read_gives_no_basis(
    manifest: Manifest, dataset: DatasetRecord, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (root / "runs" / "run-1" / "manifest.json").write_text("{")
    assert choose(root, dataset) == SHARED
    assert "gives no basis" in caplog.text


def test_a_model_that_would_be_anchored_to_itself_is_that_model(
    manifest: Manifest, dataset: DatasetRecord, root: Path
) -> None:
    context = TrainingContext("run-2", dataset, "cpu", choose(root, dataset))
    model = manifest.models[0]
    planned = plan_training(context, SPEC, [], root)
    assert (planned.spec, planned.anchor_file) == (SPEC, None)
    assert plan_fingerprints(context, [SPEC], root) == [model.fingerprint]
    shutil.rmtree(root / model.folder)
    assert plan_training(context, SPEC, [], root).spec == SPEC
    assert plan_fingerprints(context, [SPEC], root) is None


def test_a_model_that_another_processor_trained_to_other_bits_is_anchored(
    manifest: Manifest, dataset: DatasetRecord, root: Path
) -> None:
    """Such a model stands under the fingerprint of the anchor: here it has another seed."""
    model = manifest.models[0]
    frozen = choose(root, dataset)
    shutil.rmtree(root / model.folder)
    obtained = obtain_model(dataset, OTHER_SEED, "cpu", root, ignore)
    forged = obtained.model_copy(
        update={"fingerprint": model.fingerprint, "folder": model.folder, "spec": SPEC}
    )
    shutil.copytree(root / obtained.folder, root / model.folder)
    (root / model.folder / "model.json").write_text(forged.model_dump_json())
    found = obtain_model_in_basis(
        TrainingContext("run-2", dataset, "cpu", frozen), SPEC, [], root, ignore, retrain=False
    )
    assert found.spec == SPEC.anchored_to(anchor_to(model))
    assert found.basis == model.basis


def test_a_model_without_a_basis_takes_that_of_the_runs_deep_model(
    dataset: DatasetRecord, root: Path
) -> None:
    (spec,) = specs_of(WIDE)
    trained = [example_model("shallow"), example_model("deep")]
    planned = plan_training(TrainingContext("run-1", dataset, "cpu", SHARED), spec, trained, root)
    assert planned.spec == spec.anchored_to(anchor_of(trained[1], dataset.scale))
    assert planned.anchor_file == root / trained[1].folder / "encoder.keras"
    for free, anchors in (
        (spec, Anchors(shared=False)),
        (specs_of(sized(WIDE, 16))[0], SHARED),
        (SPEC, SHARED),  # shallow
    ):
        context = TrainingContext("run-1", dataset, "cpu", anchors)
        assert plan_training(context, free, trained, root).spec == free


def test_the_anchor_survives_the_run_it_came_from(
    manifest: Manifest, model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    """The third run is anchored to the first, which is gone."""
    context = TrainingContext("run-2", dataset, "cpu", choose(root, dataset))
    second = obtain_model_in_basis(context, OTHER_SEED, [], root, ignore, False)
    complete("run-2", second, dataset, root)
    shutil.rmtree(root / "runs" / "run-1")
    shutil.rmtree(root / model.folder)
    third = SPEC.model_copy(update={"seed": 2})
    context = TrainingContext("run-3", dataset, "cpu", choose(root, dataset, "run-3"))
    found = obtain_model_in_basis(context, third, [], root, ignore, False)
    assert found.spec.anchor == anchor_to(model)
    assert found.basis == model.encoder_weights_sha256
    assert stored_model(root / "models" / fingerprint_of(dataset, found.spec, "cpu")) == found
