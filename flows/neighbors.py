"""A downstream job: the exact nearest neighbours of published codes."""

import sys

from prefect import flow

from tasks.encoding.stored_neighbors import NeighborsRecord
from tasks.parameters.published import Codes, CodesParameters, NeighborsParameters
from tasks.steps import neighbors as steps
from tasks.steps.outcome import run_name
from tasks.steps.step import current_run

EXAMPLES = (
    ("", "the neighbours of the published Fashion-MNIST codes"),
    ("--dataset boots --run RUN", "those of a certain run"),
)


@flow(
    name="neighbors",
    description=__doc__,
    flow_run_name=run_name(lambda given: f"{given['codes'].dataset}-neighbors"),
)
def neighbors(codes: Codes = CodesParameters()) -> NeighborsRecord:
    """Search the 100 nearest training codes of every test code, for each model of a run.

    Args:
        codes: The run whose codes are searched.
    """
    with current_run():
        return steps.search_neighbors(steps.find_codes(codes))


def main(arguments: list[str]) -> int:
    """Run as a command; return the exit code."""
    from flows.terminal import command_line, summary

    return command_line.run(
        neighbors,
        NeighborsParameters,
        arguments,
        summary.print_neighbors,
        lambda _parameters: steps.STAGES,
        EXAMPLES,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
