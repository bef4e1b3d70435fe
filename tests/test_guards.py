"""Each guard is in the code, once, and its test is there."""

from __future__ import annotations

import pytest

from .fault_guards import FAULTS
from .guards import ROOT, Guard
from .installs.guards import GUARDS
from .stores.guards import STORED


@pytest.mark.parametrize("guard", [*GUARDS, *STORED, *FAULTS], ids=lambda guard: guard.says)
def test_every_guard_is_still_there(guard: Guard) -> None:
    text = (ROOT / "flask_orbro" / guard.file).read_text()
    assert text.count(guard.code) == 1
    assert guard.without != guard.code
    assert (ROOT / guard.test).is_file()
