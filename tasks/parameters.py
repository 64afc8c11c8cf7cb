"""The parameters of a run, stated once.

The same models are the groups of the form in the Prefect UI, the flags of `python -m flows.retrain`
and the `parameters` block of the manifest.
"""

from typing import Any

from pydantic import BaseModel, Field, ValidationError

from tasks.architectures import DEEP, SHALLOW
from tasks.recipes import RecipeName, TrainingSpec, choose_recipe
from tasks.records import DeviceChoice

BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


def parameter(default: Any, title: str, description: str, unit: str = "", **bounds: Any) -> Any:
    """Declare a field whose description tells its unit and bounds too, wherever it is shown."""
    facts = [unit] if unit else []
    facts += [f"{BOUNDS[name]} {bound}" for name, bound in bounds.items() if name in BOUNDS]
    text = f"{description} [{', '.join(facts)}]" if facts else description
    return Field(default, title=title, description=text, **bounds)


class Group(BaseModel, frozen=True, extra="forbid"):
    """Parameters that belong together."""


class DataParameters(Group):
    """Which images to learn from."""

    dataset: str = parameter(
        "fashion-mnist",
        "Dataset",
        "Name of the dataset. `fashion-mnist` is checked against its published contents; any other "
        "name needs a folder",
        unit="lower-case letters, digits and hyphens",
        pattern=r"^[a-z0-9][a-z0-9-]*$",
        max_length=64,
    )
    folder: str | None = parameter(
        None,
        "Folder",
        "Folder with the four IDX files train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, "
        "t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz; empty: look for Fashion-MNIST on "
        "this machine, then download it",
    )


class TrainingParameters(Group):
    """How the two models learn."""

    recipe: RecipeName = parameter(
        "default",
        "Recipe",
        "`default` warms the learning rate up, then lets it fall to zero; `lab` keeps the constant "
        "0.001 of the lab",
    )
    shallow_epochs: int = parameter(
        20,
        "Shallow epochs",
        "Passes of the shallow model over the training images",
        "epochs",
        ge=1,
        le=10000,
    )
    deep_epochs: int = parameter(
        50,
        "Deep epochs",
        "Passes of the deep model over the training images",
        "epochs",
        ge=1,
        le=10000,
    )
    batch_size: int = parameter(
        256, "Batch size", "Images of one optimizer step", "images", ge=1, le=65536
    )
    seed: int = parameter(
        0,
        "Seed",
        "First weights and order of the images derive from it",
        ge=0,
        le=2**32 - 1,
    )
    device: DeviceChoice = parameter(
        "auto", "Device", "Where to compute; `auto` takes a GPU if one is visible"
    )

    def specs(self, quick: bool) -> list[TrainingSpec]:
        """What to train, in order; a quick look trains each model for one epoch."""
        epochs = {SHALLOW: self.shallow_epochs, DEEP: self.deep_epochs}
        if quick:
            epochs = dict.fromkeys(epochs, 1)
        return [
            TrainingSpec(
                architecture=architecture,
                recipe=choose_recipe(
                    self.recipe, architecture, epochs[architecture], self.batch_size
                ),
                seed=self.seed,
            )
            for architecture in (SHALLOW, DEEP)
        ]


class RunParameters(Group):
    """What to do with the results."""

    quick: bool = parameter(
        False,
        "Quick look",
        "Train each model for one epoch to see that everything works; never published",
    )
    retrain: bool = parameter(
        False,
        "Retrain",
        "Train again even what is there already; otherwise a run that would change nothing ends "
        "as unchanged",
    )


class Parameters(Group):
    """Everything a person can choose about a run."""

    data: DataParameters = DataParameters()
    training: TrainingParameters = TrainingParameters()
    run: RunParameters = RunParameters()


def explain(error: ValidationError) -> str:
    """One line that names, for every refused value, the field, the value and the bound."""
    return "; ".join(
        f"{fact['loc'][-1]}: {fact['msg']}, found {fact['input']!r}" for fact in error.errors()
    )
