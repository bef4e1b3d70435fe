"""The house rules that a reviewer would otherwise have to remember."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import flask_orbro

ROOT = Path(flask_orbro.__file__).parent

#: Imports point downward, or sideways without a circle. A new module says here where it lives.
FLOORS: dict[int, str] = {
    0: "checks problem errors protocol webhook_token verdicts schedule installation history descriptor"
    " schemas signals identity",
    1: "config settings crypto keys models migrations storage stores http logs metrics own_tokens",
    2: "installs authenticator webhooks platform connections sweeper",
    3: "state assembly announce handling relaxations context judging decorators api cli client_info"
    " token_stores outbound extension simulator public __init__",
}
FLOOR_OF = {name: floor for floor, names in FLOORS.items() for name in names.split()}
MOST_LINES = 320
OPTIONAL = {
    "redis",
    "celery",
    "kombu",
    "flask_admin",
    "flask_limiter",
    "limits",
    "prometheus_client",
    "alembic",
}
#: What floor 0 must not reach for: a framework, the network, a database, a file, a clock, chance.
IMPURE = {
    "flask", "flask_restx", "httpx2", "httpcore2", "sqlalchemy", "redis", "socket", "ssl", "threading",
    "asyncio", "subprocess", "os", "io", "time", "datetime", "random", "secrets", "pathlib", "logging",
}  # fmt: skip


def _modules() -> dict[str, ast.Module]:
    files = sorted(ROOT.rglob("*.py"))
    return {_name(file): ast.parse(file.read_text(encoding="utf-8"), str(file)) for file in files}


def _name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


MODULES = _modules()


def _is_package(name: str) -> bool:
    return name == "__init__" or (ROOT / name.replace(".", "/")).is_dir()


def _floor(name: str) -> int:
    return FLOOR_OF[name.partition(".")[0]]


def _targets(importer: str, node: ast.AST) -> Iterator[str]:
    """The modules of this package that one import statement names."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            if alias.name.partition(".")[0] == "flask_orbro":
                yield from _known(alias.name.removeprefix("flask_orbro").lstrip("."))
    if isinstance(node, ast.ImportFrom):
        module = node.module or ""
        if node.level:
            home = [] if importer == "__init__" else importer.split(".")
            up = node.level - _is_package(importer)
            base = home[: len(home) - up] if up else home
            module = ".".join([*base, *([module] if module else [])])
        elif module.partition(".")[0] == "flask_orbro":
            module = module.removeprefix("flask_orbro").lstrip(".")
        else:
            return
        for alias in node.names:
            yield from _known(f"{module}.{alias.name}".lstrip("."), fallback=module)


def _known(name: str, fallback: str = "") -> Iterator[str]:
    yield name if name in MODULES else fallback or "__init__"


def _imports(importer: str) -> set[str]:
    found = {target for node in ast.walk(MODULES[importer]) for target in _targets(importer, node)}
    return found - {importer}


def _imported_roots(tree: ast.AST) -> set[str]:
    roots = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            roots |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            roots.add(node.module.partition(".")[0])
    return roots


def test_the_reading_of_imports_is_not_blind() -> None:
    assert {"protocol", "stores.cache", "installs.inquiry"} <= _imports("platform.service") | _imports(
        "platform.tokens"
    )
    assert {"config", "installs.inquiry", "stores.claims"} <= _imports("webhooks.verify")
    assert "simulator.control" in _imports("simulator.app")
    assert "extension" in _imports("public")


def test_every_module_has_a_floor() -> None:
    assert {name.partition(".")[0] for name in MODULES} - set(FLOOR_OF) == set()


def test_imports_point_downward() -> None:
    upward = {
        f"{importer} (floor {_floor(importer)}) imports {target} (floor {_floor(target)})"
        for importer in MODULES
        for target in _imports(importer)
        if _floor(target) > _floor(importer)
    }
    assert upward == set()


def test_imports_go_in_no_circle() -> None:
    # A package imports its own modules for its users; that is no dependency of theirs.
    graph = {
        name: {target for target in _imports(name) if not name.startswith(f"{target}.")}
        for name in MODULES
        if name != "__init__"
    }
    # Blueprints are registered where the app is made, and name the app's helpers.
    graph["simulator.app"] -= {"simulator.api", "simulator.backends", "simulator.control"}
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"imported in a circle: {' -> '.join(error.args[1])}")


def test_nobody_inside_imports_the_public_face() -> None:
    importers = [name for name in MODULES if {"__init__", "public"} & _imports(name)]
    assert importers == ["__init__"]


@pytest.mark.parametrize("name", FLOORS[0].split())
def test_the_ground_floor_is_pure(name: str) -> None:
    allowed = {"pathlib"} if name == "descriptor" else set()
    assert _imported_roots(MODULES[name]) & IMPURE - allowed == set()
    calls = {node.func.id for node in ast.walk(MODULES[name]) if _is_plain_call(node)}
    assert calls & {"open", "print", "input"} == set()


def _is_plain_call(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name)


def test_only_the_upper_floor_knows_requests() -> None:
    knowing = {
        name
        for name, tree in MODULES.items()
        if _floor(name) < 3
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        and node.module == "flask"
        and {alias.name for alias in node.names} & {"request", "g", "current_app", "session", "jsonify"}
    }
    assert knowing == set()


def test_the_simulator_shares_nothing_with_the_rest() -> None:
    # A mistake in the extension must not be able to hide behind the same mistake in its simulator.
    strangers = {
        f"{name} imports {target}"
        for name in MODULES
        if name.partition(".")[0] == "simulator"
        for target in _imports(name)
        if target.partition(".")[0] != "simulator"
    }
    assert strangers == set()


def test_no_file_is_too_long() -> None:
    lines = {str(file.relative_to(ROOT)): len(file.read_text().splitlines()) for file in ROOT.rglob("*.py")}
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}


def test_optional_packages_are_imported_only_where_they_are_used() -> None:
    eager = {
        f"{name} imports {root}"
        for name, tree in MODULES.items()
        for root in _imported_roots(ast.Module(_run_at_import(tree.body), [])) & OPTIONAL
    }
    assert eager == set()


def _run_at_import(body: list[ast.stmt]) -> list[ast.stmt]:
    """The statements that run when a module is imported."""
    found: list[ast.stmt] = []
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            found += _run_at_import(node.orelse)
        elif isinstance(node, ast.ClassDef | ast.If | ast.Try | ast.With):
            blocks = [node.body, getattr(node, "orelse", []), getattr(node, "finalbody", [])]
            blocks += [handler.body for handler in getattr(node, "handlers", [])]
            for block in blocks:
                found += _run_at_import(block)
        else:
            found.append(node)
    return found
