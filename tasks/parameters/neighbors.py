"""The parameters of `python -m flows.neighbors`: search the nearest neighbours of codes."""

from tasks.core.form import Group, parameter
from tasks.parameters.images import DATASET_NAME, RUN_NAME


class CodesParameters(Group):
    """Which codes to search."""

    dataset: str = parameter(
        "fashion-mnist", "Dataset", "Dataset whose published codes to search", **DATASET_NAME
    )
    run: str | None = parameter(
        None, "Run", "Run whose codes to search instead of the published ones", **RUN_NAME
    )


class NeighborsParameters(Group):
    """Everything a person can choose about a search for neighbours."""

    codes: CodesParameters = CodesParameters()
