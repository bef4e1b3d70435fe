"""What is said about an account, and how one is registered."""

from __future__ import annotations

from typing import Any

from email_validator import EmailNotValidError, validate_email
from marshmallow import Schema, ValidationError, fields, validate

from ..fields import Text, UserId


class EmailAddress(fields.String):
    """Checked for its syntax alone: nobody is asked whether it exists."""

    #: Characters, as RFC 5321 allows.
    LONGEST = 254

    def _deserialize(self, *args: Any, **kwargs: Any) -> Any:
        address = super()._deserialize(*args, **kwargs)
        try:
            # Measured first: the library takes long over a long one.
            validate.Length(max=self.LONGEST)(address)
            return validate_email(address, check_deliverability=False).normalized
        except (ValidationError, EmailNotValidError):
            raise ValidationError("Not a valid e-mail address.") from None


class UserSchema(Schema):
    user_id = UserId(required=True)
    user_email = EmailAddress(
        required=True,
        validate=validate.Length(max=EmailAddress.LONGEST),
        metadata={"format": "email", "example": "ada@example.com"},
    )


class RegistrationSchema(UserSchema):
    user_password = Text(
        required=True,
        load_only=True,
        validate=validate.Length(8, 256),
        metadata={
            "description": "8 to 256 characters.",
            "format": "password",
            "example": "analytical engine",
        },
    )
