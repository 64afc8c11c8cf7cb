import pytest
from pydantic import ValidationError

from tasks.core.errors import explain
from tasks.models.architectures import DEEP, SHALLOW
from tasks.parameters.images import DataParameters
from tasks.parameters.retrain import Parameters, RunParameters
from tasks.parameters.training import TrainingParameters


def test_defaults_are_those_of_the_lab() -> None:
    shallow, deep = Parameters().specs()
    assert (shallow.architecture, shallow.recipe.epochs) == (SHALLOW, 20)
    assert (deep.architecture, deep.recipe.epochs) == (DEEP, 50)
    assert shallow.recipe.batch_size == deep.recipe.batch_size == 256


def test_a_quick_look_is_one_epoch() -> None:
    specs = Parameters(run=RunParameters(quick=True)).specs()
    assert [spec.recipe.epochs for spec in specs] == [1, 1]


def test_every_parameter_has_title_description_and_default() -> None:
    for group in Parameters.model_fields.values():
        assert group.annotation is not None
        assert group.annotation.__doc__
        for name, field in group.annotation.model_fields.items():
            assert field.title, name
            assert field.description, name
            assert not field.is_required(), name


def test_bounds_stand_in_the_schema_and_words_in_the_description() -> None:
    field = TrainingParameters.model_json_schema()["properties"]["batch_size"]
    assert (field["minimum"], field["maximum"]) == (1, 65536)
    assert "at least" not in field["description"]


@pytest.mark.parametrize("name", ["", "../evil", "a/b", ".hidden", "UPPER", "a b", "-x", "é"])
def test_a_dataset_name_cannot_become_a_path(name: str) -> None:
    with pytest.raises(ValidationError):
        DataParameters(dataset=name)


def test_explains_field_value_and_bound_in_one_line() -> None:
    with pytest.raises(ValidationError) as failure:
        TrainingParameters.model_validate({"batch_size": 0, "recipe": "none"})
    message = explain(failure.value)
    assert "batch_size: Input should be greater than or equal to 1, found 0" in message
    assert "recipe: Input should be 'default' or 'lab', found 'none'" in message
    assert "\n" not in message


def test_unknown_parameters_are_refused() -> None:
    with pytest.raises(ValidationError):
        TrainingParameters.model_validate({"epochs": 3})
