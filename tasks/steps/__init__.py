"""The Prefect tasks: what is retried, logged and shown in the UI.

`flows` imports this package before Prefect, which reads these variables when it is imported.
"""

import logging
import os

TELEMETRY_OFF = {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
for variable, value in TELEMETRY_OFF.items():
    os.environ.setdefault(variable, value)

# Prefect sends the lines of these loggers to the run that logs them (see pyproject.toml) but leaves
# them at the root logger's level, WARNING.
for name in ("flows", "tasks"):
    logging.getLogger(name).setLevel(logging.INFO)
