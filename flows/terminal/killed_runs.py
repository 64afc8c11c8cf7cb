"""Tells the Prefect server which runs at a terminal were killed: nobody else may be there to.

Where there is a worker of ours, it does too (`flows/server/rescue.py`).
"""

import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.states import Cancelled, Crashed

from tasks.core.locks import is_held, lock_path
from tasks.runs.building import RUN_LOCK_PREFIX
from tasks.steps.server import IN_PROGRESS, suppress_absence

logger = logging.getLogger(__name__)


def report_killed_runs(root: Path) -> None:
    """Let runs of this artifacts folder that count as running, and have no process, have ended."""
    dead = list(_find_free_runs(root))
    if not dead:
        return
    wanted = FlowRunFilter(
        id=FlowRunFilterId(any_=dead),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=IN_PROGRESS)),
        deployment_id=FlowRunFilterDeploymentId(is_null_=True),
    )
    with suppress_absence(), get_client(sync_client=True) as client:
        for run in client.read_flow_runs(flow_run_filter=wanted):
            ended = Cancelled if run.state_type == StateType.CANCELLING else Crashed
            client.set_flow_run_state(run.id, ended(message="Its process was killed"))
            logger.info("Run %s was killed earlier; the Prefect server knows it now", run.name)


def _find_free_runs(root: Path) -> Iterator[UUID]:
    """The runs whose lock exists and is not held."""
    for path in lock_path("", root).parent.glob(f"{RUN_LOCK_PREFIX}*.lock"):
        # Other names are not of Prefect; other users' files say nothing.
        with suppress(ValueError, OSError):
            run = UUID(path.stem.removeprefix(RUN_LOCK_PREFIX))
            if is_held(path.stem, root) is False:
                yield run
