"""The Prefect flows: what a run does, step by step."""

import tasks.steps  # noqa: F401 - sets the variables that Prefect reads when it is imported
from flows.terminal.failures import filter_logs

filter_logs()
