"""Writes into a bill of materials which image it is of: its file, the image's name, its revision.

The packages, which take minutes to install, are the same for many revisions.
"""

import json
import sys
from pathlib import Path


def main(path: Path, name: str, revision: str) -> None:
    """Name the image."""
    bill = json.loads(path.read_text())
    image = {"type": "container", "bom-ref": name, "name": name, "version": revision}
    bill["metadata"]["component"] = image
    path.write_text(json.dumps(bill, indent=2) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
