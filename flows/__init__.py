"""The Prefect flows, and the steps they are made of."""

import logging

# Prefect sends these loggers' lines to the run they belong to (see pyproject.toml) but leaves them
# at the root's level, WARNING.
for name in ("flows", "tasks"):
    logging.getLogger(name).setLevel(logging.INFO)
