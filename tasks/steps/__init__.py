"""The Prefect tasks: what is retried, logged and shown in the UI.

`flows` imports this package before Prefect, which reads its variables when it is imported.
"""

import logging

from tasks.steps.environment import set_environment

set_environment()

# Prefect sends the lines of these loggers to the run that logs them (see pyproject.toml) but leaves
# them at the root logger's level, WARNING.
for name in ("flows", "tasks"):
    logging.getLogger(name).setLevel(logging.INFO)
