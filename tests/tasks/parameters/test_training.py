import pytest
from pydantic import ValidationError

from tasks.models.architectures import BUILT_IN, BuiltIn, DenseArchitecture
from tasks.parameters.training import (
    ExtraModel,
    ModelParameters,
    TrainingParameters,
    training_specs,
)


def test_models_are_data() -> None:
    extra = ExtraModel(name="tiny", hidden=(64, 16), activation="gelu", code_size=8, epochs=7)
    models = ModelParameters(code_size=20, wide=True, extra=(extra,))
    specs = training_specs(models.names, models.code_size, models.extra, TrainingParameters())
    found = [(spec.architecture.describe((28, 28)), spec.recipe.epochs) for spec in specs]
    assert found == [
        ("784-20-784", 20),
        ("784-128-64-20-64-128-784", 50),
        ("784-512-256-20-256-512-784", 25),
        ("784-64-16-8-16-64-784", 7),
    ]
    assert [spec.architecture.name for spec in specs] == ["shallow", "deep", "wide", "tiny"]
    assert specs[3].architecture == DenseArchitecture(
        name="tiny", hidden=(64, 16), activation="gelu", code_size=8
    )


@pytest.mark.parametrize("model", BUILT_IN, ids=lambda model: model.architecture.name)
def test_each_built_in_model_has_its_number_of_epochs(model: BuiltIn) -> None:
    name = model.architecture.name
    training = TrainingParameters(**{f"{name}_epochs": 3})
    (spec,) = training_specs([name], 16, (), training)
    assert spec.recipe.epochs == 3
    assert spec.architecture == model.architecture.model_copy(update={"code_size": 16})
    (spec,) = training_specs([name], 16, (), TrainingParameters())
    assert spec.recipe.epochs == model.epochs


def test_optional_models_are_trained_on_demand() -> None:
    optional = {model.architecture.name for model in BUILT_IN if model.optional}
    always = {model.architecture.name for model in BUILT_IN} - optional
    assert always == {"shallow", "deep"}
    assert set(ModelParameters().names) == always
    for name in optional:
        assert set(ModelParameters(**{name: True}).names) == {*always, name}


@pytest.mark.parametrize("name", ["shallow", "wide", "labels", "../x", "A", "tiny"])
def test_a_model_s_name_is_free_and_no_path(name: str) -> None:
    with pytest.raises(ValidationError):
        ModelParameters.model_validate({"extra": [{"name": "tiny"}, {"name": name}]})
