"""A downstream job: the exact nearest neighbours of published codes."""

import sys

from prefect import flow
from prefect.runtime import flow_run

from tasks.core.storage import prepare_artifacts_folder
from tasks.encoding.neighbors import NeighborsRecord
from tasks.parameters.neighbors import CodesParameters, NeighborsParameters
from tasks.runs.building import run_in_progress
from tasks.steps import retrain as steps


@flow(name="neighbors", description=__doc__)
def neighbors(codes: CodesParameters = CodesParameters()) -> NeighborsRecord:
    """Search the 100 nearest training codes of every test code, for each model of a run.

    Args:
        codes: whose codes.
    """
    with run_in_progress(str(flow_run.get_id()), prepare_artifacts_folder()):
        return steps.search_neighbors(steps.find_codes(codes))


def main(arguments: list[str]) -> int:
    """Run as a command; return the exit code."""
    from flows.terminal.command_line import parse, run_from_command_line
    from flows.terminal.summary import print_neighbors

    parameters = parse(neighbors, NeighborsParameters, arguments)
    return run_from_command_line(neighbors, parameters, print_neighbors, ("sklearn.neighbors",))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
