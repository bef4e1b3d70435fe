"""Reading, writing and changing posts."""

from __future__ import annotations

from typing import Any

from flask import url_for
from flask_jwt_extended import current_user, jwt_required
from flask_restx import Namespace, Resource

from flask_orbro import NotAllowed, answers_problems, load_body, schema_model, schema_params

from ..errors import NotFound
from ..extensions import db
from ..pages import PageQuerySchema, page_document, page_query
from .listing import forget_pages, posts_page
from .model import Post
from .schemas import PostPageSchema, PostSchema

posts = Namespace("posts", "What people write", path="/")

_post = schema_model(posts, "Post", PostSchema)
_page = schema_model(posts, "PostPage", PostPageSchema)
_NOT_YOURS = "The `author_id` is not yours"
#: No database has a larger id; without it SQLite and PostgreSQL would fail on one.
_ONE = "/post/<int(max=2147483647):id>"


@posts.route("/posts")
class Posts(Resource):
    @posts.doc(security=[], params=schema_params(PageQuerySchema))
    @posts.response(200, "A page of posts, the newest first", _page)
    @answers_problems(400, 503)
    def get(self) -> Any:
        """Read posts"""
        page, per_page = page_query()
        return PostPageSchema().dump(page_document(posts_page(page, per_page), page, per_page))

    @posts.doc(security="bearer")
    @posts.expect(_post)
    @posts.response(201, "The post", _post)
    @answers_problems(400, 401, 413, 415, 503, words={403: _NOT_YOURS})
    @jwt_required()
    def post(self) -> Any:
        """Write a post"""
        post = Post(**_body())
        db.session.add(post)
        db.session.commit()
        forget_pages()
        return PostSchema().dump(post), 201, {"Location": url_for("posts_one_post", id=post.id)}


@posts.route(_ONE)
@posts.doc(params={"id": "The post's `id`"})
class OnePost(Resource):
    @posts.doc(security=[])
    @posts.response(200, "The post", _post)
    @answers_problems(404, 503)
    def get(self, id: int) -> Any:
        """Read a post"""
        return PostSchema().dump(_find(id))

    @posts.doc(security="bearer")
    @posts.expect(_post)
    @posts.response(200, "The post", _post)
    @answers_problems(
        400, 401, 404, 413, 415, 503, words={403: _NOT_YOURS, 409: "It was deleted at the same time"}
    )
    @jwt_required()
    def put(self, id: int) -> Any:
        """Change a post of yours"""
        post = _find_own(id)
        for name, value in _body().items():
            setattr(post, name, value)
        db.session.commit()
        forget_pages()
        return PostSchema().dump(post)

    @posts.doc(security="bearer")
    @posts.response(204, "It is deleted")
    @answers_problems(401, 404, 503, words={403: _NOT_YOURS})
    @jwt_required()
    def delete(self, id: int) -> Any:
        """Delete a post of yours"""
        db.session.delete(_find_own(id))
        db.session.commit()
        forget_pages()
        return "", 204


def _find(id: int) -> Post:
    post = db.session.get(Post, id)
    if post is None:
        raise NotFound("There is no such post.", reason="post_not_found")
    return post


def _find_own(id: int) -> Post:
    post = _find(id)
    _check_author(post.author_id)
    return post


def _body() -> dict[str, Any]:
    body = load_body(PostSchema())
    _check_author(body["author_id"])
    return body


def _check_author(author_id: str) -> None:
    if author_id != current_user.user_id:
        raise NotAllowed("The author_id must be your own user_id.", reason="author_is_another")
