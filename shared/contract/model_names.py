"""The door for ids: a model blob's name -> device and sensor, or the reason why not. Pure.

A device's id ends up in file names, in JSON, in URLs and in Parquet. What could leave its place there, or be taken
for another id, is refused here, once; everything behind the door trusts it. What is refused and why is a table in
docs/decisions/0011-ids.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from .domain import Model, Reason
from .errors import Malformed

EXTENSIONS = (".skops", ".joblib", ".pkl", ".pickle")
ID_LIMIT = 255  # characters of a device's or a sensor's id
DEFAULT_PATTERN = "{device}[/{sensor}].{ext}"

# Named one by one, since a Unicode category changes with the version of Python. In their order: what XML cannot carry
# (one such name and a container cannot be listed any more) or obstore refuses, what ends a line, what is half a
# character, what turns round the text that follows it, and what Azure makes a slash of.
_UNUSABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ufffe\uffff\u2028\u2029\ud800-\udfff\u202a-\u202e\u2066-\u2069\\]")
_PARTS = re.compile(r"(\{\w*\}|\[|\])")
_OPTIONAL = re.compile(r"\[[^][]*\{sensor\}[^][]*\]")


@dataclass(frozen=True, slots=True)
class Blob:
    """One line of a listing."""

    name: str
    etag: str
    size: int


@dataclass(slots=True)
class IgnoredFiles:
    """Blobs that lie among the models and are none: how many, and the first few."""

    count: int = 0
    examples: list[str] = field(default_factory=list)

    def append(self, name: str) -> None:
        """Count one; memory does not grow with them."""
        self.count += 1
        if self.count <= 3:  # noqa: PLR2004  # enough for a person to see what they are
            self.examples.append(format_name(name))


def find_id_problem(text: str) -> str | None:
    """Why *text* cannot be the id of a device or a sensor; None when it can."""
    if not text or text in (".", ".."):
        return "is empty or a path's dots"
    if len(text) > ID_LIMIT:
        return f"has {len(text)} characters, more than {ID_LIMIT}"
    unusable = _UNUSABLE.search(text)
    if unusable:
        return f"holds the character U+{ord(unusable[0]):04X}, which is a backslash or no text"
    if "/" in text:
        return "holds a slash"
    if text != text.strip():
        return "begins or ends with white space"
    return None


def format_name(name: str) -> str:
    """A blob's name as one line that every log and document can hold; two names are never shown alike.

    A name that gives good ids is shown as it is.
    """
    return _UNUSABLE.sub(lambda c: c[0].encode("unicode_escape").decode(), name)


def explain_refusal(name: str) -> str:
    """Why a blob of this name is refused as BAD_NAME, as far as the name alone can tell; the pattern knows the rest."""
    for part in name.removesuffix(_split_extension(name)).split("/"):
        problem = find_id_problem(part)
        if problem:
            return f"its part {format_name(part)[:80]!r} {problem}"
    if _drops_dots(name):
        return "a part of it ends in a dot, which Azure drops"
    return "it fits MODEL_NAMES in no way or in more than one, or not with ids that can be used"


def _make_refused_model(blob: Blob) -> Model:
    """A model whose name gives no ids. Its own id, `./` and the name, is no other model's, good or bad."""
    return Model(".", format_name(blob.name), blob.name, blob.etag, Reason.BAD_NAME, blob.size)


@dataclass(frozen=True, slots=True)
class ModelNames:
    """The pattern that model blobs are named by: `{device}`, `{sensor}`, `{ext}`, and `[…]` around a sensor's part.

    Without `{ext}` the extension may be there or not. Two names give the same ids only if they differ in nothing but
    their extensions.
    """

    pattern: str = DEFAULT_PATTERN
    _lazy: re.Pattern[str] = field(init=False, repr=False, compare=False)
    _greedy: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Raises Malformed for a pattern that cannot work."""
        stem = self.pattern.removesuffix(".{ext}")
        if not _is_unambiguous(stem):
            raise Malformed(
                "expected a pattern with {device} once and perhaps {sensor}, both or [a part with the sensor] between "
                "the slashes of a plain path, and .{ext} at its end, "
                f"such as {DEFAULT_PATTERN}, got {self.pattern!r}"
            )
        object.__setattr__(self, "_lazy", re.compile(_build_regex(stem, "+?")))
        object.__setattr__(self, "_greedy", re.compile(_build_regex(stem, "+")))

    def parse_model(self, blob: Blob) -> Model | None:
        """The model that a blob holds, perhaps refused; None where the name is not a model's at all."""
        extension = _split_extension(blob.name)
        if not extension and "{ext}" in self.pattern:
            return None
        stem = blob.name.removesuffix(extension)
        lazy, greedy = self._lazy.fullmatch(stem), self._greedy.fullmatch(stem)
        if lazy is None or greedy is None:
            # It has the ending of a model, so somebody means it as one: say so rather than pass over it.
            return _make_refused_model(blob) if extension else None
        ids = lazy.groupdict()
        bad = any(find_id_problem(text) for text in ids.values() if text is not None)
        if bad or lazy.groups() != greedy.groups() or _drops_dots(blob.name):
            return _make_refused_model(blob)
        return Model(ids["device"], ids.get("sensor") or "", blob.name, blob.etag, size=blob.size)

    def list_fleet(self, blobs: Iterable[Blob], ignored: IgnoredFiles) -> Iterator[Model]:
        """The models of a sorted listing, as it streams by; names that are no model's go to *ignored*.

        Two blobs of one model are both refused as ambiguous, and count as one model. Such names differ in the
        extension only, so all between them in any lexicographic order begin with the same stem: a model is held back
        while the listing still does. What is held never exceeds the length of a name.
        """
        held: dict[str, tuple[str, Model]] = {}  # by id: the beginning that a rival's name would have, and the model
        for blob in blobs:
            for model_id in [i for i, (beginning, _) in held.items() if not blob.name.startswith(beginning)]:
                yield held.pop(model_id)[1]
            model = self.parse_model(blob)
            if model is None:
                ignored.append(blob.name)
            elif model.id in held:
                beginning, rival = held[model.id]
                held[model.id] = beginning, replace(rival, refused=rival.refused or Reason.AMBIGUOUS)
            else:
                extension = _split_extension(blob.name)
                held[model.id] = blob.name.removesuffix(extension) + ("." if extension else ""), model
        yield from (model for _, model in held.values())


def _split_extension(name: str) -> str:
    return next((e for e in EXTENSIONS if name.endswith(e)), "")


def _drops_dots(name: str) -> bool:
    """Whether Azure keeps this blob under another name: without the dots that a part of its path ends in."""
    return any(part.endswith(".") for part in name.split("/"))


def _is_unambiguous(stem: str) -> bool:
    """Whether names of this pattern give one pair of ids each, and stay where they are."""
    full, bare = _OPTIONAL.sub(lambda part: part[0][1:-1], stem), _OPTIONAL.sub("", stem)
    if bare.count("{device}") != 1 or full.count("{sensor}") > 1:
        return False
    samples = {text.replace("{device}", "d").replace("{sensor}", "s") for text in (full, bare)}
    # A part that the pattern itself leaves empty or makes of dots would be read as another path.
    parts = [part for sample in samples for part in sample.split("/")]
    return not any(find_id_problem(part) or _drops_dots(part) or set(part) & set("[]{}") for part in parts)


def _build_regex(stem: str, repeat: str) -> str:
    patterns = {
        "{device}": f"(?P<device>[^/]{repeat})",
        "{sensor}": f"(?P<sensor>[^/]{repeat})",
        "[": "(?:",
        "]": ")?",
    }
    return "".join(patterns.get(part, re.escape(part)) for part in _PARTS.split(stem))


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
        names = {key.strip(): name.strip() for key, _, name in pairs}
        keys = cls.__slots__
        if len(names) < len(pairs) or not all(names.values()) or set(names) - set(keys):
            raise Malformed(f"expected KEY=NAME,... with keys of {', '.join(keys)}, got {text!r}")
        return replace(cls(), **names)
