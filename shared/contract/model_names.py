"""Parses ids: a model blob's name -> device and sensor, or a refusal. Pure.

A device's id is used in file names, JSON, URLs and Parquet. An id that could break out there, or be taken for another
id, is refused here, once; all other code trusts ids. docs/decisions/0011-ids.md lists what is refused and why.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from .documents import pick_fields
from .domain import Model, ModelFile
from .errors import Malformed
from .fleet.formats import ModelFormats
from .reasons import Reason

ID_LIMIT = 255  # characters of a device's or a sensor's id
DEFAULT_PATTERN = "{device}[/{sensor}].{ext}"
STEP_LIMIT = 366 * 24 * 3600 * 10**6  # microseconds between two values of an array

# Listed one by one, since Unicode categories change with the version of Python. In order: characters that XML cannot
# hold (one such name makes a container impossible to list) or obstore refuses, line ends, surrogates, characters that
# change the direction of text, and the backslash, which Azure converts to a slash.
_UNUSABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ufffe\uffff\u2028\u2029\ud800-\udfff\u202a-\u202e\u2066-\u2069\\]")
_LAST = "\U0010ffff"  # no text sorts after all that begins with it
_PARTS = re.compile(r"(\{\w*\}|\[|\])")
_OPTIONAL = re.compile(r"\[[^][]*\{sensor\}[^][]*\]")


@dataclass(frozen=True, slots=True)
class Blob:
    """One entry of a listing."""

    name: str
    etag: str
    size: int


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
    """A blob's name as one line for logs and documents; different names stay different.

    A name that gives valid ids is not changed.
    """
    return _UNUSABLE.sub(lambda c: c[0].encode("unicode_escape").decode(), name)


def explain_refusal(name: str, formats: ModelFormats) -> str:
    """Why a blob of this name is refused as BAD_NAME, as far as the name alone shows it."""
    for part in name.removesuffix(formats.split_extension(name)).split("/"):
        problem = find_id_problem(part)
        if problem:
            return f"its part {format_name(part)[:80]!r} {problem}"
    if _drops_dots(name):
        return "a part of it ends in a dot, which Azure drops"
    return "it matches MODEL_NAMES in no way or in more than one, or its ids cannot be used"


def _make_refused_model(blob: Blob) -> Model:
    """A model whose name gives no ids. Its id, `./` and the name, is unique among all models."""
    return Model(".", format_name(blob.name), blob.name, blob.etag, Reason.BAD_NAME, blob.size)


@dataclass(frozen=True, slots=True)
class _Places:
    """What is before a device's id in the names of its models, and the least and the greatest text that follows it."""

    before: str
    least: str
    greatest: str  # further text may follow


@dataclass(frozen=True, slots=True)
class ModelNames:
    """The pattern of model blobs' names: `{device}`, `{sensor}`, `{ext}`, and `[…]` around a sensor's part.

    Without `{ext}` the extension is optional. Two names give the same ids only if they differ in nothing but
    their extensions, which *formats* says.
    """

    pattern: str = DEFAULT_PATTERN
    formats: ModelFormats = field(default_factory=ModelFormats)
    _lazy: re.Pattern[str] = field(init=False, repr=False, compare=False)
    _greedy: re.Pattern[str] = field(init=False, repr=False, compare=False)
    _places: _Places = field(init=False, repr=False, compare=False)

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
        object.__setattr__(self, "_places", _find_places(stem, has_ending=stem != self.pattern))

    def parse_model(self, blob: Blob) -> Model | None:
        """The model in a blob, perhaps refused; None if the name is not that of a model."""
        extension = self.formats.split_extension(blob.name)
        if not extension and "{ext}" in self.pattern:
            return None
        # With the extension of a model it is meant as one: refuse it rather than ignore it.
        return self._parse_stem(blob.name.removesuffix(extension), blob) or (
            _make_refused_model(blob) if extension else None
        )

    def parse_folder(self, path: str, blob: Blob) -> Model:
        """The model that is the folder at *path* (without a slash at the end), of which *blob* says that it is one."""
        return self._parse_stem(path, blob) or _make_refused_model(blob)

    def _parse_stem(self, stem: str, blob: Blob) -> Model | None:
        """The model of a name without extension, perhaps refused; None where the pattern does not fit."""
        lazy, greedy = self._lazy.fullmatch(stem), self._greedy.fullmatch(stem)
        if lazy is None or greedy is None:
            return None
        ids = lazy.groupdict()
        bad = any(find_id_problem(text) for text in ids.values() if text is not None)
        if bad or lazy.groups() != greedy.groups() or _drops_dots(blob.name):
            return _make_refused_model(blob)
        return Model(ids["device"], ids.get("sensor") or "", blob.name, blob.etag, size=blob.size)

    def make_listing_key(self, device: str) -> str:
        """A text by which devices are compared in the order in which a listing has their last models.

        It is the beginning of the greatest name that a model of the device may have: `pump-1`, `pump`, `pump/a` are
        listed in this order, since "-" sorts before "." and "." before "/".
        """
        return f"{self._places.before}{device}{self._places.greatest}"

    def are_apart(self, device: str, other: str) -> bool:
        """Whether every listing has all models of the one device before all models of the other, whatever they are.

        Not so where one id begins with the other: `pump.skops`, `pump.x.skops`, `pump/a.skops` are listed in this
        order. Nor where a sensor comes before the device, nor beyond U+FFFF, where some stores list by UTF-16.
        """
        if "{sensor}" in self._places.before or max(device + other, default="") > "\uffff":
            return False
        shorter, longer = sorted((device, other), key=len)
        rest = longer.removeprefix(shorter) if longer.startswith(shorter) else None
        if rest is None:
            return True
        least, greatest = self._places.least, self._places.greatest + _LAST
        return f"{rest}{self._places.greatest}{_LAST}" < least or rest + least > greatest


def make_files_etag(files: Iterable[ModelFile]) -> str:
    """The etag of a model of several files: it changes with the name or the content of any of them."""
    pairs = sorted((file.name, file.etag) for file in files)
    data = json.dumps(pairs, ensure_ascii=True, separators=(",", ":")).encode()
    return f"m-{hashlib.sha256(data).hexdigest()[:16]}"


def _drops_dots(name: str) -> bool:
    """Whether Azure stores this blob under another name: it drops dots at the end of a part of the path."""
    return any(part.endswith(".") for part in name.split("/"))


def _is_unambiguous(stem: str) -> bool:
    """Whether each name of this pattern gives one pair of ids, and stays in its folder."""
    full, bare = _OPTIONAL.sub(lambda part: part[0][1:-1], stem), _OPTIONAL.sub("", stem)
    if bare.count("{device}") != 1 or full.count("{sensor}") > 1:
        return False
    samples = {text.replace("{device}", "d").replace("{sensor}", "s") for text in (full, bare)}
    # A part that is empty or made of dots by the pattern itself would be read as another path.
    parts = [part for sample in samples for part in sample.split("/")]
    return not any(find_id_problem(part) or _drops_dots(part) or set(part) & set("[]{}") for part in parts)


def _find_places(stem: str, *, has_ending: bool) -> _Places:
    """Where a listing may have the models of a device, by the stem of a pattern.

    A model without an ending may be listed after all names that begin with its own: `list_fleet` holds it back.
    """
    least, greatest = set[str](), set[str]()
    for text in (stem.replace("[", "").replace("]", ""), _OPTIONAL.sub("", stem)):
        after, sensor, _ = text.partition("{device}")[2].partition("{sensor}")
        if has_ending and not sensor:
            least.add(f"{after}.")
            greatest.add(f"{after}/")  # of a folder with an MLmodel
        else:
            least.add(after)
            greatest.add(after if sensor and after else f"{after}{_LAST}")
    before = stem.replace("[", "").replace("]", "").partition("{device}")[0]
    return _Places(before, min(least), max(greatest, key=lambda text: text + _LAST))


def _build_regex(stem: str, repeat: str) -> str:
    patterns = {
        "{device}": f"(?P<device>[^/]{repeat})",
        "{sensor}": f"(?P<sensor>[^/]{repeat})",
        "[": "(?:",
        "]": ")?",
    }
    return "".join(patterns.get(part, re.escape(part)) for part in _PARTS.split(stem))


_UNITS = {"us": 1, "ms": 10**3, "s": 10**6, "min": 60 * 10**6, "h": 3600 * 10**6}  # in microseconds
_UNIT = "|".join(_UNITS)
_STEP = re.compile(rf"(?P<count>\d+(?:\.\d+)?)(?P<unit>{_UNIT})|(?P<field>.+):(?P<field_unit>{_UNIT})")
_DURATION = re.compile(r"PT(?=\d)(?:(?P<h>\d+)H)?(?:(?P<min>\d+)M)?(?:(?P<s>\d+(?:\.\d+)?)S)?")
ROLES = ("time", "device", "sensor", "value")


@dataclass(frozen=True, slots=True)
class Step:
    """The time between two values of an array: *micros*, or so many for each 1 that a *field* of the object says."""

    micros: int
    field: str = ""

    @classmethod
    def parse(cls, text: str) -> Step:
        """`10s`, `500ms`, `PT10S`, or `FIELD:s` for a number of seconds in each object. Raises Malformed."""
        match, duration = _STEP.fullmatch(text), _DURATION.fullmatch(text)
        if match and match["field"]:
            return cls(_UNITS[match["field_unit"]], match["field"].strip())
        counts = duration.groupdict(default="0") if duration else {}
        if match:
            counts = {match["unit"]: match["count"]}
        micros = sum(Fraction(count) * _UNITS[unit] for unit, count in counts.items())
        if not 0 < micros <= STEP_LIMIT or micros % 1:
            raise Malformed(f"expected step=10s, step=PT10S or step=FIELD:s (us, ms, s, min or h), got {text!r}")
        return cls(int(micros))

    def format(self) -> str:
        """A text that is parsed to this step."""
        if not self.field:
            return f"{self.micros}us"
        unit = next(unit for unit, micros in _UNITS.items() if micros == self.micros)
        return f"{self.field}:{unit}"


@dataclass(frozen=True, slots=True)
class Columns:
    """The names of the readings' columns. A file with no *value* column is wide: its other columns are features.

    With *features*, the name of an object of JSON, only the fields below it are features, by the rest of their names.
    *step* is the time between the values of an array; None: an array is no column.
    """

    time: str = "time"
    device: str = "device"
    sensor: str = "sensor"
    value: str = "value"
    features: str = ""
    step: Step | None = None

    @classmethod
    def parse(cls, text: str) -> Columns:
        """`time=TS,device=Device,features=telemetry.*,...`; others keep their default. Raises Malformed."""
        pairs = [pair.partition("=") for pair in text.split(",")] if text else []
        names = {key.strip(): name.strip() for key, _, name in pairs}
        keys = cls.__slots__
        other_separator = re.search(rf"[^,]\b({'|'.join(keys)})\s*=", text)  # `time=TS;device=Device` names one column
        if len(names) < len(pairs) or not all(names.values()) or set(names) - set(keys) or other_separator:
            raise Malformed(f"expected KEY=NAME,... with keys of {', '.join(keys)}, separated by commas, got {text!r}")
        if "features" in names:
            names["features"] = _parse_prefix(names["features"])
            if "value" in names:
                raise Malformed(f"expected value or features, which exclude one another, got {text!r}")
        step = Step.parse(names["step"]) if "step" in names else None
        columns = cls(**{key: name for key, name in names.items() if key != "step"}, step=step)
        roles = [name for key, name in names.items() if key in ROLES]
        if len(set(roles)) < len(roles):
            raise Malformed(f"expected different names for {', '.join(names)}, got {text!r}")
        return columns

    def to_json(self) -> dict[str, str]:
        """For a manifest: what is newer than 0.1 only where it is set, so that others stay the same bytes."""
        texts = {**self.roles, "features": self.features, "step": self.step.format() if self.step else ""}
        return {key: name for key, name in texts.items() if key in ROLES or name}

    @classmethod
    def from_json(cls, doc: Any) -> Columns:
        """Of a manifest. Raises TypeError, Malformed."""
        texts = {key: str(name) for key, name in pick_fields(cls, doc).items()}
        step = texts.pop("step", "")
        return cls(**texts, step=Step.parse(step) if step else None)

    @property
    def is_nested(self) -> bool:
        """Whether an older reader of these names would read other columns."""
        return bool(self.features or self.step)

    @property
    def roles(self) -> dict[str, str]:
        """The names of single columns, by what they are."""
        return {key: getattr(self, key) for key in ROLES}


def _parse_prefix(text: str) -> str:
    prefix = text.removesuffix(".*")
    if prefix == text or not prefix or "*" in prefix:
        raise Malformed(f"expected features=NAME.*, where NAME is an object of JSON, got {text!r}")
    return prefix
