"""The door for ids: a model blob's name -> device and sensor, or the reason why not. Pure.

A device's id ends up in file names, in JSON, in URLs and in Parquet. What could leave its place there, or be taken
for another id, is refused here, once; everything behind the door trusts it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from .domain import Model, Reason
from .errors import Malformed

EXTENSIONS = (".skops", ".joblib", ".pkl", ".pickle")
ID_LIMIT = 255  # characters of a device's or a sensor's id
DEFAULT_PATTERN = "{device}[/{sensor}].{ext}"


@dataclass(frozen=True, slots=True)
class Blob:
    """One line of a listing."""

    name: str
    etag: str
    size: int


@dataclass(slots=True)
class Ignored:
    """Blobs that lie among the models and are none: how many, and the first few."""

    count: int = 0
    examples: list[str] = field(default_factory=list)

    def append(self, name: str) -> None:
        """Count one; memory does not grow with them."""
        self.count += 1
        if self.count <= 3:  # noqa: PLR2004  # enough for a person to see what they are
            self.examples.append(name)


def id_problem(text: str) -> str | None:
    """Why *text* cannot be the id of a device or a sensor; None when it can."""
    if not text or text in (".", ".."):
        return "is empty or a path's dots"
    if len(text) > ID_LIMIT:
        return f"has {len(text)} characters, more than {ID_LIMIT}"
    if any(c in "/\\" or unicodedata.category(c) in ("Cc", "Cs") for c in text):
        return "holds a slash, a backslash or a control character"
    if text != text.strip():
        return "begins or ends with white space"
    return None


@dataclass(frozen=True, slots=True)
class ModelNames:
    """The pattern that model blobs are named by: `{device}`, `{sensor}`, `{ext}`, and `[…]` around what may be absent.

    Without `{ext}` the extension may be there or not.
    """

    pattern: str = DEFAULT_PATTERN
    _lazy: re.Pattern[str] = field(init=False, repr=False, compare=False)
    _greedy: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Raises Malformed for a pattern that cannot work."""
        object.__setattr__(self, "_lazy", re.compile(self._regex("+?")))
        object.__setattr__(self, "_greedy", re.compile(self._regex("+")))

    @property
    def _stem(self) -> str:
        return self.pattern.removesuffix(".{ext}")

    def _regex(self, repeat: str) -> str:
        pieces = {
            "{device}": f"(?P<device>[^/]{repeat})",
            "{sensor}": f"(?P<sensor>[^/]{repeat})",
            "[": "(?:",
            "]": ")?",
        }
        text = "".join(pieces.get(p, re.escape(p)) for p in re.split(r"(\{\w*\}|\[|\])", self._stem))
        ok = self._stem.count("{device}") == 1 and self._stem.count("{sensor}") <= 1
        try:
            re.compile(text)
        except re.error:
            ok = False
        if not ok or re.search(r"\{(?!device\}|sensor\})", self._stem):
            raise Malformed(
                "wanted a pattern with {device} once and perhaps {sensor}, [optional parts] and .{ext} at its end, "
                f"such as {DEFAULT_PATTERN}, found {self.pattern!r}"
            )
        return text

    def model(self, blob: Blob) -> Model | None:
        """The model that a blob holds, perhaps refused; None where the name is not a model's at all."""
        extension = next((e for e in EXTENSIONS if blob.name.endswith(e)), "")
        if not extension and "{ext}" in self.pattern:
            return None
        stem = blob.name.removesuffix(extension)
        lazy, greedy = self._lazy.fullmatch(stem), self._greedy.fullmatch(stem)
        if lazy is None or greedy is None:
            # It has the ending of a model, so somebody means it as one: say so rather than pass over it.
            return Model(stem[:ID_LIMIT], "", blob.name, blob.etag, Reason.BAD_NAME) if extension else None
        ids = lazy.groupdict(default="")
        bad = any(id_problem(text) for text in lazy.groupdict().values() if text is not None)
        refused = Reason.BAD_NAME if bad or lazy.groups() != greedy.groups() else None
        return Model(ids["device"], ids.get("sensor", ""), blob.name, blob.etag, refused)

    def fleet(self, blobs: Iterable[Blob], ignored: Ignored) -> Iterator[Model]:
        """The models of a sorted listing, as it streams by; names that are no model's go to *ignored*.

        Two blobs of one model are both refused as ambiguous, and count as one model. Such names differ in the
        extension only, so all between them in any lexicographic order begin with the same stem: a model is held back
        while the listing still does. What is held never exceeds the length of a name.
        """
        held: dict[str, tuple[str, Model]] = {}  # by id: the beginning that a rival's name would have, and the model
        for blob in blobs:
            for passed in [i for i, (beginning, _) in held.items() if not blob.name.startswith(beginning)]:
                yield held.pop(passed)[1]
            model = self.model(blob)
            if model is None:
                ignored.append(blob.name)
            elif model.id in held:
                beginning, rival = held[model.id]
                held[model.id] = beginning, replace(rival, refused=rival.refused or Reason.AMBIGUOUS)
            else:
                extension = next((e for e in EXTENSIONS if blob.name.endswith(e)), "")
                held[model.id] = blob.name.removesuffix(extension) + ("." if extension else ""), model
        yield from (model for _, model in held.values())


@dataclass(frozen=True, slots=True)
class Columns:
    """What the readings' columns are called. A file with no *value* column is wide: its other columns are features."""

    time: str = "time"
    device: str = "device"
    sensor: str = "sensor"
    value: str = "value"

    @classmethod
    def parse(cls, text: str) -> Columns:
        """`time=TS,device=Device,...`; what is not named keeps its default. Raises Malformed."""
        pairs = [pair.partition("=") for pair in text.split(",")] if text else []
        given = {key.strip(): name.strip() for key, _, name in pairs}
        known = cls.__slots__
        if len(given) < len(pairs) or not all(given.values()) or set(given) - set(known):
            raise Malformed(f"wanted KEY=NAME,... with keys of {', '.join(known)}, found {text!r}")
        return replace(cls(), **given)
