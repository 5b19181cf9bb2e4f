"""SQL_URL means the same to the app and to its nodes, and no message shows what may be a password."""

from __future__ import annotations

import pytest

from shared.contract.errors import Malformed
from shared.contract.publishing.databases import Database, Dialect

NO_URL = (
    "expected postgresql://USER@HOST:5432/DATABASE or mssql://HOST/DATABASE, got {} characters that are none of these"
)
PASSWORD = "expected a URL without a password, which nodes take from SQL_PASSWORD, got one with it"
OPTIONS = "expected the options sslmode and sslrootcert alone, each once, got others"


@pytest.mark.parametrize(
    ("text", "database"),
    [
        ("postgresql://me@db:5432/fleet", Database(Dialect.POSTGRESQL, "db", 5432, "fleet", "me", {})),
        (
            "postgresql://me%40x@[::1]/the%20fleet?sslmode=verify-full&sslrootcert=/etc/ca.pem",
            Database(
                Dialect.POSTGRESQL, "::1", None, "the fleet", "me@x",
                {"sslmode": "verify-full", "sslrootcert": "/etc/ca.pem"},
            ),
        ),
        ("mssql://db/fleet?encrypt=strict", Database(Dialect.MSSQL, "db", None, "fleet", "", {"encrypt": "strict"})),
        ("mssql://me@db/fleet", Database(Dialect.MSSQL, "db", None, "fleet", "me", {})),
    ],
)  # fmt: skip
def test_a_url_names_a_database(text: str, database: Database) -> None:
    assert Database.parse(text) == database


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("postgresql://me:hush@db/fleet", PASSWORD),
        ("postgresql://:hush@db/fleet", PASSWORD),
        ("postgresql://me:@db/fleet", PASSWORD),
        ("mssql://me:a@hush@db/fleet", PASSWORD),
        ("postgresql://me@db/fleet?password=hush", OPTIONS),
        ("postgresql://me@db/fleet?hush", OPTIONS),
        ("postgresql://me@db/fleet?sslmode=a&sslmode=hush", OPTIONS),
        ("postgresql://me@db/fleet/hush", NO_URL),
        ("postgresql://me@db/fleet%2Fhush", NO_URL),
        ("postgresql://me@db/fleet/", NO_URL),
        ("postgresql://me@db/", NO_URL),
        ("postgresql://me@db/fleet#hush", NO_URL),
        ("postgresql://me@db/fleet#", NO_URL),
        ("postgresql://me:123/hush@db/fleet", NO_URL),
        ("postgresql://me:12#hush@db/fleet", NO_URL),
        ("postgresql://me:12?hush@db/fleet", NO_URL),
        ("mssql://me:123/hush@db", NO_URL),
        ("mssql://me:12/x?encrypt=hush@db", NO_URL),
        ("postgresql:me:hush@db/fleet", NO_URL),
        ("me:hush@db/fleet", NO_URL),
        ("postgresql://db/fleet", NO_URL),
        ("postgresql://me@/fleet", NO_URL),
        ("postgresql://me@db:/fleet", NO_URL),
        ("postgresql://me@db:0/fleet", NO_URL),
        ("postgresql://me@db:hush/fleet", NO_URL),
        ("postgresql://me@[::1/hush", NO_URL),
        ("postgresql://me@db/fl eet", NO_URL),
        ("postgresql://me@db/fl\neet", NO_URL),
        ("mysql://me:hush@db/fleet", NO_URL),
    ],
)
def test_any_other_text_is_refused_and_never_shown(text: str, problem: str) -> None:
    with pytest.raises(Malformed) as caught:
        Database.parse(text)
    assert str(caught.value) == problem.format(len(text))
