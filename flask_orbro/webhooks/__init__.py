"""Webhooks: deliveries of the platform, verified with the organization's secret."""

from .delivery import Delivery as Delivery
from .verify import WebhookVerifier as WebhookVerifier
