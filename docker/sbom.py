"""Prints the bill of materials of its image: Python's and Debian's packages, as CycloneDX."""

import json
import subprocess

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

PYTHON = ["cyclonedx-py", "environment", "--output-reproducible", "/opt/venv/bin/python"]
DEBIAN = ["dpkg-query", "--show", "--showformat=${Package} ${Version} ${Architecture}\n"]


def main() -> None:
    """Add Debian's packages to what CycloneDX's own tool finds in the environment."""
    bom = Bom.from_json(json.loads(output_of(PYTHON)))
    for line in output_of(DEBIAN).splitlines():
        name, version, architecture = line.split()
        purl = PackageURL("deb", "debian", name, version, {"arch": architecture})
        bom.components.add(Component(name=name, version=version, purl=purl, bom_ref=str(purl)))
    print(JsonV1Dot6(bom).output_as_string(indent=2))


def output_of(command: list[str]) -> str:
    """What a command prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
