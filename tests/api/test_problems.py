"""Errors: one shape below the API and the lifecycle paths, and the app's own everywhere else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Blueprint, Flask, abort, redirect
from flask_restx import Api, Namespace, Resource, fields
from flask_restx import abort as restx_abort
from marshmallow import ValidationError
from werkzeug.exceptions import HTTPException, NotFound, Unauthorized
from werkzeug.wrappers import Response

from flask_orbro import NotAllowed, OrbroConnect, problem_response

from ..world import is_problem

both_modes = pytest.mark.parametrize("testing", [True, False], ids=["testing", "production"])
PREFIXES = ("", "/api/v2")


class AppError(Exception):
    """An error of the app's own, which the app has a handler for."""


class Broken(Exception):
    """An error that nobody has a handler for. flask-restx would answer its ``data``."""

    data = {"password": "hunter2"}


def _api(make_app: Callable[..., Flask], prefix: str, **config: Any) -> Flask:
    """An app with a flask-restx API at its root, or below a blueprint's prefix."""
    orbro = OrbroConnect()
    app = make_app(orbro, **config)
    if prefix:
        blueprint = Blueprint("api", __name__, url_prefix=prefix)
        api = Api(blueprint, doc=False)
    else:
        api = Api(app, doc=False)
    namespace = Namespace("things", path="/things")
    model = namespace.model("Thing", {"name": fields.String(required=True)})

    @namespace.route("/<what>")
    class Thing(Resource):
        def get(self, what: str) -> Any:
            return _fail(what)

        @namespace.expect(model, validate=True)
        def post(self, what: str) -> Any:
            return {}

    @namespace.route("/number/<int(max=5):number>")
    class Number(Resource):
        def get(self, number: int) -> Any:
            return number

    @app.get(f"{prefix}/numbers/<int(max=5):number>")
    @app.get("/page/number/<int(max=5):number>")
    def view(number: int) -> Any:
        return str(number)

    @app.get(f"{prefix}/numbers/async/<int(max=5):number>")
    async def async_view(number: int) -> Any:
        return str(number)

    api.add_namespace(namespace)
    orbro.init_api(api, app)
    if prefix:
        app.register_blueprint(blueprint)

    @app.get("/page/<what>")
    def page(what: str) -> Any:
        return _fail(what)

    @app.errorhandler(AppError)
    def handle(error: AppError) -> tuple[dict[str, str], int]:
        return {"handled": str(error)}, 418

    return app


def _fail(what: str) -> Any:
    if what == "restx":
        restx_abort(409, "Taken already.", errors={"name": "taken"})
    if what == "abort":
        abort(409, "Taken already.")
    if what == "own":
        raise AppError("mine")
    if what == "ours":
        raise NotAllowed("Not yours.")
    if what == "broken":
        raise Broken("hunter2")
    if what == "invalid":
        raise ValidationError("bad", data={"password": "hunter2"})
    if what == "challenge":
        raise Unauthorized("Who are you?", www_authenticate=[])
    if what == "response":
        abort(Response("my own words", 400, content_type="text/plain"))
    if what == "redirect":
        abort(redirect("/elsewhere"))
    return {"what": what}


@both_modes
@pytest.mark.parametrize("prefix", PREFIXES)
def test_flasks_own_refusals_below_the_api_are_problems(
    make_app: Callable[..., Flask], prefix: str, testing: bool
) -> None:
    client = _api(make_app, prefix, TESTING=testing).test_client()
    assert is_problem(client.get(f"{prefix}/nowhere"), 404)["code"] == "not_found"
    assert is_problem(client.get(f"{prefix}/things/a/b"), 404)
    refused = client.delete(f"{prefix}/things/x")
    assert is_problem(refused, 405)["code"] == "method_not_allowed"
    assert {"GET", "POST"} <= set(refused.headers["Allow"].split(", "))


@both_modes
@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("method", ["PATCH", "POST", "TRACE", "ODD"])
def test_a_method_that_a_route_lacks_on_a_value_that_it_refuses_is_405(
    make_app: Callable[..., Flask], prefix: str, testing: bool, method: str
) -> None:
    client = _api(make_app, prefix, TESTING=testing).test_client()
    for path in ("things/number/9", "numbers/9", "numbers/async/9"):
        answer = client.open(f"{prefix}/{path}", method=method)
        is_problem(answer, 405)
        assert "GET" in answer.headers["Allow"]
        is_problem(client.get(f"{prefix}/{path}"), 404)
    elsewhere = client.open("/page/number/9", method=method)
    assert (elsewhere.status_code, elsewhere.mimetype == "text/html") == (405, bool(prefix))


@both_modes
@pytest.mark.parametrize("prefix", PREFIXES)
def test_abort_and_validation_below_the_api_are_problems(
    make_app: Callable[..., Flask], prefix: str, testing: bool
) -> None:
    client = _api(make_app, prefix, TESTING=testing).test_client()
    document = is_problem(client.get(f"{prefix}/things/restx"), 409)
    assert (document["detail"], document["errors"]) == ("Taken already.", {"name": "taken"})
    assert is_problem(client.get(f"{prefix}/things/abort"), 409)["detail"] == "Taken already."
    assert is_problem(client.get(f"{prefix}/things/ours"), 403)["code"] == "not_allowed"
    assert "name" in is_problem(client.post(f"{prefix}/things/x", json={}), 400)["errors"]
    is_problem(client.post(f"{prefix}/things/x", data="{", content_type="application/json"), 400)
    is_problem(client.post(f"{prefix}/things/x", data="name=1"), 415)


@both_modes
def test_an_answer_that_somebody_made_is_left_alone(make_app: Callable[..., Flask], testing: bool) -> None:
    client = _api(make_app, "", TESTING=testing).test_client()
    own = client.get("/things/response")
    assert (own.status_code, own.content_type, own.text) == (400, "text/plain", "my own words")
    assert client.get("/things/redirect").headers["Location"] == "/elsewhere"


@both_modes
@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_handler_of_the_app_is_obeyed_inside_resources(
    make_app: Callable[..., Flask], prefix: str, testing: bool
) -> None:
    client = _api(make_app, prefix, TESTING=testing).test_client()
    for path in (f"{prefix}/things/own", "/page/own"):
        answer = client.get(path)
        assert (answer.status_code, answer.json) == (418, {"handled": "mine"})


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("what", ["broken", "invalid"])
def test_an_unexpected_error_of_a_resource_is_a_problem_without_details(
    make_app: Callable[..., Flask], prefix: str, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = _api(make_app, prefix, TESTING=False).test_client()
    answer = client.get(f"{prefix}/things/{what}")
    assert is_problem(answer, 500)["code"] == "internal_server_error"
    assert b"hunter2" not in answer.data
    assert any(record.exc_info for record in caplog.records), "it is in the log"


def test_an_unexpected_error_with_data_that_is_no_json_is_a_problem_too(
    make_app: Callable[..., Flask],
) -> None:
    app = _api(make_app, "", TESTING=False)

    class Odd(Exception):
        data = object()

    def raising() -> None:
        raise Odd

    app.before_request_funcs.setdefault(None, []).append(raising)
    is_problem(app.test_client().get("/things/x"), 500)


@both_modes
@pytest.mark.parametrize("path", ["/installed", "/uninstalled", "/enabled", "/disabled", "/connect.json"])
def test_refusals_of_our_own_paths_are_problems_without_any_api(
    make_app: Callable[..., Flask], path: str, testing: bool
) -> None:
    client = make_app(TESTING=testing).test_client()
    answer = client.delete(path)
    assert is_problem(answer, 405)["code"] == "method_not_allowed"
    assert answer.headers["Allow"]


@both_modes
def test_pages_of_the_app_are_left_alone(make_app: Callable[..., Flask], testing: bool) -> None:
    client = _api(make_app, "/api/v2", TESTING=testing).test_client()
    for path, status in (("/nowhere", 404), ("/installed/x", 404), ("/page/abort", 409), ("/api/v20/x", 404)):
        answer = client.get(path)
        assert (answer.status_code, answer.mimetype) == (status, "text/html")


@both_modes
def test_a_handler_of_the_app_comes_before_ours_on_its_pages(
    make_app: Callable[..., Flask], testing: bool
) -> None:
    app = _api(make_app, "/api/v2", TESTING=testing)
    app.register_error_handler(404, lambda error: ("my page", 404))
    assert app.test_client().get("/nowhere").text == "my page"


@both_modes
def test_a_handler_of_the_app_for_everything_is_kept(make_app: Callable[..., Flask], testing: bool) -> None:
    app = _api(make_app, "/api/v2", TESTING=testing)
    app.register_error_handler(HTTPException, lambda error: (f"mine: {error.code}", error.code))
    assert app.test_client().get("/nowhere").text == "mine: 404"


def test_an_api_whose_prefix_has_variables_breaks_nothing(make_app: Callable[..., Flask]) -> None:
    orbro = OrbroConnect()
    app = make_app(orbro, TESTING=False)
    blueprint = Blueprint("tenant", __name__, url_prefix="/<tenant>/api")
    api = Api(blueprint, doc=False)
    app.register_blueprint(blueprint)
    orbro.init_api(api, app)
    client = app.test_client()
    assert client.get("/nowhere").status_code == 404
    is_problem(client.post("/installed", json={}), 400)
    assert client.get("/a/api/nowhere").status_code == 404


@both_modes
@pytest.mark.parametrize("prefix", PREFIXES)
def test_an_app_below_a_prefix_of_its_server_answers_alike(
    make_app: Callable[..., Flask], prefix: str, testing: bool
) -> None:
    client = _api(make_app, prefix, TESTING=testing).test_client()
    options = {"base_url": "http://localhost/mounted"}
    is_problem(client.get(f"{prefix}/nowhere", **options), 404)
    is_problem(client.get("/installed", **options), 405)


def test_a_whole_app_can_take_the_shape(make_app: Callable[..., Flask]) -> None:
    app = make_app()
    app.register_error_handler(HTTPException, problem_response)
    assert is_problem(app.test_client().get("/nowhere"), 404)["title"] == "Not Found"


def test_a_problem_of_an_exception_keeps_its_headers(make_app: Callable[..., Flask]) -> None:
    error = NotFound("Gone fishing.")
    with make_app().test_request_context():
        response = problem_response(error)
    assert is_problem(response, 404)["detail"] == "Gone fishing."
    assert int(response.headers["Content-Length"]) == len(response.data)
