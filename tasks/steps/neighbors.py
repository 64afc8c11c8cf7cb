"""The steps of `flows/neighbors.py`."""

from pathlib import Path

from tasks.codes.published import PublishedRun, open_published, open_run
from tasks.core.storage import prepare_artifacts_folder
from tasks.encoding.neighbors import FeaturesOf, obtain_neighbors
from tasks.encoding.stored_neighbors import NeighborsRecord
from tasks.evaluation.baselines import COMPONENTS_FILE, project_split
from tasks.parameters.published import CodesParameters
from tasks.runs.lookup import resolve_run
from tasks.runs.manifest import read_manifest
from tasks.steps.step import step

STAGES = ("codes", "search")
"""Of the steps that people wait for, in their order."""


@step("Find the codes", "codes")
def find_codes(parameters: CodesParameters) -> PublishedRun:
    """The run that the parameters name, or else the published one."""
    root, run = prepare_artifacts_folder(), parameters.run
    return (
        open_run(resolve_run(run, root), root) if run else open_published(parameters.dataset, root)
    )


@step("Search the nearest neighbours", "search")
def search_neighbors(run: PublishedRun) -> NeighborsRecord:
    """Write the nearest training codes of every test code, for each model."""
    root = prepare_artifacts_folder()
    return obtain_neighbors(run, root, _find_pca(run, root))


def _find_pca(run: PublishedRun, root: Path) -> FeaturesOf | None:
    """PCA features of the run's images, to compare with; none if their folder was deleted."""
    dataset = read_manifest(run.folder).dataset
    if not (root / dataset.folder / COMPONENTS_FILE).exists():
        return None
    return lambda split, components: project_split(dataset, split, components, root)
