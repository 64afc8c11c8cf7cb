"""Fingerprints are pinned: whoever changes one makes every stored model be trained again."""

import pytest

from tasks.core.records import DatasetRecord
from tasks.models.architectures import DEEP, SHALLOW, WIDE, Architecture, DenseArchitecture
from tasks.models.fingerprint import describe_changes, digest_of, fingerprint_of, training_facts
from tasks.models.recipes import Recipe
from tasks.models.spec import Anchor, TrainingSpec
from tasks.parameters.retrain import Parameters
from tasks.parameters.training import ModelParameters
from tests.conftest import EXAMPLE_DATASET, SPEC

VERSIONS = {"tensorflow": "2", "keras": "3", "numpy": "2", "training_version": 0}
PINNED = {
    "shallow": "1c3999c030acff0fb7312ee72d96dd379072986cd03cf7f9ea883f33a627bed8",
    "deep": "dcef0a80974a12934c45fc92995c201026d6e36399c884245110f2f7a74312c8",
    "wide": "2fd165122a1ebcba5b9f23dbf4533ad40635ca1971e76896d18d613520d07941",
}
ANCHOR = Anchor(basis="a" * 64, fingerprint="f" * 64, scale=255.0, strength=0.03)
MEANING = (
    "Every stored model would be trained again. If that is not meant, restore what changed: give a "
    "new field a default, and change no default. If it is meant, put the new values here and say "
    "in the change log that models are trained again after the update."
)


@pytest.fixture(autouse=True)
def no_xla_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    """`make test-processors` sets some, which belong to every fingerprint."""
    monkeypatch.delenv("AUTOENCODER_XLA_FLAGS", raising=False)


def test_the_fingerprints_of_the_built_in_models_do_not_change() -> None:
    parameters = Parameters(models=ModelParameters(wide=True))
    found = {
        spec.architecture.name: digest_of(training_facts(EXAMPLE_DATASET, spec, "cpu") | VERSIONS)
        for spec in parameters.specs()
    }
    assert found == PINNED, MEANING


@pytest.mark.parametrize(
    ("record", "defaults"),
    [
        (
            Recipe,
            {
                "peak_learning_rate": 1e-3,
                "warmup": 0.0,
                "decay": "constant",
                "beta_2": 0.999,
                "weight_decay": 0.0,
                "kernels": "GlorotUniform",
                "code_bias": 0.0,
                "optimizer": "adam",
                "basis_steps": 100,
                "max_side": 256,
                "centred": False,
                "whiten": (),
                "unit_variance": False,
                "shifted": 0.0,
            },
        ),
        (DenseArchitecture, {"code_size": 32, "activation": "relu"}),
        (TrainingSpec, {"precision": "float32", "anchor": None}),
    ],
)
def test_no_default_changes(record: type, defaults: dict[str, object]) -> None:
    """Two trainings that differ would share a fingerprint, as defaults are no part of it."""
    fields = record.model_fields  # type: ignore[attr-defined]
    assert {name: fields[name].default for name in defaults} == defaults


class LaterArchitecture(DenseArchitecture):
    dropout: float = 0.0


class LaterRecipe(Recipe):
    clipping: float = 0.0


class LaterSpec(TrainingSpec):
    recipe: LaterRecipe


def test_a_new_field_with_a_default_changes_no_fingerprint(dataset: DatasetRecord) -> None:
    before = SPEC.model_copy(update={"architecture": DEEP})
    architecture = LaterArchitecture(**DEEP.model_dump())
    recipe = LaterRecipe(**SPEC.recipe.model_dump())
    later = LaterSpec(architecture=architecture, recipe=recipe, seed=SPEC.seed)
    assert fingerprint_of(dataset, later, "cpu") == fingerprint_of(dataset, before, "cpu")
    for changed in (
        {"architecture": architecture.model_copy(update={"dropout": 0.1})},
        {"recipe": recipe.model_copy(update={"clipping": 0.1})},
    ):
        other = later.model_copy(update=changed)
        assert fingerprint_of(dataset, other, "cpu") != fingerprint_of(dataset, before, "cpu")


def test_the_fingerprint_depends_on_what_determines_the_weights(
    dataset: DatasetRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fingerprint_with(architecture: Architecture) -> str:
        spec = SPEC.model_copy(update={"architecture": architecture})
        return fingerprint_of(dataset, spec, "cpu")

    recipe = SPEC.recipe.model_copy(update={"epochs": 3})
    other_images = dataset.model_copy(update={"payload_sha256": "0" * 64})
    fingerprints = [
        fingerprint_of(dataset, SPEC, "cpu"),
        fingerprint_of(dataset, SPEC, "gpu"),
        fingerprint_of(other_images, SPEC, "cpu"),
        fingerprint_of(dataset, SPEC.model_copy(update={"seed": 1}), "cpu"),
        fingerprint_of(dataset, SPEC.model_copy(update={"recipe": recipe}), "cpu"),
        fingerprint_of(dataset, SPEC.anchored_to(ANCHOR), "cpu"),
        *(
            fingerprint_of(dataset, SPEC.anchored_to(ANCHOR.model_copy(update=change)), "cpu")
            for change in ({"basis": "b" * 64}, {"scale": 1.0}, {"strength": 0.1})
        ),
        fingerprint_with(SHALLOW.model_copy(update={"code_size": 16})),
        fingerprint_with(WIDE),
        fingerprint_with(DenseArchitecture(**WIDE.model_dump(exclude={"kind"}))),
    ]
    monkeypatch.setenv("AUTOENCODER_XLA_FLAGS", "--xla_cpu_max_isa=AVX2")
    fingerprints.append(fingerprint_of(dataset, SPEC, "cpu"))
    monkeypatch.delenv("AUTOENCODER_XLA_FLAGS")
    monkeypatch.setattr("tasks.models.fingerprint.TRAINING_VERSION", 0)
    fingerprints.append(fingerprint_of(dataset, SPEC, "cpu"))
    assert len(set(fingerprints)) == len(fingerprints)


def test_the_fingerprint_ignores_where_the_images_are(dataset: DatasetRecord) -> None:
    elsewhere = dataset.model_copy(update={"folder": "datasets/elsewhere"})
    assert fingerprint_of(elsewhere, SPEC, "cpu") == fingerprint_of(dataset, SPEC, "cpu")


def test_versions_of_the_libraries_are_facts(dataset: DatasetRecord) -> None:
    facts = training_facts(dataset, SPEC, "cpu")
    for library in ("tensorflow", "keras", "numpy"):
        assert facts[library][0].isdigit()


def test_changes_are_described_by_name() -> None:
    before = {"seed": 0, "recipe.epochs": 20, "keras": "3"}
    now = {"seed": 0, "recipe.epochs": 40, "keras": "3", "recipe.warmup": 0.1}
    assert describe_changes(before, now) == [
        "recipe.epochs 20, now 40",
        "recipe.warmup default, now 0.1",
    ]
    assert describe_changes(before, before) == []
