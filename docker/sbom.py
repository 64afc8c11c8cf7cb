"""Prints the bill of materials of its image: Python's and Debian's packages, as CycloneDX.

The argument is pip's report of what it installed. The same packages give the same bytes.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

PYTHON = ["cyclonedx-py", "environment", "--output-reproducible", "/opt/venv/bin/python"]
DEBIAN = ["dpkg-query", "--show", "--showformat=${Package} ${Version} ${Architecture}\n"]
COPYRIGHT = "/usr/share/doc/{}/copyright"


def main(report: Path) -> None:
    """Add hashes and Debian's packages to what CycloneDX's own tool finds in the environment."""
    bom = Bom.from_json(json.loads(output_of(PYTHON)))
    hashes = installed_hashes(json.loads(report.read_text()))
    for component in bom.components:
        content = hashes[normalized(component.name)]
        component.hashes.add(HashType(alg=HashAlgorithm.SHA_256, content=content))
    bom.components.update(debian_packages())
    bill = json.loads(JsonV1Dot6(bom).output_as_string())
    del bill["serialNumber"], bill["metadata"]["timestamp"]  # a random number, and the time
    print(json.dumps(bill, indent=2))


def installed_hashes(report: dict) -> dict[str, str]:
    """The SHA-256 of the file that pip installed, of each package."""
    return {
        normalized(item["metadata"]["name"]): item["download_info"]["archive_info"]["hashes"][
            "sha256"
        ]
        for item in report["install"]
    }


def normalized(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def debian_packages() -> Iterator[Component]:
    """Debian's packages and their licences; where their files came from is not recorded."""
    for line in output_of(DEBIAN).splitlines():
        name, version, architecture = line.split()
        purl = PackageURL("deb", "debian", name, version, {"arch": architecture})
        licenses = [DisjunctiveLicense(name=found) for found in licenses_of(name)]
        yield Component(name=name, version=version, purl=purl, bom_ref=str(purl), licenses=licenses)


def licenses_of(package: str) -> list[str]:
    """Those that a Debian package names in a form for machines (DEP 5)."""
    try:
        text = Path(COPYRIGHT.format(package)).read_text(errors="replace")
    except OSError:
        return []
    return sorted(set(re.findall(r"^License: *(\S.*?) *$", text, re.MULTILINE)))


def output_of(command: list[str]) -> str:
    """What a command prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main(Path(sys.argv[1]))
