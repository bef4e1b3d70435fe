"""Celery as the doorbell: a message carries nothing but the id of a delivery."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..config import Config
from ..errors import ConfigurationError
from ..logs import get_logger
from .doorbells import QUEUED, ThreadDoorbell

if TYPE_CHECKING:
    from celery import Celery

logger = get_logger(__name__)

#: How often Celery beat has the inbox swept, in seconds.
SWEEP_EVERY = 60.0
#: A broker that does not answer is given up soon: the deliveries are in the database.
_SOON = {"max_retries": 1, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.2}
_REDIS = {
    # What is fetched is bounded by what the worker is at, and not by what it has not acknowledged: an
    # acknowledgement that fails would count against it until the worker is started anew.
    "worker_disable_prefetch": True,
    "worker_prefetch_multiplier": 0,
    "broker_transport_options": _SOON
    | {"socket_timeout": 5.0, "socket_connect_timeout": 3.0, "health_check_interval": 5},
}
_AMQP = {
    "worker_prefetch_multiplier": 1,
    # A connection that has gone silent is noticed by the worker, and by who publishes.
    "broker_heartbeat": 10,
    "broker_transport_options": _SOON | {"read_timeout": 5, "write_timeout": 5, "confirm_publish": True},
}


def make_celery(config: Config, name: str) -> Celery:
    """A Celery app with a queue of its own.

    :raises ConfigurationError: Celery or its broker's URL is missing.
    """
    try:
        from celery import Celery
    except ImportError:
        raise ConfigurationError(
            "ORBRO_WORKER is 'celery', but Celery is not installed. "
            "Install it with: pip install 'flask-orbro[celery]'"
        ) from None
    if config.celery_broker_url is None:
        raise ConfigurationError(
            "ORBRO_WORKER is 'celery': set ORBRO_CELERY_BROKER_URL, or give OrbroConnect a 'celery_app'."
        )
    celery = Celery(name, broker=config.celery_broker_url, set_as_current=False)
    celery.conf.update(
        task_default_queue=f"orbro.{config.client_id}",
        task_ignore_result=True,
        broker_connection_retry_on_startup=True,
        broker_connection_timeout=3.0,
        **(_AMQP if "amqp" in config.celery_broker_url.partition(":")[0] else _REDIS),
    )
    return celery


class CeleryDoorbell(ThreadDoorbell):
    """Publishes the ids of deliveries from a thread of its own, so that nobody waits for the broker.

    :param celery: the Celery app, where the tasks are named.
    :param handle: handles a delivery, in a worker.
    :param sweep: looks after everything, in a worker.
    """

    def __init__(
        self, celery: Any, config: Config, *, handle: Callable[[int], object], sweep: Callable[[], object]
    ) -> None:
        super().__init__(self._publish, threads=1, drain=config.worker_drain)
        self._celery = celery

        def handle_delivery(delivery_id: int) -> None:
            handle(delivery_id)

        def sweep_deliveries() -> None:
            sweep()

        self._task, sweeping = (
            _name_task(celery, f"orbro.{config.client_id}.{function.__name__}", function)
            for function in (handle_delivery, sweep_deliveries)
        )
        celery.add_periodic_task(SWEEP_EVERY, sweeping.signature(), name=sweeping.name, expires=SWEEP_EVERY)

    @property
    def room_for_sweep(self) -> int:
        """What waits at the broker is not called again, or a long queue would grow from its own length."""
        if (room := self.room) <= 0:
            return 0
        try:
            return min(room, QUEUED - self._waiting())
        except Exception as error:
            logger.warning("The broker does not tell how many deliveries wait there: %s", error)
            return 0

    def _publish(self, delivery_id: int) -> None:
        self._task.apply_async((delivery_id,), retry=False)

    def _waiting(self) -> int:
        queue = self._celery.amqp.router.route({}, self._task.name)["queue"]
        # One of the pool would be put back there closed, were it to fail.
        with self._celery.connection_for_write() as connection, connection.channel() as channel:
            try:
                return int(channel.queue_declare(queue=queue.name, passive=True).message_count)
            except connection.channel_errors:
                return 0  # there is none yet


def _name_task(celery: Any, name: str, function: Callable[..., None]) -> Any:
    if name in celery.tasks:  # of an app that was made before: the newest counts
        celery.tasks.unregister(name)
    options = {"acks_late": True, "reject_on_worker_lost": True, "ignore_result": True, "shared": False}
    return celery.task(function, name=name, **options)
