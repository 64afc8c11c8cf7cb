"""The Prefect flows, and the steps they are made of."""

import logging

from flows.failures import hide_expected_tracebacks

# Prefect sends these loggers' lines to the run they belong to (see pyproject.toml) but leaves them
# at the root's level, WARNING.
for name in ("flows", "tasks"):
    logging.getLogger(name).setLevel(logging.INFO)

hide_expected_tracebacks()
