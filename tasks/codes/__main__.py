"""Show or verify a codes file: `python -m tasks.codes FILE`."""

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

from .errors import CodesError
from .published import MANIFEST_FILE, read_run
from .reader import CodesFile, open_codes
from .units import live_units


def main(arguments: list[str]) -> int:
    """Show or verify a codes file; return the exit code."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {__package__}", description="Show the contents of a codes file."
    )
    parser.add_argument("file", type=Path)
    parser.add_argument(
        "--verify",
        action="store_true",
        help="only check the file against the contract and, in a run's folder, against the "
        "manifest; exit code 1 if anything is wrong",
    )
    options = parser.parse_args(arguments)
    try:
        if options.verify:
            _check_in_run(options.file)
        with open_codes(options.file) as file:
            print(f"{options.file} is valid" if options.verify else _describe(file))
    except CodesError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _check_in_run(path: Path) -> None:
    folder = path.absolute().parent.parent
    if (folder / MANIFEST_FILE).exists():
        read_run(folder).file(f"{path.parent.name}/{path.name}")


def _describe(file: CodesFile) -> str:
    """Attributes and statistics as lines of `name  value`."""
    sections = [("File", asdict(file.split))]
    for name, provenance in file.models.items():
        sections.append((f"Model {name}", {**asdict(provenance), **_statistics(file, name)}))
    width = max(len(name) for _, facts in sections for name in facts)
    return "\n\n".join(
        "\n".join([title, *(f"  {name:{width}}  {value}" for name, value in facts.items())])
        for title, facts in sections
    )


def _statistics(file: CodesFile, model: str) -> dict[str, str]:
    read = file.read(model)
    return {
        "codes": " x ".join(map(str, read.codes.shape)),
        "live units": str(live_units(read.codes).sum()),
        "zeros": f"{(read.codes == 0).mean():.1%}",
        "mean": f"{read.codes.mean():.3f}",
        "largest": f"{read.codes.max():.3f}",
        "mean squared error": f"{read.reconstruction_mse.mean():.5f}",
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
