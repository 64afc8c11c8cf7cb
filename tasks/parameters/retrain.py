"""The parameters of a run: form, flags of `python -m flows.retrain` and a block of the manifest."""

from typing import Annotated

from tasks.core.form import Group, parameter, titled
from tasks.models.spec import TrainingSpec
from tasks.parameters.images import DataParameters, Images
from tasks.parameters.training import (
    ModelParameters,
    Models,
    Training,
    TrainingParameters,
    training_specs,
)


class GateParameters(Group):
    """What a run must reach to be published."""

    tolerance: float = parameter(
        0.05,
        "Tolerance",
        "How much worse the loss may be than the best published one of the same layers on the same "
        "test images: 0.05 allows 5 % more above the entropy floor",
        ge=0,
        le=100,
    )
    live_share: float = parameter(
        0.75, "Live units", "Minimum share of live code units", ge=0, le=1
    )
    dimension_share: float = parameter(
        0.15,
        "Effective dimension",
        "Minimum number of directions in which the codes spread, as a share of the code size",
        ge=0,
        le=1,
    )
    neighbor_tolerance: float = parameter(
        0.01,  # twice the standard error of the difference of two accuracies of 0.85
        "Neighbour tolerance",
        "How far the accuracy of five nearest neighbours may be below that of a PCA of the same "
        "size: 0.01 allows one percentage point on 10,000 test images, and more on fewer. Only for "
        "images with labels",
        ge=0,
        le=1,
    )
    pca_ratio: float = parameter(
        1.0,
        "Error relative to PCA",
        "The mean squared error may be at most this many times that of a PCA of the same size",
        gt=0,
        le=1000,
    )
    own_nearest: float = parameter(
        0.98,
        "Kept basis",
        "Where a model keeps the coordinate system of published codes: minimum share of the test "
        "images whose new code is nearest to their own old one",
        ge=0,
        le=1,
    )
    drift: float = parameter(
        0.1,
        "Drift",
        "Warn if mean or spread of the training images moved by more standard deviations since the "
        "published run; never refuses",
        gt=0,
        le=1000,
    )


Gate = Annotated[GateParameters, titled("Quality gate")]


class RunParameters(Group):
    """What to do."""

    quick: bool = parameter(
        False,
        "Quick look",
        "Train each model for one epoch to see that everything works. Publishes nothing",
    )
    retrain: bool = parameter(
        False, "Retrain", "Train even if an identical model exists (default: reuse it)"
    )
    publish_anyway: bool = parameter(
        False, "Publish anyway", "Publish even if the quality gate refuses the run"
    )
    inspect: bool = parameter(
        False,
        "Inspect",
        "Train nothing: read the images from end to end and report what they are, how many of each "
        "class, what is left out, and everything that a run would be refused for",
    )
    new_basis: bool = parameter(
        False,
        "New basis",
        "Start new coordinate systems (default: keep those of the published codes, so that stored "
        "codes stay comparable with the new ones)",
    )


Run = Annotated[RunParameters, titled("What to do")]


class Parameters(Group):
    """Everything a person can choose about a run, in the order of the form."""

    run: Run = RunParameters()
    models: Models = ModelParameters()
    training: Training = TrainingParameters()
    data: Images = DataParameters()
    gate: Gate = GateParameters()

    def specs(self) -> list[TrainingSpec]:
        """What to train, in order."""
        models = self.models
        return training_specs(
            models.names, models.code_size, models.extra, self.training, self.run.quick
        )
