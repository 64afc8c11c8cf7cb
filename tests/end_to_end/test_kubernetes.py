"""The jobs of runs in Kubernetes, as its Prefect worker makes them, against Kubernetes' schema.

Without a cluster: docs/kubernetes.md says what that cannot show.
"""

from functools import cache
from typing import Any
from unittest import mock
from uuid import uuid4

import kubernetes_validate
import pytest
import yaml
from kubernetes_validate import ValidationError
from prefect.client.schemas.objects import FlowRun
from prefect.utilities.asyncutils import run_coro_as_sync
from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration

from flows.server.deploy import DEFAULTS, DEPLOYMENTS_FILE, JOB_FILE
from flows.server.registration import Definition, read_definitions
from flows.server.supervision import RUN_SECONDS

VERSIONS = ("1.29", "1.33", kubernetes_validate.latest_version())


@cache
def definitions() -> list[Definition]:
    """The deployments of the project."""
    variables = {**DEFAULTS, "AUTOENCODER_IMAGE": "registry.example/autoencoder-flow"}
    return read_definitions(DEPLOYMENTS_FILE, variables)


def job_of(deployment: str, **changes: Any) -> dict[str, Any]:
    """The job that a worker makes for a run of a deployment.

    Args:
        changes: of its job variables.
    """
    (definition,) = (found for found in definitions() if found.full_name == deployment)
    configuration: Any = run_coro_as_sync(  # a browser of other tests may have a loop here
        KubernetesWorkerJobConfiguration.from_template_and_values(
            yaml.safe_load(JOB_FILE.read_text()),
            {**definition.fields["job_variables"], **changes},
            client=mock.Mock(),  # nothing in it refers to what a server keeps
        )
    )
    run = FlowRun(id=uuid4(), flow_id=uuid4(), name="fashion-mnist-seed0-2026-11-26-2b6e6b7a")
    configuration.prepare_for_flow_run(run)
    manifest: dict[str, Any] = configuration.job_manifest
    return manifest


def pod_of(deployment: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The specification of its pod, and of the container in it."""
    pod = job_of(deployment)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    return pod, container


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("deployment", ["retrain/kubernetes", "retrain/kubernetes-gpu"])
def test_a_job_follows_the_schema(deployment: str, version: str) -> None:
    kubernetes_validate.validate(job_of(deployment), version, strict=True)
    with pytest.raises(ValidationError):
        kubernetes_validate.validate(
            job_of(deployment, image_pull_policy=["Always"]), version, strict=True
        )


def test_a_pod_may_do_as_little_as_a_container_of_ours() -> None:
    pod, container = pod_of("retrain/kubernetes")
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    assert mounts.keys() == {"/artifacts", "/data", "/tmp"}  # noqa: S108 - of the pod
    assert mounts["/data"]["readOnly"]
    claims = [volume.get("persistentVolumeClaim") for volume in pod["volumes"]]
    assert {"claimName": "autoencoder-flow-artifacts"} in claims
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    assert environment["PREFECT_HOME"] == "/tmp/prefect", "not the worker's"  # noqa: S108


def test_a_run_has_the_time_to_store_its_state_and_is_given_to_another_pod() -> None:
    pod, container = pod_of("retrain/kubernetes")
    assert pod["terminationGracePeriodSeconds"] > RUN_SECONDS
    assert job_of("retrain/kubernetes")["spec"]["backoffLimit"] == 0
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    assert environment["PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR"] == "reschedule"
    assert container["args"] == ["prefect", "flow-run", "execute"]


def test_only_the_gpu_variant_asks_for_a_gpu() -> None:
    for deployment, tag, gpus in (("kubernetes", "cpu", None), ("kubernetes-gpu", "gpu", 1)):
        _, container = pod_of(f"retrain/{deployment}")
        assert container["image"] == f"registry.example/autoencoder-flow:{tag}"
        assert container["resources"]["limits"].get("nvidia.com/gpu") == gpus
        assert {"cpu", "memory"} <= container["resources"]["limits"].keys()
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}


def test_a_pod_may_have_an_object_store_instead_of_a_disk() -> None:
    """Its credentials come from a Secret of the cluster, which Prefect does not see."""
    scratch = {"name": "artifacts", "emptyDir": {"sizeLimit": "20Gi"}}
    job = job_of("retrain/kubernetes", artifacts_volume=scratch)
    kubernetes_validate.validate(job, VERSIONS[0], strict=True)
    pod = job["spec"]["template"]["spec"]
    assert scratch in pod["volumes"]
    (container,) = pod["containers"]
    secret = {"name": "autoencoder-flow-store", "optional": True}
    assert container["envFrom"] == [{"secretRef": secret}]
    names = {entry["name"] for entry in container["env"]}
    assert "AUTOENCODER_PUBLISH_TO" in names
    assert not any(name.startswith("AWS_") for name in names)
