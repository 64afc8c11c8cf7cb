"""The Prefect flows, and the steps they are made of."""

import logging
import os

from flows.terminal.failures import hide_expected_tracebacks, hide_retracing_warnings

# Otherwise Prefect calls home once it is imported, and so does the temporary server of a command.
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")

# Prefect sends these loggers' lines to the run they belong to (see pyproject.toml) but leaves them
# at the root's level, WARNING.
for name in ("flows", "tasks"):
    logging.getLogger(name).setLevel(logging.INFO)

hide_expected_tracebacks()
hide_retracing_warnings()
