"""Which tokens of a caller may be shown to another back end."""

from __future__ import annotations

from ..errors import NotAuthenticated
from ..protocol import bearer_token, is_platform_token, peek_claims


def forwardable(token: str) -> str:
    """The token, where it is one that may be forwarded.

    :raises NotAuthenticated: where it is none, or one of the platform's, which no other back end may see.
    """
    if bearer_token(f"Bearer {token}") is None:
        raise NotAuthenticated("This is not a bearer token.", reason="token_malformed")
    if is_platform_token(token):
        raise NotAuthenticated(
            "A token of the platform is not forwarded to another back end.", reason="token_of_another_kind"
        )
    return token


def issuer_of(token: str) -> str | None:
    """What a token says of its issuer, which nobody has verified; ``None`` for an opaque one."""
    issuer = peek_claims(token).get("iss")
    return issuer if isinstance(issuer, str) and issuer else None
