"""What SQL_URL and SQL_TABLE may say, and how PostgreSQL is reached."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from adbc_driver_manager import AdbcStatusCode, OperationalError

from scorer.sinks.sql.postgres import PostgresSession, _build_uri, _get_token
from scorer.sinks.sql.postgres_errors import classify_error, describe_error
from scorer.sinks.sql.sink import LIMITS
from scorer.sinks.sql.target import SqlTarget, parse_target
from shared.contract.errors import Misconfigured
from shared.contract.publishing.databases import Dialect
from shared.contract.publishing.sinks import SinkReason
from tests.scorer.sinks.identity_endpoint import identity

__all__ = ["identity"]  # a fixture


@pytest.mark.parametrize(
    ("url", "table", "target"),
    [
        (
            "postgresql://fleet@db.example:5433/plant%20a",
            "",
            SqlTarget(
                Dialect.POSTGRESQL, "db.example", 5433, "plant a", "fleet", "public", "fleetscore_predictions", {}
            ),
        ),
        (
            "postgresql://id-nodes%40x@[::1]/plant?sslmode=disable",
            "Lines.Scores_2",
            SqlTarget(
                Dialect.POSTGRESQL, "::1", None, "plant", "id-nodes@x", "Lines", "Scores_2", {"sslmode": "disable"}
            ),
        ),
        (
            "mssql://sql.database.windows.net/plant",
            "scores",
            SqlTarget(Dialect.MSSQL, "sql.database.windows.net", None, "plant", "", "dbo", "scores", {}),
        ),
    ],
)
def test_a_url_and_a_table_name_a_target(url: str, table: str, target: SqlTarget) -> None:
    assert parse_target({"url": url, "table": table}) == target


@pytest.mark.parametrize(
    ("url", "table", "message"),
    [
        ("mysql://u@h/db", "", "SQL_URL: expected postgresql://.* got 14 characters that are none of these"),
        (
            "postgresql://u@h/db?sslmode=a&sslmode=b",
            "",
            "expected the options sslmode and sslrootcert alone, each once",
        ),
        ("mssql://h/db?sslmode=require", "", "expected the options encrypt and trust_server_certificate alone"),
        ("postgresql://u@h/db", "a.b.c", "SQL_TABLE: expected TABLE or SCHEMA.TABLE, .*, got 'a.b.c'"),
        ("postgresql://u@h/db", 'a"; DROP TABLE b; --', "SQL_TABLE: expected TABLE"),
        ("postgresql://u@h/db", "1a", "SQL_TABLE: expected TABLE"),
        ("postgresql://u@h/db", ".a", "SQL_TABLE: expected TABLE"),
        ("postgresql://u@h/db", "a" * 49, "SQL_TABLE: expected TABLE"),
    ],
)
def test_what_is_no_target_is_refused_with_its_setting(url: str, table: str, message: str) -> None:
    with pytest.raises(Misconfigured, match=message):
        parse_target({"url": url, "table": table})


def read_uri(url: str, password: str = "") -> tuple[str, dict[str, list[str]]]:
    parts = urlsplit(_build_uri(parse_target({"url": url}), password, LIMITS))
    return parts._replace(query="").geturl(), parse_qs(parts.query)


def test_a_password_with_any_letters_stays_one() -> None:
    assert read_uri("postgresql://u@h:1/db", "a@b/c:d?e&f%")[0] == "postgresql://u:a%40b%2Fc%3Ad%3Fe%26f%25@h:1/db"


@pytest.mark.parametrize(
    ("url", "mode"),
    [
        ("postgresql://u@x.postgres.database.azure.com/db", ["verify-full"]),
        ("postgresql://u@db.example/db", ["require"]),
        ("postgresql://u@db.example/db?sslmode=disable", ["disable"]),
        ("postgresql://u@127.0.0.1/db", None),
    ],
)
def test_what_leaves_the_machine_is_encrypted_and_azure_shows_who_it_is(url: str, mode: list[str] | None) -> None:
    options = read_uri(url)[1]
    assert options.get("sslmode") == mode
    assert ("sslrootcert" in options) == (mode == ["verify-full"])


def test_a_connection_that_cannot_be_closed_is_let_go() -> None:
    """The transaction of before it is over: what closing it says changes nothing."""

    class Connection:
        def close(self) -> None:
            raise OperationalError("no connection to the server", status_code=AdbcStatusCode.IO)

    session = PostgresSession(parse_target({"url": AZURE}), LIMITS, Connection())
    session.close()
    session.close()


# Tokens of the node's identity, from a stand-in of the endpoint where Azure gives them to an app

AZURE = "postgresql://id-nodes@x.postgres.database.azure.com/db"


def test_the_token_of_a_server_at_azure_is_one_for_databases(identity: list[str]) -> None:
    assert _get_token(parse_target({"url": AZURE})) == "t0"
    assert parse_qs(urlsplit(identity[0]).query)["resource"] == ["https://ossrdbms-aad.database.windows.net"]


def test_elsewhere_no_token_is_asked_for(identity: list[str]) -> None:
    assert _get_token(parse_target({"url": "postgresql://u@db.example/db"})) == ""
    assert identity == []


# A person checks these with the page that the module names.
@pytest.mark.parametrize(
    ("state", "message", "reason"),
    [
        ("", "connection to server failed: Connection refused", SinkReason.UNAVAILABLE),
        ("", 'FATAL:  password authentication failed for user "u"', SinkReason.DENIED),
        ("", "FATAL:  the database system is starting up", SinkReason.UNAVAILABLE),
        ("", "FATAL:  sorry, too many clients already", SinkReason.UNAVAILABLE),
        ("", "SSL error: certificate verify failed", SinkReason.DENIED),
        ("", 'server certificate for "a" does not match host name "b"', SinkReason.DENIED),
        ("08006", "", SinkReason.UNAVAILABLE),
        ("22001", "", SinkReason.MISMATCH),
        ("22021", "invalid byte sequence", SinkReason.FAILED),
        ("23502", "", SinkReason.MISMATCH),
        ("25006", "", SinkReason.DENIED),
        ("25P03", "", SinkReason.UNAVAILABLE),
        ("28P01", "", SinkReason.DENIED),
        ("3D000", "", SinkReason.DENIED),
        ("40001", "", SinkReason.CONFLICT),
        ("40P01", "", SinkReason.CONFLICT),
        ("42501", "", SinkReason.DENIED),
        ("42703", "", SinkReason.MISMATCH),
        ("42804", "", SinkReason.MISMATCH),
        ("42P01", "", SinkReason.MISMATCH),
        ("53100", "", SinkReason.FULL),
        ("53300", "", SinkReason.UNAVAILABLE),
        ("55P03", "", SinkReason.CONFLICT),
        ("57014", "", SinkReason.UNAVAILABLE),
        ("57P01", "", SinkReason.UNAVAILABLE),
        ("XX000", "", SinkReason.FAILED),
    ],
)
def test_the_reason_of_an_error(state: str, message: str, reason: SinkReason) -> None:
    assert classify_error(state, message) is reason


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            f"IO: Failed to execute query 'INSERT INTO {'x' * 400}': ERROR:  could not extend file\n. SQLSTATE: 53100",
            "ERROR:  could not extend file\n. SQLSTATE: 53100",
        ),
        ('IO: connection failed: FATAL:  database "none" does not exist', 'FATAL:  database "none" does not exist'),
        ("IO: [libpq] Failed to connect: Connection refused\n", "IO: [libpq] Failed to connect: Connection refused"),
    ],
)
def test_a_message_says_what_the_server_says_and_not_the_statement(text: str, message: str) -> None:
    assert describe_error(RuntimeError(text)) == message
