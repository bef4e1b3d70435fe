"""Views that handle their deliveries themselves, and each of them once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from flask import Response, after_this_request, g, jsonify, request

from ..context import Caller, set_caller
from ..identity import Presented
from ..logs import get_logger
from ..state import get_state
from ..stores.delivery_record import DeliveryRecord, DeliveryState
from ..webhooks import Inbox, Sent

logger = get_logger(__name__)

#: Under which name ``flask.g`` has the deliveries that the request's views are at.
_UNDER_WAY = "_orbro_under_way"


def handle_once(caller: Caller, view: Callable[[], Any]) -> Any:
    """Run a view, unless an equal delivery was handled before: that is answered 202.

    Where the view fails, or answers 4xx or 5xx, the delivery may come again.

    :param caller: whose delivery it is.
    """
    inbox, delivery = get_state().inbox, caller.delivery
    if delivery is None:  # another credential of any_of()
        return view()
    record, lease = inbox.begin(delivery, sent())
    if record.state is DeliveryState.DUPLICATE:
        return acknowledgement(record)
    set_caller(replace(caller, delivery=replace(delivery, id=record.id)))
    handling = _Handling(inbox, record, lease)
    g.setdefault(_UNDER_WAY, []).append(handling)
    after_this_request(handling.answered)
    try:
        return view()
    except Exception as error:
        # What is answered decides: the app may have a handler for this error.
        handling.error = f"{type(error).__name__}: {error}"
        raise


def finish_unanswered(error: BaseException | None) -> None:
    """Note as failed what was begun in a request that ends without an answer: an error went through."""
    for handling in g.pop(_UNDER_WAY, ()):
        handling.finish(handling.error or f"{type(error).__name__}: {error}")


class _Handling:
    """A delivery that a view is about to handle; it is noted once what came of it."""

    def __init__(self, inbox: Inbox, record: DeliveryRecord, lease: str) -> None:
        self.error: str | None = None
        self._inbox, self._record, self._lease = inbox, record, lease
        self._is_finished = False

    def answered(self, response: Response) -> Response:
        failed = response.status_code >= 400
        self.finish((self.error or f"It was answered {response.status}.") if failed else None)
        return response

    def finish(self, error: str | None) -> None:
        if self._is_finished:
            return
        self._is_finished = True
        try:
            self._inbox.finish(self._record, self._lease, error=error)
        except Exception:
            # The view's answer stands; the delivery counts as lost after a while.
            logger.exception("Delivery %s could not be noted as finished.", self._record.id)


def sent() -> Sent:
    """This request, whose token has been verified."""
    return Sent(
        path=str(request.url_rule)[:255],
        target=request.path,
        body=request.get_data(),
        token=Presented(request.headers.get("Authorization")).token,
        headers=request.headers.items(),
    )


def acknowledgement(record: DeliveryRecord) -> Response:
    """202: it is in the inbox."""
    response = jsonify(id=record.id, state=record.state.value)
    response.status_code = 202
    return response
