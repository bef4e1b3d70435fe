"""Guards, and the test that dies where one is taken away: ``python -m tests.guards``.

Each guard is a piece of the code, what is left where it is missing, and the test. The command takes one
guard away after the other, in a copy of the project, and fails where the test does not notice. The guards
of trust are in :mod:`tests.installs.guards`, those of what is kept in :mod:`tests.stores.guards`, those of
the old SDK's faults in :mod:`tests.fault_guards`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Guard:
    """:param says: what it keeps from happening.
    :param code: a piece of the file that is there once.
    :param without: what stands there in its place.
    """

    says: str
    file: str
    code: str
    without: str
    test: str

    def remove(self, root: Path) -> None:
        path = root / "flask_orbro" / self.file
        text = path.read_text()
        assert text.count(self.code) == 1, f"{self.says}: {text.count(self.code)} times in {self.file}"
        path.write_text(text.replace(self.code, self.without))


def dies(guard: Guard) -> tuple[bool, float]:
    """Whether the guard's test fails without it, and after how many seconds."""
    with TemporaryDirectory(prefix="orbro-guard-") as name:
        copy = Path(name)
        for folder in ("flask_orbro", "tests", "example_app"):
            shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "setup.cfg", copy)
        guard.remove(copy)
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", guard.test],
            cwd=copy,
            env=os.environ | {"PYTHONPATH": name, "ORBRO_TEST_LONG": "1", "ORBRO_TEST_UNSHRUNK": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        # 1: tests have failed. Anything else is no judgement, as where the copy cannot be imported.
        assert done.returncode in (0, 1), done.stdout + done.stderr
        return done.returncode == 1, time.monotonic() - began


def main(wanted: list[str]) -> int:
    """:param wanted: words; only guards whose sentence holds one of them are taken away."""
    from .fault_guards import FAULTS
    from .installs.guards import GUARDS
    from .stores.guards import STORED

    survived = 0
    for guard in (*GUARDS, *STORED, *FAULTS):
        if wanted and not any(word in guard.says for word in wanted):
            continue
        died, seconds = dies(guard)
        survived += not died
        print(f"{'ok  ' if died else 'FAIL'} {seconds:6.1f} s  {guard.says}  ({guard.test})", flush=True)
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
