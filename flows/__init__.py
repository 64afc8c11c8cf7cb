"""The Prefect flows, and the steps they are made of."""

import logging
import os

from flows.failures import hide_expected_tracebacks, hide_retracing_warnings

os.environ.setdefault("DO_NOT_TRACK", "1")  # Prefect calls home otherwise, once it is imported

# Prefect sends these loggers' lines to the run they belong to (see pyproject.toml) but leaves them
# at the root's level, WARNING.
for name in ("flows", "tasks"):
    logging.getLogger(name).setLevel(logging.INFO)

hide_expected_tracebacks()
hide_retracing_warnings()
