"""Authlib's sync OAuth 2 client at the moment of expiry. Runs in an environment that has nothing of ours."""

# mypy: disable-error-code="import-not-found,import-untyped"

from __future__ import annotations

import os
import threading
import time
from typing import Any

from authlib.integrations.httpx_client import OAuth2Client

_url = os.environ["BENCHMARK_PLATFORM_URL"]
_threads = int(os.environ["BENCHMARK_THREADS"])


def main() -> None:
    """Print how many answers of each status came."""
    expired: dict[str, Any] = {
        "access_token": "expired",
        "token_type": "Bearer",
        "expires_at": int(time.time()) - 1,
    }
    client: Any = OAuth2Client(
        "benchmark", "secret", token_endpoint=f"{_url}/token", grant_type="client_credentials", token=expired
    )
    start, statuses = threading.Barrier(_threads), []

    def call() -> None:
        start.wait()
        statuses.append(client.get(f"{_url}/users").status_code)

    threads = [threading.Thread(target=call) for _ in range(_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(statuses.count(200))


if __name__ == "__main__":
    main()
