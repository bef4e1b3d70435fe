"""The pages of the post list, remembered until any post changes.

With Redis a change is seen by every process at once. With the memory of each process the others see it
when ``CACHE_DEFAULT_TIMEOUT`` is over.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from flask import current_app
from sqlalchemy import func, select

from ..extensions import cache, db
from .model import Post
from .schemas import PostSchema

#: Its value is part of every page's key, so that a new one makes all pages unknown. cache.memoize() does the
#: same, but writes the value back after each read, which undoes a change that came in between.
_EDITION = "posts:edition"


def posts_page(page: int, per_page: int) -> dict[str, Any]:
    """``items``, the newest first, and ``total``."""
    try:
        # The edition comes first: what is read then and changed meanwhile is kept under an older edition.
        key = f"posts:{_edition()}:{page}:{per_page}"
        found: dict[str, Any] | None = cache.get(key)
    except Exception as error:  # each kind of cache has its own
        _tell(error)
        return _read(page, per_page)
    if found is None:
        found = _read(page, per_page)
        _remember(key, found)
    return found


def forget_pages() -> None:
    """To be called after the change is committed."""
    _remember(_EDITION, uuid4().hex, timeout=0)


def _edition() -> str:
    edition: str | None = cache.get(_EDITION)
    if edition is None:
        edition = uuid4().hex
        cache.set(_EDITION, edition, timeout=0)
    return edition


def _read(page: int, per_page: int) -> dict[str, Any]:
    newest = select(Post).order_by(Post.id.desc()).limit(per_page).offset((page - 1) * per_page)
    items = PostSchema(many=True).dump(db.session.scalars(newest))
    return {"items": items, "total": db.session.scalar(select(func.count(Post.id)))}


def _remember(key: str, value: Any, **options: Any) -> None:
    try:
        cache.set(key, value, **options)
    except Exception as error:
        _tell(error)


def _tell(error: Exception) -> None:
    current_app.logger.warning("The cache does not answer: %s.", type(error).__name__)
