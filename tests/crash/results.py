"""What a run leaves that must not depend on what was killed or failed meanwhile."""

import hashlib
from pathlib import Path

from tasks.runs.manifest import Manifest


def results(root: Path, dataset: str) -> dict[str, str]:
    """What must not depend on kills: SHA-256 of weights, histories, codes and figures."""
    folder = root / "published" / dataset
    manifest = Manifest.model_validate_json((folder / "manifest.json").read_bytes())
    found = {f"weights/{model.name}": model.weights_sha256 for model in manifest.models}
    for file in manifest.files:
        path = folder / file.path
        if hashlib.sha256(path.read_bytes()).hexdigest() != file.sha256:
            raise AssertionError(f"{file.path} is not what the manifest says")
        if path.suffix in (".h5", ".npy", ".png") or path.name == "history.json":
            found[file.path] = file.sha256
    return found
