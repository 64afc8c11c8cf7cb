"""The Prefect tasks: what is retried, logged and shown in the UI."""
