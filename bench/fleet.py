"""A fleet of any size that lies nowhere: its names are made up, in order, as they are listed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from shared.contract.errors import NotFound
from shared.contract.model_names import Blob


def model_id(number: int) -> str:
    """Sorts by number up to ten million."""
    return f"pump-{number:07d}"


def blob(number: int) -> Blob:
    """A model's blob, with an etag as long as the service's."""
    return Blob(f"{model_id(number)}.skops", f"0x8DE{number:012X}", 39_000)


@dataclass(slots=True)
class Stream:
    """What planning asks of a Blobs port, and no more. Of what is written it keeps plans only, so that memory is ours.

    `MemoryBlobs` would hold and sort every name, and every manifest.
    """

    models: int
    url: str = "memory://bench"
    plans: dict[str, bytes] = field(default_factory=dict)

    def list_blobs(self, prefix: str = "") -> Iterator[Blob]:  # noqa: ARG002  # the port's
        """All models."""
        return map(blob, range(self.models))

    def create(self, name: str, data: bytes) -> bool:
        """As if it were written."""
        if name.endswith("plan.json"):
            self.plans[name] = data
        return True

    def read(self, name: str) -> bytes:
        """A plan; raises NotFound."""
        if name not in self.plans:
            raise NotFound(f"no blob {self.url}/{name}")
        return self.plans[name]
