"""Servers that other people wrote, from npm: what the connections are tested against."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import httpx2

FOLDER = Path(__file__).parent
#: The OpenAPI document of the Entra sidecar, as Microsoft publishes it.
SIDECAR_DOCUMENT = FOLDER / "entra-sidecar.openapi.json"
#: How long the packages may take to be installed, and a server to start (seconds).
INSTALLING, STARTING = 300, 30


def install() -> None:
    """Install what the lock file names, once for each state of it; other test runs wait.

    :raises OSError: there is no npm.
    :raises subprocess.SubprocessError: npm fails.
    """
    lock_file = (FOLDER / "package-lock.json").read_text()
    modules = FOLDER / "node_modules"
    installed = modules / ".installed"
    with (FOLDER / "package.json").open() as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if installed.exists() and installed.read_text() == lock_file:
            return
        npm = subprocess.run(["npm", "ci"], cwd=FOLDER, capture_output=True, text=True, timeout=INSTALLING)
        sys.stderr.write(npm.stderr)
        npm.check_returncode()
        installed.write_text(lock_file)


@contextmanager
def peer(name: str, **settings: Any) -> Iterator[str]:
    """Start ``{name}.mjs``; its URL. It ends with the block, or with this process, however that ends."""
    command = ["node", f"{name}.mjs", json.dumps(settings)]
    with subprocess.Popen(
        command, cwd=FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            # Libraries write warnings there, too.
            told = next((line for line in process.stdout if line.startswith('{"url"')), None)
            assert told is not None, f"{name}.mjs ended before it had started."
            yield json.loads(told)["url"]
        finally:
            process.stdin.close()
            process.stdout.read()


class Oidc:
    """The authorization server, and who may ask it."""

    CLIENT, RESOURCE_SERVER = "app", "resource-server"
    SECRET = "a secret of the tests: +/%&="

    def __init__(self, url: str) -> None:
        self.url = url
        self.token_url = f"{url}/token"
        self._http = httpx2.Client(base_url=url, trust_env=False)

    @classmethod
    def clients(cls) -> list[dict[str, str]]:
        names = (cls.CLIENT, cls.RESOURCE_SERVER)
        return [{"client_id": name, "client_secret": cls.SECRET} for name in names]

    def counts(self) -> dict[str, int]:
        """Tokens ``issued``, requests ``refused``, and how these were authenticated: ``basic``, ``post``."""
        counts: dict[str, int] = self._http.get("/counts").json()
        return counts

    def set_life(self, seconds: float) -> None:
        """Of the tokens issued from now on; 600 seconds at first."""
        assert self._http.put("/life", json=seconds).status_code == 204

    def revoke(self, token: str) -> None:
        # RFC 6749, section 2.3.1: each half is form-encoded first.
        auth = (quote_plus(self.CLIENT), quote_plus(self.SECRET))
        assert self._http.post("/token/revocation", data={"token": token}, auth=auth).status_code == 200

    def close(self) -> None:
        self._http.close()
