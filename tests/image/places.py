"""An Azurite that wants bearer tokens over https, and the endpoints that give them to the processes of a node."""

from __future__ import annotations

import base64
import ipaddress
import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from azure.storage.blob import BlobServiceClient
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from local import azurite, npm
from local.processes import DIE_WITH_PARENT
from tests.clouds.stand_in import Answer, Request, StandIn

CLIENT = "2f7b3c1e-0000-4000-8000-000000000001"  # the identity that a job is to sign in with
SECRET = "of this node"  # Azure ML's token endpoint wants it
START_LIMIT = 60  # seconds


@dataclass(frozen=True, slots=True)
class Account:
    """A storage account whose certificate *authority* has signed, which a client is to trust."""

    url: str
    authority: Path

    def client(self) -> BlobServiceClient:
        """As a person with the key, who fills it and looks."""
        parts = f"AccountName={azurite.ACCOUNT};AccountKey={azurite.ACCOUNT_KEY};BlobEndpoint={self.url}"
        return BlobServiceClient.from_connection_string(
            f"DefaultEndpointsProtocol=https;{parts}",
            api_version="2025-01-05",
            connection_verify=str(self.authority),
        )


@contextmanager
def account(folder: Path) -> Iterator[Account]:
    """While the body runs. Azurite looks at a token's audience, issuer and times, not at its signature."""
    authority, own, log = folder / "authority.pem", folder / "own.pem", folder / "azurite.log"
    _certify(authority, own)
    node, _ = npm.find_node()
    options = ["--oauth", "basic", "--cert", own, "--key", own, "--blobPort", "0"]
    options += ["--skipApiVersionCheck", "--inMemoryPersistence", "--disableTelemetry"]
    script = azurite.install().with_name("blob") / "main.js"
    with (
        log.open("wb") as sink,
        subprocess.Popen(
            [node, script, *options],
            stdout=sink,
            stderr=sink,
            start_new_session=True,
            preexec_fn=DIE_WITH_PARENT,  # noqa: PLW1509  # one system call
        ) as process,
    ):
        try:
            yield Account(_listening(process, log), authority)
        finally:
            process.terminate()


def _listening(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline and process.poll() is None:
        if found := re.search(r"successfully listens on (\S+)|successfully listening at (\S+)", log.read_text()):
            return f"{found[1] or found[2]}/{azurite.ACCOUNT}"
        time.sleep(0.05)
    raise AssertionError(f"Azurite did not come up: {log.read_text()}")


def _certify(authority: Path, own: Path) -> None:
    """Two certificates, the second with its key: rustls takes none that is its own authority."""
    now, names = datetime.now(UTC), []
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    for place, key, is_authority in ((authority, keys[0], True), (own, keys[1], False)):
        names.append(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, place.stem)]))
        here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        certificate = (
            x509.CertificateBuilder(names[0], names[-1], key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(here, critical=False)
            .sign(keys[0], hashes.SHA256())
        )
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        place.write_bytes(certificate.public_bytes(Encoding.PEM) + (b"" if is_authority else private))


def token(request: Request, audience: str = "https://storage.azure.com") -> Answer:
    """What both kinds of endpoints answer; the token is one for storage if that was asked for."""
    now = int(time.time())
    claims = {"aud": audience, "iss": "https://sts.windows.net/tenant/", "iat": now, "nbf": now, "exp": now + 86_400}
    parts = [json.dumps(part).encode() for part in ({"alg": "RS256", "typ": "JWT"}, claims)] + [b"signature"]
    text = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
    told = {"access_token": text, "expires_on": str(now + 86_400), "expires_in": "86400", "token_type": "Bearer"}
    return Answer(body={**told, "resource": request.query.get("resource", "")})


def azure_ml(request: Request) -> Answer:
    """What a job of Azure ML finds at MSI_ENDPOINT; AzureMLCredential of azure-identity asks it."""
    expected = {"api-version": "2017-09-01", "resource": "https://storage.azure.com", "clientid": CLIENT}
    if request.query != expected or request.headers.get("secret") != SECRET:
        return Answer(400, {"error": f"expected {expected}"})
    return token(request)


def metadata(request: Request) -> Answer:
    """What every machine in Azure finds at 169.254.169.254, a task of Azure Batch too."""
    expected = {"api-version": "2018-02-01", "resource": "https://storage.azure.com", "client_id": CLIENT}
    if request.query != expected or request.headers.get("metadata") != "true":
        return Answer(400, {"error": "invalid_request", "error_description": f"expected {expected}"})
    return token(request)


def signs_in(kind: str, endpoint: StandIn) -> dict[str, str]:
    """What a job has in its environment for it, on a node of that kind."""
    if kind == "azure_ml":
        return {"MSI_ENDPOINT": f"{endpoint.url}/msi/token", "MSI_SECRET": SECRET, "AZURE_CLIENT_ID": CLIENT}
    return {"AZURE_POD_IDENTITY_AUTHORITY_HOST": endpoint.url, "AZURE_CLIENT_ID": CLIENT}  # else 169.254.169.254
