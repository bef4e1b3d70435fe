"""What the comparisons need besides us: virtual environments, certificates, and names."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .errors import BenchmarkError
from .processes import clean_environment

#: As the peer pins them; the servers are what its own README runs it with.
REQUIREMENTS = ("orbro-python-sdk==0.23", "fastapi==0.99.*", "uvicorn[standard]")
INSTALL_TIMEOUT = 600.0
_NSS_WRAPPER = ("/usr/lib", "/usr/lib64", "/usr/local/lib")


@dataclass(frozen=True)
class Certificates:
    """Files of a throw-away certificate authority.

    :param key: the platform's private key.
    :param chain: its certificate.
    :param store: what a deployment trusts: certifi's bundle, and the authority.
    :param single: the authority alone.
    """

    key: Path
    chain: Path
    store: Path
    single: Path


def make_environment(
    folder: Path, say: Callable[[str], None], requirements: tuple[str, ...] = REQUIREMENTS
) -> Path:
    """The Python of a virtual environment, the peer's by default, made where it is not there yet.

    :raises BenchmarkError: it cannot be made.
    """
    python = folder / "bin" / "python"
    ready = folder / "benchmark-ready.json"
    if python.exists() and ready.exists() and json.loads(ready.read_text()) == list(requirements):
        return python
    say(f"making a virtual environment with {requirements[0]} in {folder}")
    _command([sys.executable, "-m", "venv", str(folder)])
    _command([str(python), "-m", "pip", "install", "--quiet", *requirements])
    ready.write_text(json.dumps(requirements))
    return python


def make_certificates(folder: Path, host: str, peer_python: Path) -> Certificates:
    """A P-256 authority and a certificate for the platform, its organizations and the loopback address."""
    import trustme

    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    leaf = authority.issue_cert(host, f"*.{host}", "127.0.0.1", key_type=trustme.KeyType.ECDSA)
    made = Certificates(
        folder / "platform.key", folder / "platform.pem", folder / "store.pem", folder / "single.pem"
    )
    leaf.private_key_pem.write_to_path(made.key)
    leaf.cert_chain_pems[0].write_to_path(made.chain)
    bundle = Path(_command([str(peer_python), "-m", "certifi"]).strip()).read_bytes()
    made.store.write_bytes(bundle + b"\n" + authority.cert_pem.bytes())
    made.single.write_bytes(authority.cert_pem.bytes())
    return made


def name_wrapper(folder: Path, names: tuple[str, ...]) -> dict[str, str] | None:
    """Environment in which these names resolve to loopback; ``None`` without ``libnss-wrapper``.

    Nothing else on the system changes.
    """
    found = [
        path
        for root in _NSS_WRAPPER
        for path in sorted(Path(root).glob("**/libnss_wrapper.so"))
        if path.exists()
    ]
    if not found:
        return None
    hosts = folder / "hosts"
    hosts.write_text("".join(f"127.0.0.1 {name}\n" for name in names))
    return {"LD_PRELOAD": str(found[0]), "NSS_WRAPPER_HOSTS": str(hosts)}


def _command(argv: list[str]) -> str:
    try:
        done = subprocess.run(
            argv, env=clean_environment(), capture_output=True, text=True, timeout=INSTALL_TIMEOUT
        )
    except subprocess.TimeoutExpired:
        raise BenchmarkError(f"'{' '.join(argv)}' took longer than {INSTALL_TIMEOUT:.0f} s.") from None
    if done.returncode != 0:
        raise BenchmarkError(f"'{' '.join(argv)}' failed:\n{done.stderr.strip()[-1500:]}")
    return done.stdout
