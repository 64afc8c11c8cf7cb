from typing import Any

import pytest
from pydantic import ValidationError

from tasks.core.errors import explain
from tasks.parameters.retrain import Parameters
from tasks.parameters.sweep import GridParameters, SweepParameters
from tasks.parameters.training import (
    ExtraModel,
    ModelParameters,
    OwnArchitecture,
    TrainingParameters,
)


def test_the_grid_is_every_architecture_with_every_code_size_and_seed() -> None:
    tiny = OwnArchitecture(name="tiny", hidden=(16,), epochs=3)
    grid = GridParameters(architectures=("deep",), extra=(tiny,), code_sizes=(8, 4), seeds=2)
    specs = SweepParameters(grid=grid, training=TrainingParameters(seed=5)).specs()
    found = [(spec.architecture.name, spec.architecture.code_size, spec.seed) for spec in specs]
    assert found == [
        (name, size, seed) for size in (8, 4) for seed in (5, 6) for name in ("deep", "tiny")
    ]


def test_each_model_is_what_a_run_would_train() -> None:
    own = OwnArchitecture(name="tiny", hidden=(16,), activation="gelu", epochs=3)
    training = TrainingParameters(recipe="lab", deep_epochs=7, wide_epochs=2, batch_size=32)
    grid = GridParameters(architectures=("shallow", "deep", "wide"), extra=(own,), code_sizes=(8,))
    extra = ExtraModel(code_size=8, **own.model_dump())
    models = ModelParameters(code_size=8, wide=True, extra=(extra,))
    run = Parameters(models=models, training=training)
    assert SweepParameters(grid=grid, training=training).specs() == run.specs()


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (
            {"grid": {"code_sizes": [8, 16, 8]}},
            "grid.code_sizes: 8 is given more than once",
        ),
        ({"grid": {"architectures": ["deep", "deep"]}}, "deep is given more than once"),
        ({"grid": {"extra": [{"name": "tiny"}, {"name": "tiny"}]}}, "The name tiny is taken"),
        ({"grid": {"extra": [{"name": "../x"}]}}, "grid.extra.0.name: String should match"),
        ({"grid": {"architectures": []}}, "The grid has no models"),
        ({"grid": {"code_sizes": [1, 2, 3], "seeds": 64}}, "384 models, expected at most 256"),
        ({"grid": {"code_sizes": [257]}}, "less than or equal to 256"),
        ({"grid": {"seeds": 2}, "training": {"seed": 2**32 - 1}}, "2 seeds from 4294967295 on"),
    ],
)
def test_what_is_no_grid_is_refused(wrong: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError) as failure:
        SweepParameters.model_validate(wrong)
    assert reason in explain(failure.value)


def test_every_parameter_has_title_and_description() -> None:
    groups = [field.annotation for field in SweepParameters.model_fields.values()]
    for group in (*groups, OwnArchitecture):
        assert group is not None
        for name, field in group.model_fields.items():
            assert field.title, name
            assert field.description, name
