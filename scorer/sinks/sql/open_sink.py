"""The SQL sink of a manifest."""

from __future__ import annotations

from shared.contract.publishing.databases import Dialect
from shared.contract.publishing.documents import PublishingManifest

from .sink import LIMITS, Limits, Session, SqlSink
from .target import parse_target


def open_sql_sink(manifest: PublishingManifest, password: str, limits: Limits = LIMITS) -> SqlSink:
    """The table that a manifest names by `url` and `table`; nothing is connected yet. Raises Misconfigured."""
    target = parse_target(manifest.target)

    def connect() -> Session:
        if target.dialect is Dialect.POSTGRESQL:
            from .postgres import connect_postgres

            return connect_postgres(target, password, limits)
        from .sql_server import connect_sql_server

        return connect_sql_server(target, password, limits)

    return SqlSink(manifest.app, target.label, connect)
