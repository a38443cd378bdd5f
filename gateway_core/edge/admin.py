"""/v1/admin: what an operator asks of the instance itself."""

from pathlib import Path
from typing import Any, Literal, TypedDict

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway_core import config_file
from gateway_core.clock import iso
from gateway_core.edge import answers
from gateway_core.edge.access import actor_of
from gateway_core.edge.bodies import checked_query, decoded, page_size, position
from gateway_core.edge.host import Host
from gateway_core.edge.queries import PageQuery
from gateway_core.errors import Conflict, InvalidRequest
from gateway_core.plugins import PluginInfo
from gateway_core.ports import Endpoint, Shape
from gateway_core.store_ports import Finding, LogEntry
from gateway_core.types import Principal


class NewBackup(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a backup: where on the server's machine the copy goes."""

    path: str


class ShownBackup(TypedDict):
    """Where the copy is."""

    object: Literal["backup"]
    path: str


class ShownLogEntry(TypedDict):
    """One line of the operators' log."""

    object: Literal["log_entry"]
    at: str
    actor: str
    action: str
    subject: str
    detail: Any


class AdminEndpoints:
    """Handlers for the operator."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._services = host.services

    def endpoints(self) -> list[Endpoint]:
        """All of them."""
        return [
            Endpoint(
                "GET",
                "/v1/admin/plugins",
                "operator",
                self.plugins,
                "Plugins that were found, and why not.",
                Shape(answer=answers.Page[PluginInfo]),
            ),
            Endpoint("GET", "/v1/admin/config", "operator", self.config, "The configuration in effect."),
            Endpoint(
                "POST",
                "/v1/admin/reconcile",
                "operator",
                self.reconcile,
                "Recomputes every balance and chain.",
                Shape(answer=answers.Page[Finding]),
            ),
            Endpoint(
                "GET",
                "/v1/admin/log",
                "operator",
                self.log,
                "Who minted, created, suspended and revoked what.",
                Shape(answer=answers.Page[ShownLogEntry], query=PageQuery),
            ),
            Endpoint(
                "POST",
                "/v1/admin/backup",
                "operator",
                self.backup,
                "Copies the store, while calls go on.",
                Shape(body=NewBackup, answer=ShownBackup, statuses=(201,), errors=(Conflict,)),
            ),
        ]

    async def plugins(self, _request: Request, _principal: Principal | None) -> Response:
        """The loader's report."""
        return answers.listing([msgspec.to_builtins(info) for info in self._host.plugins.report])

    async def config(self, _request: Request, _principal: Principal | None) -> Response:
        """All tables with their defaults; where a secret comes from, and never the secret."""
        return answers.json(config_file.show(self._host.loaded))

    async def reconcile(self, _request: Request, _principal: Principal | None) -> Response:
        """What differs; an empty list where everything agrees."""
        findings = await self._services.store.ledger.reconcile()
        return answers.listing([msgspec.to_builtins(finding) for finding in findings])

    async def log(self, request: Request, _principal: Principal | None) -> Response:
        """The operators' log, newest first."""
        query = checked_query(request, PageQuery)
        size = page_size(query)
        entries = await self._services.store.directory.log_entries(size + 1, before=position(query))
        return answers.page([_entry(each) for each in entries], size, lambda _row: entries[size - 1].number)

    async def backup(self, request: Request, principal: Principal | None) -> Response:
        """A consistent copy of the store at a path where nothing is yet."""
        body = await decoded(request, NewBackup)
        target = _new_file(body.path)
        try:
            await self._services.store.backup(target)
        except OSError as error:
            raise InvalidRequest(
                f"The backup could not be written there: {(error.strerror or 'unknown').lower()}.", param="path"
            ) from None
        now = self._services.clock.now_ms()
        await self._services.store.directory.log(LogEntry(now, actor_of(principal), "store.backup", str(target)))
        return answers.json(ShownBackup(object="backup", path=str(target)), 201)


def _new_file(path: str) -> Path:
    """The path as one where a file can be made. Raises InvalidRequest or Conflict where it cannot."""
    target = Path(path)
    if "\0" in path or not target.is_absolute():
        raise InvalidRequest("'path' must be an absolute path on the gateway's machine.", param="path")
    if not target.parent.is_dir():
        raise InvalidRequest("'path' must be in a directory that exists on the gateway's machine.", param="path")
    if target.exists():
        raise Conflict("There is a file at that path already.", param="path")
    return target


def _entry(entry: LogEntry) -> ShownLogEntry:
    return {
        "object": "log_entry",
        "at": iso(entry.at),
        "actor": entry.actor,
        "action": entry.action,
        "subject": entry.subject,
        "detail": entry.detail,
    }
