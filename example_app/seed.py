"""Accounts and posts to look at: ``python manage.py seed``."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

from .extensions import db
from .posts import Post
from .posts.listing import forget_pages
from .users import User
from .users.passwords import hash_password

_POSTS = {
    "ada": [
        ("Notes by the translator", "The engine weaves algebraical patterns, as the loom weaves flowers."),
        ("On anchors", "Three anchors see a tag, the fourth tells how high it hangs."),
    ],
    "grace": [("A bug", "Found in relay 70 of panel F, and kept in the log book.")],
}


def seed() -> Iterator[tuple[str, str]]:
    """Add what is not there yet; to be called in an app context.

    :returns: the ``user_id`` and the password of each new account. Nobody else knows the password.
    """
    for user_id, posts in _POSTS.items():
        if db.session.get(User, user_id) is not None:
            continue
        password = secrets.token_urlsafe(12)
        user = User(
            user_id=user_id, user_email=f"{user_id}@example.com", password_hash=hash_password(password)
        )
        db.session.add(user)
        db.session.flush()
        db.session.add_all(Post(author_id=user_id, title=title, body=body) for title, body in posts)
        db.session.commit()
        yield user_id, password
    forget_pages()
