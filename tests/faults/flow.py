"""The same faults in the whole flow, with Prefect: `python -m tests.faults.flow`."""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from uuid import UUID

from tasks.codes.errors import AutoencoderError
from tests.conftest import GATE, SAMPLE, SAMPLE_FOLDER, TRAINING
from tests.crash.results import results
from tests.faults.calls import FAULTS, KINDS, delayed_process, is_done, list_calls, options, strace
from tests.faults.harness import Case, Found, choose_cases, describe
from tests.faults.standing import check_folder
from tests.prefect_server import separate_server

FLAGS = [
    *("--dataset", SAMPLE.dataset, "--source.idx-folder", str(SAMPLE_FOLDER)),
    *("--shallow-epochs", str(TRAINING.shallow_epochs), "--deep-epochs", str(TRAINING.deep_epochs)),
    *("--batch-size", str(TRAINING.batch_size), "--pca-ratio", str(GATE.pca_ratio)),
    *("--tolerance", str(GATE.tolerance), "--own-nearest", str(GATE.own_nearest)),
]
RUN_BEFORE, RUN, NEXT_RUN = (str(UUID(int=number)) for number in (1, 2, 3))
POLL_SECONDS = 0.02
SECONDS = 7200
"""In which a run ends, on a busy machine too."""


class FlowWorkshop:
    """An artifacts folder with a published run, again and again, and the flow."""

    def __init__(self, folder: Path, api_url: str) -> None:
        """Publish a run of another seed, then one that is not disturbed, and note its calls."""
        self.root, self._copy = folder / "artifacts", folder / "copy"
        self._log, self._output = folder / "strace.log", folder / "output"
        self._environment = {
            **os.environ,
            "PREFECT_API_URL": api_url,
            "AUTOENCODER_ARTIFACTS": str(self.root),
            "CRASH_CHECKPOINT_SECONDS": "0",
        }
        self.root.mkdir(parents=True)
        assert self._run(RUN_BEFORE, ["--seed", "1"]) == 0, self._output.read_text()
        shutil.copytree(self.root, self._copy, symlinks=True)
        kinds = ["--seccomp-bpf", "-e", f"trace={','.join(KINDS)}"]
        assert self._run(RUN, strace_options=kinds) == 0, self._output.read_text()
        trace = self._log.read_text(errors="replace")
        self.calls = [
            call
            for call in list_calls(trace, self.root, "the whole flow")
            if not call.path.startswith(f"{self.root}/logs")  # how much is logged depends on time
        ]
        self.expected = results(self.root, SAMPLE.dataset)

    def _run(
        self,
        run: str,
        flags: list[str] | None = None,
        strace_options: list[str] | None = None,
        case: Case | None = None,
    ) -> int:
        """Run the flow, perhaps under strace; return the exit code."""
        command = [sys.executable, "-m", "tests.crash.victim", *FLAGS, *(flags or [])]
        if strace_options:
            command = [*strace(self._log, *strace_options), *command]
        environment = {**self._environment, "CRASH_RUN": run}
        with self._output.open("wb") as output:
            process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
            deadline = time.monotonic() + SECONDS
            while process.poll() is None:
                assert time.monotonic() < deadline, "the flow does not end"
                if case and case.fault == "killed after" and is_done(case.fault, self._log):
                    os.kill(delayed_process(self._log), signal.SIGKILL)
                    process.kill()
                time.sleep(POLL_SECONDS)
        return process.returncode

    def try_case(self, case: Case) -> Found:
        """Run with the fault, then without; check what is left after each."""
        shutil.rmtree(self.root)
        shutil.copytree(self._copy, self.root, symlinks=True)
        self._log.unlink(missing_ok=True)
        try:
            # With a filter, strace 6.1 does not kill a process in its first thread.
            fast = [] if case.fault == "killed before" else ["--seccomp-bpf"]
            code = self._run(RUN, strace_options=[*fast, *options(*case)], case=case)
            found = self._judge(code, case)
            check_folder(self.root)
            assert self._run(NEXT_RUN) == 0, self._output.read_text()[-2000:]
            check_folder(self.root)
            assert results(self.root, SAMPLE.dataset) == self.expected, "other bits"
        except (AssertionError, AutoencoderError) as error:
            return Found("fault found", fault=f"{type(error).__name__}: {error}")
        return found

    def _judge(self, code: int, case: Case) -> Found:
        text = self._output.read_text(errors="replace")
        log = self.root / "logs" / f"{RUN}.log"
        retried = log.exists() and "Retry" in log.read_text()
        if code == -signal.SIGKILL:
            return Found("killed")
        if not is_done(case.fault, self._log):
            return Found("the call was not made")
        assert "Traceback" not in text, text[-3000:]
        if code == 0:
            return Found("a retry succeeded" if retried else "did not matter")
        assert code == 1, f"exit code {code}: {text[-1000:]}"
        return Found("error in one line", text.splitlines()[-1])


def main() -> int:
    """Try the cases and report; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=30)
    parser.add_argument("--faults", nargs="*", choices=FAULTS, default=FAULTS, help="only these")
    arguments = parser.parse_args()
    outcomes: Counter[str] = Counter()
    faults = []
    with separate_server() as api_url, tempfile.TemporaryDirectory() as name:
        workshop = FlowWorkshop(Path(name).resolve(), api_url)
        print(dict(Counter(call.kind for call in workshop.calls)), flush=True)
        for case in choose_cases(workshop.calls, arguments.cases):
            if case.fault not in arguments.faults:
                continue
            found = workshop.try_case(case)
            outcomes[found.outcome] += 1
            faults += [f"{describe(case)}: {found.fault}"] if found.fault else []
            print(f"{describe(case)}: {found.outcome} {found.text}{found.fault}", flush=True)
    print(json.dumps({"outcomes": dict(outcomes), "faults": faults}, indent=2))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
