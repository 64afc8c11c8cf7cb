"""`make deploy`: registers work pool, deployments and automations on the server of PREFECT_API_URL.

Doing it again changes nothing.
"""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists

from flows import automations

CODE = Path(__file__).resolve().parents[1]
WORK_POOL = "autoencoders"


def deploy() -> None:
    """Register everything.

    Raises:
        CalledProcessError: Prefect refused a deployment; its reason is on the terminal.
    """
    with get_client(sync_client=True) as client, suppress(ObjectAlreadyExists):
        client.create_work_pool(WorkPoolCreate(name=WORK_POOL, type="process"))
    subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
        check=True,
        cwd=CODE,
        env={"AUTOENCODER_CODE": str(CODE), **os.environ},
    )
    automations.register()


if __name__ == "__main__":
    deploy()
