"""The Prefect server, its deployments, automations and worker."""
