"""Every benchmark can be started by the name that the documents give it."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

from benchmarks.__main__ import BENCHMARKS, main
from benchmarks.options import Options

ROOT = Path(__file__).parent.parent
DOCUMENTS = ("README.md", "benchmarks/README.md", "CHANGELOG.md", "CONTRIBUTING.md")


@pytest.mark.parametrize("what", BENCHMARKS)
def test_a_benchmark_runs_with_options(what: str) -> None:
    run = import_module(f"benchmarks.{BENCHMARKS[what][0]}").run
    annotations = list(run.__annotations__.values())
    assert annotations[0] in ("Options", Options)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_documents_name_benchmarks_that_there_are(document: str) -> None:
    named = set(re.findall(r"python -m benchmarks ([a-z]+)", (ROOT / document).read_text()))
    assert named <= set(BENCHMARKS)
    assert "python -m benchmarks." not in (ROOT / document).read_text()


def test_the_guide_tells_of_every_benchmark() -> None:
    assert set(re.findall(r"^\| `([a-z]+)` \|", (ROOT / "benchmarks/README.md").read_text(), re.M)) == set(
        BENCHMARKS
    )


def test_another_name_is_refused_and_the_right_ones_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["speed"])
    assert caught.value.code == 2
    told = capsys.readouterr().err
    assert "'speed'" in told
    assert all(what in told for what in BENCHMARKS)
