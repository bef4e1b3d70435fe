"""Views that handle their deliveries themselves, and each of them once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from flask import Response, after_this_request, jsonify, request

from ..context import Caller, set_caller
from ..identity import Presented
from ..logs import get_logger
from ..state import get_state
from ..stores.delivery_record import DeliveryRecord, DeliveryState
from ..webhooks import Inbox

logger = get_logger(__name__)


def handle_once(caller: Caller, view: Callable[[], Any]) -> Any:
    """Run a view, unless an equal delivery was handled before: that is answered 202.

    Where the view fails, or answers 4xx or 5xx, the delivery may come again.

    :param caller: whose delivery it is.
    """
    inbox, delivery = get_state().inbox, caller.delivery
    if delivery is None:  # another credential of any_of()
        return view()
    record, lease = inbox.begin(delivery, **sent())
    if record.state is DeliveryState.DUPLICATE:
        return acknowledgement(record)
    set_caller(replace(caller, delivery=replace(delivery, id=record.id)))
    try:
        answer = view()
    except Exception as error:
        _finish(inbox, record, lease, f"{type(error).__name__}: {error}")
        raise

    @after_this_request
    def finish(response: Response) -> Response:
        failed = f"It was answered {response.status}." if response.status_code >= 400 else None
        _finish(inbox, record, lease, failed)
        return response

    return answer


def sent() -> dict[str, Any]:
    """What the inbox keeps of this request, whose token has been verified."""
    return {
        "path": str(request.url_rule)[:255],
        "body": request.get_data(),
        "token": Presented(request.headers.get("Authorization")).token,
        "headers": request.headers.items(),
    }


def acknowledgement(record: DeliveryRecord) -> Response:
    """202: it is in the inbox."""
    response = jsonify(id=record.id, state=record.state.value)
    response.status_code = 202
    return response


def _finish(inbox: Inbox, record: DeliveryRecord, lease: str, error: str | None) -> None:
    try:
        inbox.finish(record, lease, error=error)
    except Exception:
        # The view's answer stands; the delivery counts as lost after a while.
        logger.exception("Delivery %s could not be noted as finished.", record.id)
