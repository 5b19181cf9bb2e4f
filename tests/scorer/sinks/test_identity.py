"""A node's identity: a token, or why there is none, alike for each sink that signs in by it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError

from scorer.sinks.base import SinkError
from scorer.sinks.event_sender import open_sender
from scorer.sinks.identity import NodeIdentity
from scorer.sinks.sql.postgres import connect_postgres
from scorer.sinks.sql.sink import LIMITS
from scorer.sinks.sql.sql_server import connect_sql_server
from scorer.sinks.sql.target import parse_target
from shared.contract.publishing.sinks import SinkReason
from tests.scorer.sinks.identity_endpoint import identity, no_identity

__all__ = ["identity", "no_identity"]  # fixtures

POSTGRES = parse_target({"url": "postgresql://id-nodes@x.postgres.database.azure.com/db"})
SQL_SERVER = parse_target({"url": "mssql://127.0.0.1:9/db"})
HUB = "sb://pumps.servicebus.windows.net/changes"
SIGN_INS: list[Callable[[], object]] = [
    lambda: connect_postgres(POSTGRES, "", LIMITS),
    lambda: connect_sql_server(SQL_SERVER, "", LIMITS),
    lambda: open_sender(HUB, "").send_events([{"id": "1"}]),
]


@pytest.mark.parametrize("sign_in", SIGN_INS)
def test_an_endpoint_that_refuses_a_token_denies_it(sign_in: Callable[[], object], identity: list[str]) -> None:
    identity.append("before")

    with pytest.raises(SinkError, match="a token of the node's identity, got none: App Service managed") as caught:
        sign_in()

    assert caught.value.reason is SinkReason.DENIED
    assert len(identity) == 2


@pytest.mark.parametrize("sign_in", SIGN_INS)
@pytest.mark.usefixtures("no_identity")
def test_an_endpoint_that_refuses_connections_is_unavailable(sign_in: Callable[[], object]) -> None:
    with pytest.raises(SinkError, match=r"a token of the node's identity, got none: .*Connection refused$") as caught:
        sign_in()

    assert caught.value.reason is SinkReason.UNAVAILABLE


CHAIN = """DefaultAzureCredential failed to retrieve a token from the included credentials.
Attempted credentials:
\tEnvironmentCredential: EnvironmentCredential authentication unavailable. Environment variables are not configured.
\tManagedIdentityCredential: {}
\tAzureCliCredential: Azure CLI not found on path
To mitigate this issue, please refer to the troubleshooting guidelines here."""
NO_ANSWER = "ManagedIdentityCredential authentication unavailable, no response from the IMDS endpoint."


@pytest.mark.parametrize(
    ("error", "reason", "shown"),
    [
        (ClientAuthenticationError(CHAIN.format(NO_ANSWER)), SinkReason.UNAVAILABLE, NO_ANSWER),
        (
            ClientAuthenticationError(CHAIN.format(f"{NO_ANSWER} Token request error: (invalid_request) Not found")),
            SinkReason.DENIED,
            f"{NO_ANSWER} Token request error: (invalid_request) Not found",
        ),
        (ClientAuthenticationError("the secret is wrong"), SinkReason.DENIED, "the secret is wrong"),
        (ServiceRequestError("the endpoint is busy"), SinkReason.UNAVAILABLE, "the endpoint is busy"),
    ],
)
def test_of_a_chain_of_credentials_the_line_of_the_managed_identity_decides_and_is_shown(
    error: Exception, reason: SinkReason, shown: str
) -> None:
    class Credential:
        def get_token(self, scope: str) -> None:
            assert scope == "https://x/.default"
            raise error

    with pytest.raises(SinkError) as caught:
        NodeIdentity("the hub", credential=Credential()).get_token("https://x/.default")

    assert str(caught.value) == f"the hub: expected a token of the node's identity, got none: {shown}"
    assert caught.value.reason is reason
