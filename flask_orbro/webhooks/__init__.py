"""Webhooks: deliveries of the platform, verified, kept in an inbox, and handled."""

from .delivery import Delivery as Delivery
from .doorbells import Doorbell as Doorbell
from .doorbells import InlineDoorbell as InlineDoorbell
from .doorbells import ThreadDoorbell as ThreadDoorbell
from .handlers import Handler as Handler
from .handlers import Handlers as Handlers
from .handlers import check_registered as check_registered
from .handlers import event_named as event_named
from .handlers import place_of as place_of
from .inbox import Inbox as Inbox
from .inbox import Sent as Sent
from .time_limit import TimeLimitExceeded as TimeLimitExceeded
from .verify import WebhookVerifier as WebhookVerifier
from .worker import LeaseLost as LeaseLost
from .worker import NotCommitted as NotCommitted
from .worker import Perform as Perform
from .worker import Settle as Settle
from .worker import Worker as Worker
