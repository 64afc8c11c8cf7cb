"""The Prefect flows: what a run does, step by step."""

from importlib import import_module

import tasks.steps  # noqa: F401 - sets the variables that Prefect reads when it is imported
from flows.terminal.failures import filter_logs
from tasks.core.memory import garbage_ignored, limit_heaps

limit_heaps()
with garbage_ignored():
    import_module("prefect.main")

filter_logs()
