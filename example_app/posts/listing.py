"""The pages of the post list, remembered until any post changes.

With Redis a change is seen by every process at once; one that is made while Redis does not answer, as soon
as this process reaches it again, and at the latest when ``CACHE_DEFAULT_TIMEOUT`` is over. With the memory
of each process the others see a change when that time is over.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from flask import Flask, current_app
from sqlalchemy import func, select

from ..extensions import cache, db
from ..outage import Outage
from .model import Post
from .schemas import PostSchema

_EXTENSION = "example_post_listing"
#: Its value is part of every page's key, so that a new one makes all pages unknown. cache.memoize() does the
#: same, but writes the value back after each read, which undoes a change that came in between.
_EDITION = "posts:edition"


def init_listing(app: Flask) -> None:
    app.extensions[_EXTENSION] = Listing()


def posts_page(page: int, per_page: int) -> dict[str, Any]:
    """``items``, the newest first, and ``total``."""
    return _listing().page(page, per_page)


def forget_pages() -> None:
    """To be called after the change is committed."""
    _listing().forget()


class Listing:
    """What one process knows of the cache."""

    def __init__(self) -> None:
        self._outage = Outage("The cache")
        #: The newest change of this process, and the newest that the cache was told of.
        self._changed = self._told = object()

    def page(self, page: int, per_page: int) -> dict[str, Any]:
        # The edition comes first: what is read then and changed meanwhile is kept under an older edition.
        edition = self._outage.ask(self._edition, _nothing)
        if edition is None:
            return _read(page, per_page)
        key = f"posts:{edition}:{page}:{per_page}"
        found: dict[str, Any] | None = self._outage.ask(lambda: cache.get(key), _nothing)
        if found is None:
            found = _read(page, per_page)
            self._outage.ask(lambda: cache.set(key, found), _nothing)
        return found

    def forget(self) -> None:
        self._changed = object()
        self._outage.ask(self._edition, _nothing)

    def _edition(self) -> str | None:
        changed = self._changed
        edition: str | None = cache.get(_EDITION) if changed is self._told else None
        if edition is None:
            # Never one that was in use before: whoever writes it last, no older page comes back.
            edition = uuid4().hex
            cache.set(_EDITION, edition, timeout=0)
            self._told = changed
        return edition


def _listing() -> Listing:
    listing: Listing = current_app.extensions[_EXTENSION]
    return listing


def _read(page: int, per_page: int) -> dict[str, Any]:
    newest = select(Post).order_by(Post.id.desc()).limit(per_page).offset((page - 1) * per_page)
    items = PostSchema(many=True).dump(db.session.scalars(newest))
    return {"items": items, "total": db.session.scalar(select(func.count(Post.id)))}


def _nothing() -> None:
    """What a cache that does not answer has."""
