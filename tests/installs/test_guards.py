"""Each guard of :mod:`.guards` is in the code, once, and its test is there."""

from __future__ import annotations

import pytest

from .guards import GUARDS, ROOT, Guard


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.says)
def test_every_guard_is_still_there(guard: Guard) -> None:
    text = (ROOT / "flask_orbro" / guard.file).read_text()
    assert text.count(guard.code) == 1
    assert guard.without != guard.code
    assert (ROOT / guard.test).is_file()
