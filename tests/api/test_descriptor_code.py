"""What the code adds to connect.json, and what is said where both differ."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from flask import Flask
from flask.cli import ScriptInfo
from flask_restx import Api, Resource

from flask_orbro import DescriptorError, OrbroConnect, webhook_required
from flask_orbro.cli import orbro as commands
from flask_orbro.descriptor import SCHEMA, Registration, check_descriptor, compose, faults

from ..conftest import DESCRIPTOR
from ..world import is_problem

BASE = "https://app.example/base"
A = {"event_name": "a", "callback_api": f"{BASE}/a"}


@pytest.fixture
def make(tmp_path: Path, settings: dict[str, Any]) -> Callable[..., Flask]:
    """Makes an app whose connect.json has these members besides the id."""

    def make(
        orbro: OrbroConnect,
        *,
        webhooks: list[Any] | None = None,
        prepare: Callable[[Flask], object] = lambda app: None,
        **members: Any,
    ) -> Flask:
        usual = {"id": "x", "baseUrl": BASE} | members
        document: dict[str, Any] = {name: value for name, value in usual.items() if value is not None}
        if webhooks is not None:
            document["modules"] = {"webhooks": webhooks, "other": 1}
        (tmp_path / "connect.json").write_text(json.dumps(document))
        app = Flask("made", root_path=str(tmp_path), instance_path=str(tmp_path))
        app.config.update(settings)
        prepare(app)
        orbro.init_app(app)
        return app

    return make


def served(app: Flask) -> dict[str, Any]:
    document: dict[str, Any] = app.test_client().get("/connect.json").json
    return document


def run(app: Flask, *arguments: str) -> Result:
    result = app.test_cli_runner().invoke(commands, ["descriptor", *arguments])
    assert "Traceback" not in result.output
    return result


def test_handlers_and_decorated_routes_are_in_it_with_absolute_urls(make: Callable[..., Flask]) -> None:
    orbro = OrbroConnect()
    orbro.on("a", path="/a")(lambda delivery: None)
    app = make(orbro)

    @orbro.on("b", path="/a", property="p", value="v")
    async def handler(delivery: Any) -> None:
        pass

    @app.post("/c")
    @webhook_required(event="c", property="q", value=7)
    def view() -> dict[str, str]:
        return {}

    api = Api(app)
    orbro.init_api(api)

    @api.route("/d")
    class OnResource(Resource):  # type: ignore[misc]
        @api.doc("d")  # type: ignore[untyped-decorator]
        @webhook_required(event="d", deduplicate=True)
        def post(self) -> dict[str, str]:
            return {}

    @app.post("/e")
    @webhook_required
    def unnamed() -> dict[str, str]:
        return {}

    document = served(app)
    hooks = document.pop("modules")["webhooks"]
    assert sorted(hooks, key=lambda hook: hook["event_name"]) == [
        A,
        {"event_name": "b", "callback_api": f"{BASE}/a", "property": "p", "value": "v"},
        {"event_name": "c", "callback_api": f"{BASE}/c", "property": "q", "value": 7},
        {"event_name": "d", "callback_api": f"{BASE}/d"},
    ]
    lifecycle = {name: f"/{name}" for name in ("installed", "uninstalled", "enabled", "disabled")}
    assert document == {"id": "x", "baseUrl": BASE, "lifecycle": lifecycle}
    assert json.loads(run(app).output)["modules"]["webhooks"] == hooks


def test_a_pattern_is_left_out(make: Callable[..., Flask]) -> None:
    orbro = OrbroConnect()
    orbro.on("device:*", path="/a")(lambda delivery: None)
    assert "modules" not in served(make(orbro))


def test_file_and_code_are_merged(make: Callable[..., Flask]) -> None:
    orbro = OrbroConnect()
    orbro.on("a", path="/a")(lambda delivery: None)
    in_file = [
        {"event_name": "a", "callback_api": "/a", "note": "kept"},
        {"event_name": "z", "callback_api": "/z"},
    ]
    document = served(make(orbro, webhooks=in_file))
    assert document["modules"] == {
        "other": 1,
        "webhooks": [A | {"note": "kept"}, {"event_name": "z", "callback_api": f"{BASE}/z"}],
    }


def test_several_filters_of_one_event_are_no_conflict(make: Callable[..., Flask]) -> None:
    orbro = OrbroConnect()
    for value in "vw":

        def handler(delivery: Any) -> None:
            pass

        handler.__qualname__ = f"handler {value}"
        orbro.on("a", path="/a", property="p", value=value)(handler)
    in_file = [A | {"property": "p", "value": value} for value in "vw"]
    assert served(make(orbro, webhooks=in_file))["modules"]["webhooks"] == in_file


def on_a_truth_value_and_a_number() -> OrbroConnect:
    orbro = OrbroConnect()
    orbro.on("a", path="/a", property="p", value=1)(lambda delivery: None)

    @orbro.on("a", path="/a", property="p", value=True)
    def of_a_truth_value(delivery: Any) -> None:
        pass

    return orbro


def test_a_truth_value_and_a_number_are_two_filters(make: Callable[..., Flask]) -> None:
    hooks = served(make(on_a_truth_value_and_a_number()))["modules"]["webhooks"]
    assert [repr(hook["value"]) for hook in hooks] == ["1", "True"]


@pytest.mark.parametrize("value", [1, 1.0, True])
def test_a_file_that_says_one_of_them_lacks_the_other(make: Callable[..., Flask], value: Any) -> None:
    in_file = A | {"property": "p", "value": value}
    app = make(on_a_truth_value_and_a_number(), webhooks=[in_file])
    hooks = served(app)["modules"]["webhooks"]
    assert [repr(hook["value"]) for hook in hooks] == [repr(value), "1" if value is True else "True"]
    assert run(app, "--check").output.count("lacks the webhook a at /a of") == 1


def test_a_truth_value_in_the_file_conflicts_with_a_number_in_the_code(make: Callable[..., Flask]) -> None:
    orbro = OrbroConnect()
    orbro.on("a", path="/a", property="p", value=1)(lambda delivery: None)
    with pytest.raises(DescriptorError, match=r"where p is True there, and at /a where p is 1 here"):
        make(orbro, webhooks=[A | {"property": "p", "value": True}])
    elsewhere = {"event_name": "a", "callback_api": "/b", "property": "p", "value": True}
    make(orbro, webhooks=[elsewhere])


@pytest.mark.parametrize(
    "entry",
    [
        {"event_name": "a", "callback_api": "/elsewhere"},
        {"event_name": "a", "callback_api": f"{BASE}/elsewhere"},
        {"event_name": "a", "callback_api": "https://other.example/a"},
        {"event_name": "a", "callback_api": "/a", "property": "p", "value": "v"},
    ],
)
@pytest.mark.parametrize("when", ["before init_app", "after it"])
def test_a_conflict_of_a_handler_is_an_error_at_start_that_names_both_places(
    make: Callable[..., Flask], entry: dict[str, Any], when: str
) -> None:
    orbro = OrbroConnect()

    def the_handler(delivery: Any) -> None:
        pass

    def start() -> None:
        if when == "before init_app":
            orbro.on("a", path="/a")(the_handler)
        _app = make(orbro, webhooks=[{"event_name": "z", "callback_api": "/z"}, entry])
        if when == "after it":
            orbro.on("a", path="/a")(the_handler)

    with pytest.raises(DescriptorError) as caught:
        start()
    said = str(caught.value)
    assert "connect.json: modules.webhooks[1]" in said
    assert "the_handler (test_descriptor_code.py:" in said


@pytest.mark.parametrize("when", ["before init_app", "before init_api"])
def test_a_conflict_of_a_view_that_is_there_by_then_is_an_error_at_start(
    make: Callable[..., Flask], when: str
) -> None:
    @webhook_required(event="a")
    def the_view() -> dict[str, str]:
        return {}

    def add(app: Flask) -> None:
        app.add_url_rule("/a", view_func=the_view, methods=["POST"])

    def start() -> None:
        orbro, webhooks = OrbroConnect(), [{"event_name": "a", "callback_api": "/elsewhere"}]
        if when == "before init_app":
            make(orbro, webhooks=webhooks, prepare=add)
        app = make(orbro, webhooks=webhooks)
        add(app)
        orbro.init_api(Api(app))

    with pytest.raises(DescriptorError) as caught:
        start()
    said = str(caught.value)
    assert "connect.json: modules.webhooks[0]" in said
    assert "the_view (test_descriptor_code.py:" in said


@pytest.mark.parametrize("testing", [True, False])
def test_a_conflict_of_a_view_costs_the_descriptor_alone_and_is_logged_once(
    make: Callable[..., Flask], caplog: pytest.LogCaptureFixture, testing: bool
) -> None:
    app = make(OrbroConnect(), webhooks=[{"event_name": "a", "callback_api": "/elsewhere"}])
    app.testing = testing

    @app.post("/a")
    @webhook_required(event="a")
    def the_view() -> dict[str, str]:
        return {}

    app.add_url_rule("/anything", view_func=dict, endpoint="anything")
    client = app.test_client()
    assert [client.get("/anything").status_code for _ in range(3)] == [200] * 3
    [said] = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert "connect.json: modules.webhooks[0]" in said
    assert "the_view (test_descriptor_code.py:" in said
    assert is_problem(client.get("/connect.json"), 500)["code"] == "descriptor_conflict"
    assert "the_view" not in client.get("/connect.json").text


def test_a_view_at_a_handlers_path_is_an_error_that_names_both(make: Callable[..., Flask]) -> None:
    orbro = OrbroConnect()

    @orbro.on("a", path="/a")
    def the_handler(delivery: Any) -> None:
        pass

    app = make(orbro)
    orbro.init_api(Api(app))
    app.add_url_rule("/a", "look", dict, methods=["GET"])
    served(app)
    app = make(orbro := OrbroConnect())
    orbro.on("a", path="/a")(the_handler)
    app.add_url_rule("/a", "mine", dict, methods=["POST"])
    result = run(app)
    assert result.exit_code == 1
    assert "The view 'mine' is served at /a, where" in result.output
    assert "the_handler (test_descriptor_code.py:" in result.output


def test_without_a_base_url_callbacks_stay_paths() -> None:
    document = compose(check_descriptor({"id": "x"}), [Registration("a", "/a", None, None, "here")])
    assert document["modules"]["webhooks"] == [{"event_name": "a", "callback_api": "/a"}]


@pytest.mark.parametrize(
    "modules", [None, {}, [], {"webhooks": None}, {"webhooks": []}, {"webhooks": [{"event_name": []}]}]
)
def test_what_the_file_leaves_out_does_not_break_it(modules: Any) -> None:
    descriptor = check_descriptor({"id": "x", "modules": modules})
    compose(descriptor, [Registration("a", "/a", "p", "v", "here")])
    faults(compose(descriptor, []))


@pytest.mark.parametrize(
    ("modules", "fault"),
    [
        (7, "'modules' must be an object"),
        ([1], "'modules' must be an object"),
        ({"webhooks": {"a": 1}}, "'modules.webhooks' must be an array"),
        ({"webhooks": "a"}, "'modules.webhooks' must be an array"),
        ({"webhooks": [{}, "two"]}, r"'modules.webhooks\[1\]' must be an object, not 'two'"),
        ({"webhooks": [None]}, r"'modules.webhooks\[0\]' must be an object, not None"),
    ],
)
def test_webhooks_of_a_shape_that_nothing_can_be_added_to_are_refused(modules: Any, fault: str) -> None:
    with pytest.raises(DescriptorError, match=fault):
        check_descriptor({"id": "x", "modules": modules})


def test_a_lifecycle_that_the_file_names_is_as_it_says(make: Callable[..., Flask]) -> None:
    assert served(make(OrbroConnect(), lifecycle={"installed": "/in"}))["lifecycle"] == {"installed": "/in"}


# What ``--check`` says.


def test_a_callback_without_a_base_url_is_a_fault(make: Callable[..., Flask]) -> None:
    orbro = OrbroConnect()
    orbro.on("a", path="/a")(lambda delivery: None)
    app = make(orbro, baseUrl=None)
    assert "Fault: $: 'baseUrl' is a required property" in run(app, "--check").output


def test_every_fault_is_named_with_its_path(make: Callable[..., Flask]) -> None:
    webhooks = [{"event_name": "", "callback_api": "nowhere"}, {"callback_api": "/a", "property": "p"}]
    app = make(OrbroConnect(), webhooks=webhooks, name=7, scopes=["a", "a"], lifecycle={"installed": "/in"})
    result = run(app, "--check")
    assert result.exit_code == 1
    for path in (
        "$.name:",
        "$.scopes:",
        "$.lifecycle:",
        "$.modules.webhooks[0].event_name:",
        "$.modules.webhooks[0].callback_api:",
        "$.modules.webhooks[1]: 'event_name' is a required property",
        "$.modules.webhooks[1]: 'value' is a dependency of 'property'",
    ):
        assert f"Fault: {path}" in result.output
    assert "The descriptor has 7 faults." in result.output


@pytest.mark.parametrize(
    ("arguments", "faults"), [(["--check"], ["$.id", "$.modules.webhooks[0]", "$.name"]), ([], [])]
)
def test_every_fault_is_named_where_the_app_does_not_start(
    make: Callable[..., Flask], arguments: list[str], faults: list[str]
) -> None:
    def create_app() -> Flask:
        return make(OrbroConnect(), id="", name=7, webhooks=[{"callback_api": "/a"}])

    result = CliRunner().invoke(commands, ["descriptor", *arguments], obj=ScriptInfo(create_app=create_app))
    *found, said = result.output.splitlines()
    assert [line.removeprefix("Fault: ").partition(": ")[0] for line in found] == faults
    assert said.startswith("Error: The app descriptor ")
    assert "connect.json is not valid: 'id' is required" in said
    assert result.exit_code == 1


def test_drift_against_the_file_is_shown(make: Callable[..., Flask]) -> None:
    orbro = OrbroConnect()

    @orbro.on("a", path="/a")
    def the_handler(delivery: Any) -> None:
        pass

    result = run(make(orbro, webhooks=[{"event_name": "z", "callback_api": "/gone"}]), "--check")
    assert result.exit_code == 0
    assert "lacks the webhook a at /a of" in result.output
    assert "the_handler (test_descriptor_code.py:" in result.output
    assert "connect.json: modules.webhooks[0] names /gone, which no route answers." in result.output
    assert "The descriptor is valid." in result.output


def test_a_file_that_says_it_all_has_no_drift(make: Callable[..., Flask]) -> None:
    orbro = OrbroConnect()
    orbro.on("a", path="/a")(lambda delivery: None)
    assert run(make(orbro, webhooks=[A]), "--check").output == "The descriptor is valid.\n"


def test_a_conflict_is_one_sentence(make: Callable[..., Flask]) -> None:
    app = make(OrbroConnect(), webhooks=[A])

    @app.post("/b")
    @webhook_required(event="a")
    def view() -> dict[str, str]:
        return {}

    result = run(app)
    assert result.exit_code == 1
    assert "conflicts with" in result.output


def test_the_schema_is_a_schema_and_takes_what_is_usual() -> None:
    from jsonschema import Draft202012Validator

    Draft202012Validator.check_schema(json.loads(SCHEMA.read_text()))
    assert faults(DESCRIPTOR) == []
    assert faults([]) == ["$: [] is not of type 'object'"]


# The base URL, which differs from one deployment to the other.


def test_a_base_url_in_the_settings_moves_everything_of_the_file_and_the_code(
    make: Callable[..., Flask], settings: dict[str, Any]
) -> None:
    settings["ORBRO_BASE_URL"] = "https://public.example"
    orbro = OrbroConnect()
    orbro.on("a", path="/a")(lambda delivery: None)
    elsewhere = {"event_name": "y", "callback_api": "https://other.example/y"}
    in_file = [A, {"event_name": "z", "callback_api": "/z"}, elsewhere]
    app = make(orbro, webhooks=in_file)
    document = served(app)
    assert document["baseUrl"] == "https://public.example"
    assert document["modules"]["webhooks"] == [
        {"event_name": "a", "callback_api": "https://public.example/a"},
        {"event_name": "z", "callback_api": "https://public.example/z"},
        elsewhere,
    ]


@pytest.mark.parametrize(
    ("base", "fault"),
    [
        ("http://127.0.0.1:5000", "is this machine alone"),
        ("https://localhost", "is this machine alone"),
        ("http://app.example", "is not https"),
        (BASE, None),
    ],
)
@pytest.mark.parametrize("env", ["dev", "stg", "prod"])
def test_a_base_url_that_the_platform_cannot_use_is_told_of_outside_dev(
    make: Callable[..., Flask],
    settings: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
    env: str,
    base: str,
    fault: str | None,
) -> None:
    settings["ORBRO_ENV"] = env
    checked = run(make(OrbroConnect(), baseUrl=base), "--check")
    is_told = fault is not None and env != "dev"
    assert checked.exit_code == int(is_told)
    for said in (checked.output, caplog.text):
        assert (f"$.baseUrl: {base} {fault}" in said) is is_told
