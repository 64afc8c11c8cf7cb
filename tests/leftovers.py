"""Old and unneeded folders, for tests of retention."""

import os
import shutil
import time
from pathlib import Path

from tasks.core.storage import write_record
from tasks.models.store import ModelRecord


def make_old(folder: Path) -> None:
    """As if nothing had touched it for two hours."""
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (time.time() - 7200,) * 2, follow_symlinks=False)


def store_copy(model: ModelRecord, fingerprint: str, root: Path) -> ModelRecord:
    """A model stored under another fingerprint."""
    facts = {"fingerprint": fingerprint, "folder": f"models/{fingerprint}"}
    copy = model.model_copy(update=facts)
    shutil.copytree(root / model.folder, root / copy.folder)
    write_record(root / copy.folder / "model.json", copy)
    return copy
