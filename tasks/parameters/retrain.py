"""The parameters of a run: form, flags of `python -m flows.retrain` and a block of the manifest."""

from tasks.core.form import Group, parameter
from tasks.models.spec import TrainingSpec
from tasks.parameters.images import DataParameters
from tasks.parameters.training import ModelParameters, TrainingParameters, training_specs


class GateParameters(Group):
    """What a run must reach to be published."""

    tolerance: float = parameter(
        0.05,
        "Tolerance",
        "How much worse a model may be than the best published one with the same layers on the "
        "same test images",
        "share of that model's loss above the entropy floor",
        ge=0,
        le=100,
    )
    live_share: float = parameter(
        0.75, "Live units", "Minimum share of live code units", ge=0, le=1
    )
    dimension_share: float = parameter(
        0.15,
        "Effective dimension",
        "Minimum effective dimension of the codes, the number of directions in which they spread",
        "share of the code size",
        ge=0,
        le=1,
    )
    neighbor_tolerance: float = parameter(
        0.01,  # twice the standard error of the difference of two accuracies of 0.85
        "Neighbour tolerance",
        "How far the accuracy of five nearest neighbours may be below that in a PCA with as many "
        "components as the code has units, on 10,000 test images; on n images it is multiplied by "
        "the square root of 10,000 / n. Only for images with labels",
        "share of the test images",
        ge=0,
        le=1,
    )
    pca_ratio: float = parameter(
        1.0,
        "Error relative to PCA",
        "A model's mean squared error may be at most this many times that of a PCA with as many "
        "components as the code has units",
        gt=0,
        le=1000,
    )
    own_nearest: float = parameter(
        0.98,
        "Kept basis",
        "Where a model keeps the coordinate system of published codes: minimum share of test "
        "images whose new code is nearest to their own old one",
        "share of the test images",
        ge=0,
        le=1,
    )
    drift: float = parameter(
        0.1,
        "Drift",
        "Warn if mean or spread of the training images moved further since the previous published "
        "run; never refuses",
        "standard deviations",
        gt=0,
        le=1000,
    )


class RunParameters(Group):
    """What to do with the results."""

    inspect: bool = parameter(
        False,
        "Inspect",
        "Train nothing: read the images from end to end and report what they are, how many of each "
        "class, what is left out, and everything that a run would be refused for",
    )
    quick: bool = parameter(
        False,
        "Quick look",
        "Train each model for one epoch to see that everything works; never published",
    )
    retrain: bool = parameter(
        False, "Retrain", "Train even if an identical model exists (default: reuse it)"
    )
    new_basis: bool = parameter(
        False,
        "New basis",
        "Start new coordinate systems (default: keep those of the published codes, so that codes "
        "that others stored stay comparable with the new ones)",
    )
    publish_anyway: bool = parameter(
        False, "Publish anyway", "Publish even if the quality gate refuses the run"
    )


class Parameters(Group):
    """Everything a person can choose about a run."""

    data: DataParameters = DataParameters()
    models: ModelParameters = ModelParameters()
    training: TrainingParameters = TrainingParameters()
    gate: GateParameters = GateParameters()
    run: RunParameters = RunParameters()

    def specs(self) -> list[TrainingSpec]:
        """What to train, in order."""
        models = self.models
        return training_specs(
            models.names, models.code_size, models.extra, self.training, self.run.quick
        )
