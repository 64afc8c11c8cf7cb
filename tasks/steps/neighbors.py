"""The steps of `flows/neighbors.py`."""

from tasks.codes.published import PublishedRun, open_published, open_run
from tasks.core.storage import prepare_artifacts_folder
from tasks.encoding.neighbors import NeighborsRecord, obtain_neighbors
from tasks.parameters.published import CodesParameters
from tasks.steps.step import step


@step("Find the codes")
def find_codes(parameters: CodesParameters) -> PublishedRun:
    """The run that the parameters name, or else the published one."""
    root, run = prepare_artifacts_folder(), parameters.run
    return open_run(run, root) if run else open_published(parameters.dataset, root)


@step("Search the nearest neighbours")
def search_neighbors(run: PublishedRun) -> NeighborsRecord:
    """Write the nearest training codes of every test code, for each model."""
    return obtain_neighbors(run, prepare_artifacts_folder())
