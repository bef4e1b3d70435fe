"""Calling the platform: a fresh token on a warm connection, and an answer or a typed error."""

from .clients import AsyncPlatformClient as AsyncPlatformClient
from .clients import PlatformClient as PlatformClient
from .response import PlatformResponse as PlatformResponse
from .service import Platform as Platform
from .token_util import TokenUtil as TokenUtil
from .tokens import AppTokens as AppTokens
from .tokens import ConnectAppToken as ConnectAppToken
from .tokens import TokenStore as TokenStore
