"""The platform's own Python SDK on FastAPI. Runs in a virtual environment that has nothing of ours."""

# mypy: disable-error-code="import-not-found,import-untyped"

from __future__ import annotations

import os
from typing import Any

from fastapi import Depends, FastAPI, Request
from orbro_sdk import OrbroConnect
from orbro_sdk.models import ConnectAppClientInfoMixin
from sqlalchemy import create_engine
from sqlalchemy.orm import declarative_base, sessionmaker

_folder = os.environ["BENCHMARK_FOLDER"]
_host = os.environ["BENCHMARK_PLATFORM_HOST"]

_base: Any = declarative_base()
_Model: Any = type("ConnectAppClientInfo", (_base, ConnectAppClientInfoMixin), {})
# A session is made in a thread of FastAPI's and used in another.
_engine = create_engine(f"sqlite:///{_folder}/peer.sqlite", connect_args={"check_same_thread": False})
_base.metadata.create_all(bind=_engine)

app = FastAPI()
OrbroConnect(
    app,
    client_id=os.environ["BENCHMARK_CLIENT_ID"],
    client_secret=os.environ["BENCHMARK_CLIENT_SECRET"],
    client_info_model=_Model,
    db_session_maker=sessionmaker(autocommit=False, autoflush=False, bind=_engine),
    descriptor_path=f"{_folder}/connect.json",
    env="dev",
)
# The only change to it: its host is a constant.
OrbroConnect.host = _host
OrbroConnect.token_util.host = _host
OrbroConnect.token_util.base_url = f"https://{_host}"

# These read class attributes that the constructor above has set.
from orbro_sdk.fastapi.dependencies.auth import request_auth_dep, webhook_auth_dep  # noqa: E402
from orbro_sdk.fastapi.dependencies.client import get_async_client  # noqa: E402

# Annotations are objects, not text, so that FastAPI finds them.
_caller = Depends(request_auth_dep)
_sender = Depends(webhook_auth_dep)
_client = Depends(get_async_client)


async def bare() -> Any:
    return {"status": "ok"}


async def webhook(request: Request, sender: Any = _sender) -> Any:
    payload = await request.json()
    return {"event": payload["event_name"]}


async def me(caller: Any = _caller) -> Any:
    return {"uuid": caller["uuid"], "role": caller["role"]}


async def outbound(client: Any = _client) -> Any:
    return (await client.get("/api/v1/users")).json()


app.add_api_route("/bare", bare, methods=["GET"], response_model=None)
app.add_api_route("/webhook/device", webhook, methods=["POST"], response_model=None)
app.add_api_route("/platform/me", me, methods=["GET"], response_model=None)
app.add_api_route("/outbound", outbound, methods=["GET"], response_model=None)
