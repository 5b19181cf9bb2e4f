"""How Azure's blobs, or Azurite's, are reached: by a key, a SAS, or a managed identity."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from shared.contract.errors import Misconfigured

if TYPE_CHECKING:
    from obstore.auth.azure import AzureCredentialProvider
    from obstore.store import AzureStore

# Azurite's account, the same on every machine and published in its manual: no secret.
AZURITE_ACCOUNT = "devstoreaccount1"
AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

_PATIENCE = {
    "max_retries": "6",
    "retry_timeout": "60s",
}  # of deltalake for one request; its own are ten, in three minutes


def open_store(endpoint: str, account: str, container: str, prefix: str, storage: str) -> AzureStore:
    """The store, with the key or SAS that *storage* holds for this endpoint, else with a managed identity."""
    try:
        from obstore.store import AzureStore
    except ModuleNotFoundError as error:
        raise Misconfigured(f"containers need the extra node: pip install 'fleetscore[node]' ({error})") from error
    fields = _parse_connection(endpoint, account, storage)
    options: dict[str, Any] = {
        "account_name": account,
        "endpoint": endpoint,
        "client_options": {"timeout": "300s", "allow_http": True},  # a part is one request, of any size
        "retry_config": {"max_retries": 6},
    }
    if "AccountKey" in fields:
        options["account_key"] = fields["AccountKey"]
    elif "SharedAccessSignature" in fields:
        options["sas_key"] = fields["SharedAccessSignature"].removeprefix("?")
    elif endpoint.startswith("https://"):
        options["credential_provider"] = _make_identity()
    else:
        raise Misconfigured(
            f"STORAGE: expected a connection string of {endpoint}, since it does not accept a managed identity"
        )
    return AzureStore(container, prefix=prefix or None, **options)


@functools.cache
def _make_identity() -> AzureCredentialProvider:
    """Azure's default credential; one for all containers, so that a node asks for one token."""
    from obstore.auth.azure import AzureCredentialProvider

    return AzureCredentialProvider()


def _parse_connection(endpoint: str, account: str, storage: str) -> dict[str, str]:
    """The fields of a connection string if it is for this endpoint; none otherwise."""
    if storage.strip().rstrip(";").lower() == "usedevelopmentstorage=true":
        return {"AccountKey": AZURITE_KEY} if account == AZURITE_ACCOUNT and endpoint.startswith("http://") else {}
    fields = dict(pair.split("=", 1) for pair in storage.split(";") if "=" in pair)
    name, suffix = fields.get("AccountName", ""), fields.get("EndpointSuffix", "core.windows.net")
    default = f"{fields.get('DefaultEndpointsProtocol', 'https')}://{name}.blob.{suffix}"
    return fields if fields.get("BlobEndpoint", default).rstrip("/") == endpoint else {}


def locate_table(store: AzureStore, folder: str) -> tuple[str, dict[str, str]]:
    """The URL of a folder of a store, its path quoted, and the options by which `deltalake` reads it.

    Both are built on the same Rust crate, so the store's own options serve. A token of a managed identity is asked for
    once: the log of a table is read within its time.
    """
    config: dict[str, Any] = dict(store.config)
    path = "/".join(part for part in (store.prefix or "", folder.strip("/")) if part)
    options = {f"azure_storage_{key}": str(value) for key, value in config.items() if key != "container_name"}
    options |= {
        f"azure_{key}": str(value) for key, value in (store.client_options or {}).items() if key == "allow_http"
    }
    options |= _PATIENCE
    if store.credential_provider:
        token: Any = store.credential_provider()
        options["azure_storage_token"] = token["token"]
    return f"az://{config['container_name']}/{quote(path)}", options
