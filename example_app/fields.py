"""Fields that several schemas share."""

from __future__ import annotations

from typing import Any

from marshmallow import fields, validate


class Text(fields.String):
    """Text that every database can store: without NUL and without halves of surrogate pairs."""

    default_error_messages = {"unstorable": "Holds characters that cannot be stored."}

    def _deserialize(self, *args: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(*args, **kwargs)
        if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
            raise self.make_error("unstorable")
        return text


class UserId(fields.String):
    """The name of an account, in lower case: ``Ada`` is ``ada``, and nobody else looks like her."""

    def __init__(self, **kwargs: Any) -> None:
        # Swagger shows it to JavaScript, which knows no \Z; in Python, "$" would let a line end through.
        pattern = validate.Regexp(
            r"^[A-Za-z0-9][A-Za-z0-9._-]{2,31}$(?!\n)",
            error="Must be 3 to 32 letters, digits, dots, hyphens or underscores of ASCII.",
        )
        super().__init__(
            validate=pattern, metadata={"description": "The account's name.", "example": "ada"}, **kwargs
        )

    def _deserialize(self, *args: Any, **kwargs: Any) -> Any:
        name = super()._deserialize(*args, **kwargs)
        return name.lower() if name.isascii() else name
