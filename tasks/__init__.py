"""The job as plain functions; only `tasks.steps` knows Prefect.

Packages import in one direction; `make lint` checks the order (see pyproject.toml).
"""
