"""The manifest of one chunk, and the command line of its job. Pure."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from .documents import SCHEMA, parse_count, parse_document
from .domain import Model, Reason
from .model_names import Columns
from .scoring_options import ScoringOptions
from .windows import Window


def build_command(
    manifest_url: str, attempt: int, *, isolated: bool = False, carry: int = 0, include_quarantined: bool = False
) -> tuple[str, ...]:
    """The command that every cluster runs. The node reads everything else from the manifest.

    *carry*: the attempt whose report names the models that are already scored; their rows are copied from its parts,
    and only the other models are scored. 0: all models are scored. *isolated*: each model is scored in a child
    process. *include_quarantined*: models that the plan left out because they were in quarantine are scored too.
    """
    words = ("python", "-m", "scorer", "--manifest", manifest_url, "--attempt", str(attempt))
    flags = (*(("--careful",) if isolated else ()), *(("--pardon",) if include_quarantined else ()))
    return (*words, *flags, *(("--carry", str(carry)) if carry else ()))


@dataclass(frozen=True, slots=True)
class PackRef:
    """The next so many models of a manifest, and the name of the pack that they share."""

    name: str
    models: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """The task of one chunk: its models, its window, and the locations of all files.

    `models_url`, `readings_url` and `work_url` are containers or folders; `readings_path` is a strftime pattern of
    the folder of an hour, or of one file, within the readings. `packs` cover the models from first to last, or there
    are none.
    """

    window: Window
    chunk: str
    models: tuple[Model, ...]
    models_url: str
    readings_url: str
    work_url: str
    readings_path: str = "date=%Y-%m-%d/hour=%H/"
    columns: Columns = field(default_factory=Columns)
    policy: ScoringOptions = field(default_factory=ScoringOptions)
    packs: tuple[PackRef, ...] = ()

    def to_bytes(self) -> bytes:
        """JSON, columnar; the same manifest gives the same bytes."""
        head = {
            "schema": SCHEMA,
            "window": self.window.id,
            "chunk": self.chunk,
            "models_url": self.models_url,
            "readings_url": self.readings_url,
            "work_url": self.work_url,
            "readings_path": self.readings_path,
            "columns": asdict(self.columns),
            "policy": self.policy.to_json(),
            "packs": [[span.name, span.models] for span in self.packs],
            "models": [[getattr(m, name) for m in self.models] for name in ("device", "sensor", "name", "etag")],
            "refused": {i: m.refused for i, m in enumerate(self.models) if m.refused},
        }
        return json.dumps(head, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Manifest:
        """Raises Malformed."""

        def build_manifest(doc: dict[str, Any]) -> Manifest:
            devices, sensors, names, etags = (map(str, column) for column in doc["models"])
            models = [Model(*row) for row in zip(devices, sensors, names, etags, strict=True)]
            for i, reason in doc["refused"].items():
                models[int(i)] = replace(models[int(i)], refused=Reason(reason))
            packs = tuple(PackRef(str(name), parse_count(count)) for name, count in doc["packs"])
            if packs and sum(span.models for span in packs) != len(models):
                raise ValueError(f"its packs are of {sum(span.models for span in packs)} models, it has {len(models)}")
            return cls(
                window=Window.parse(doc["window"]),
                chunk=doc["chunk"],
                models=tuple(models),
                models_url=doc["models_url"],
                readings_url=doc["readings_url"],
                work_url=doc["work_url"],
                readings_path=doc["readings_path"],
                columns=Columns(**doc["columns"]),
                policy=ScoringOptions.from_json(doc["policy"]),
                packs=packs,
            )

        return parse_document(data, "manifest", build_manifest)
