"""A page with ready-made tokens, for a developer to paste into Swagger UI."""

from __future__ import annotations

from flask import render_template_string

from .backends import entra_token
from .errors import SimulatorError
from .platform import Platform

_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>Tokens of the imitated platform</title>
<style>
  body { font: 16px/1.5 sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
  code { display: block; padding: .5rem; background: #eee; word-break: break-all; user-select: all }
  strong { display: block; padding: .5rem; background: #fd6 }
</style>
<strong>For development only: an imitation of the platform made these. No real platform takes them.</strong>
<h1>Tokens of {{ organization }}</h1>
<p>A click selects one; paste it under <i>Authorize</i>, as it is.</p>
<p>With the first two, a request names the organization as well: <b>sub</b> is {{ organization }}, or
<b>origin</b> is {{ origin }}.</p>
{% for kind, token, problem in tokens %}
<h2>{{ kind }}</h2>
{% if token %}<code id="{{ kind }}">Bearer {{ token }}</code>{% else %}<p>{{ problem }}.</p>{% endif %}
{% endfor %}
</html>
"""


def tokens_page(platform: Platform, organization: str, origin: str, app_url: str | None) -> str:
    """
    :param origin: where the organization lives.
    :param app_url: whose secret signs the webhook token; ``None``: the organization's only app.
    :returns: HTML. The headings are the names of the security definitions in the app's Swagger document.
    """
    tokens = [
        ("orbroUser", platform.user_token(organization), ""),
        ("orbroConnectApp", platform.connect_token(organization), ""),
        ("orbroOpenApi", platform.open_api_token(), ""),
        ("orbroWebhook", *_webhook_token(platform, organization, app_url)),
        # Not of the platform: for the stand-in of an Entra sidecar.
        ("entra", entra_token(platform, organization), ""),
    ]
    return render_template_string(_PAGE, organization=organization, origin=origin, tokens=tokens)


def _webhook_token(platform: Platform, organization: str, app_url: str | None) -> tuple[str, str]:
    try:
        return platform.webhook_token(organization, app_url), ""
    except SimulatorError as error:
        # The others are of use before the app is installed.
        return "", str(error)
