"""The settings of the app for nodes, which every manifest carries. Pure."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any, Self

from .documents import NEWEST, pick_fields
from .errors import Malformed
from .windows import parse_zone


class BadRows(StrEnum):
    """What happens to a row with a cell that is neither a number nor missing, or with an invalid time."""

    SKIP = "skip"  # it is counted, and left out for the models that use the cell
    FAIL = "fail"  # the models that use the cell fail


class TimeFormat(StrEnum):
    """The form of instants in the files. A column of timestamps is accepted with each of these."""

    ISO = "iso"  # ISO 8601; without an offset it is of the fleet's zone
    S = "s"  # since 1970
    MS = "ms"
    US = "us"
    NS = "ns"


AS_IN_FILE = "as-in-file"


@dataclass(frozen=True, slots=True)
class Features:
    """Which feature is which for models that were fitted without names. Without a choice such models are refused."""

    names: tuple[str, ...] = ()  # in the models' order
    in_file_order: bool = False  # wide readings: the order of the files' columns
    assumed: bool = False  # no person chose it: the deployment is from before there was a choice

    @classmethod
    def parse(cls, text: str) -> Self:
        """Empty for no choice, `as-in-file`, or names: `temp,amps,flow` or a JSON list of texts. Raises Malformed."""
        if text.strip() in ("", AS_IN_FILE):
            return cls(in_file_order=bool(text.strip()))
        try:
            names = json.loads(text) if text.lstrip().startswith("[") else [name.strip() for name in text.split(",")]
        except ValueError:
            names = []
        if not names or not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
            raise Malformed(f"expected {AS_IN_FILE}, or different names such as temp,amps,flow, got {text!r}")
        if len(names) == 1 and ";" in names[0] and not text.lstrip().startswith("["):
            raise Malformed(f"expected names with commas between them, or a JSON list of texts, got {text!r}")
        return cls(tuple(names))

    def describe_order(self) -> str:
        """The names, or `as-in-file`, `assumed` (the same, without a choice) or `refused`."""
        if self.names:
            return ",".join(self.names)
        return "assumed" if self.assumed else AS_IN_FILE if self.in_file_order else "refused"


class Gaps(StrEnum):
    """What happens to a row that lacks one of a model's features."""

    MODEL = "model"  # it is given to models that were trained to bear it; for the others it is left out and counted
    GIVE = "give"  # it is given to every model
    DROP = "drop"  # it is left out and counted for every model


def parse_missing_values(text: str) -> tuple[float, ...]:
    """Numbers that stand for a missing value: `-999,65535`. Raises Malformed."""
    try:
        numbers = tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        numbers = (math.nan,)
    if not all(map(math.isfinite, numbers)):
        raise Malformed(f"expected numbers such as -999,65535, got {text!r}")
    return numbers


# Characters that `CsvOptions` has words for: those that are hard to write in a setting.
_WORDS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|", "space": " "}
_SIGNS = "#%!*/;,|:&~^@$=<>?"  # no letters, digits, quotes, brackets, or what a number may begin with
_CSV = "expected such as separator=semicolon,decimal=comma,comment=#"


@dataclass(frozen=True, slots=True)
class CsvOptions:
    """What is set about CSV files, each one character. The rest is found in each file, or the file is refused."""

    separator: str = ""  # between columns
    decimal: str = ""  # the sign in decimals: a point or a comma
    comment: str = ""  # how a line begins that is no row

    @classmethod
    def parse(cls, text: str) -> Self:
        """Pairs of a key and a character or its word: `separator=tab,decimal=comma,comment=#`. Raises Malformed."""
        pairs = [part.strip().partition("=") for part in text.split(",")] if text.strip() else []
        signs = {key: {**_WORDS, "point": "."}.get(word, word) for key, _, word in pairs}
        if len(signs) < len(pairs) or not signs.keys() <= set(cls.__slots__) or "" in signs.values():
            raise Malformed(f"{_CSV}, got {text!r}")
        return cls(**signs).check()

    def check(self) -> Self:
        """The same; raises Malformed where one of the characters cannot be what it is set to be."""
        if self.decimal not in ("", ".", ","):
            raise Malformed(f"decimal: expected point or comma, got {self.decimal!r}")
        for name, sign, blanks in (("separator", self.separator, "\t "), ("comment", self.comment, "")):
            if sign and not (len(sign) == 1 and (sign in _SIGNS or sign in blanks)):
                words = ", ".join(_WORDS) if blanks else "#"
                raise Malformed(f"{name}: expected one character such as {words} or one of {_SIGNS}, got {sign!r}")
        if self.separator and self.separator == self.comment:
            raise Malformed(f"expected a comment that is not the separator, got {self.comment!r} for both")
        return self


@dataclass(frozen=True, slots=True)
class ReadingOptions:
    """How a fleet's readings are read."""

    bad_rows: BadRows = BadRows.SKIP
    time: TimeFormat = TimeFormat.ISO
    time_zone: str = ""  # of times without an offset; "": UTC, and the report counts them
    features: Features = field(default_factory=Features)
    gaps: Gaps = Gaps.MODEL
    missing_values: tuple[float, ...] = ()
    csv: CsvOptions = field(default_factory=CsvOptions)

    def to_json(self, schema: int, *, has_tokens: bool = False) -> dict[str, Any]:
        """For a manifest. In schema 1 *time* ends with a blank and the zone, so that nodes before 0.2.0 refuse it.

        With a blank alone where CSV is set and no zone: those nodes would read other numbers. Likewise where the path
        of the readings *has_tokens*: those nodes would take them for names, and find no readings.
        """
        doc = {
            "bad_rows": self.bad_rows,
            "time": self.time,
            "features": asdict(self.features),
            "gaps": self.gaps,
            "missing_values": self.missing_values,
        }
        signs = {name: sign for name, sign in asdict(self.csv).items() if sign}
        doc |= {"csv": signs} if signs else {}
        if schema == 1 and (signs or has_tokens or self.time_zone not in ("", "UTC")):
            return {**doc, "time": f"{self.time} {self.time_zone}"}
        return {**doc, "time_zone": self.time_zone} if self.time_zone else doc

    @classmethod
    def from_json(cls, doc: dict[str, Any]) -> Self:
        """Raises KeyError, TypeError, ValueError, Malformed. A manifest of 0.1 has no choice of features."""
        form, _, zone = str(doc["time"]).partition(" ")
        features = doc.get("features", {"in_file_order": True, "assumed": True})
        return cls(
            BadRows(doc["bad_rows"]),
            TimeFormat(form),
            check_zone(zone or doc.get("time_zone", "")),
            Features(
                tuple(map(str, features.get("names", ()))),
                bool(features.get("in_file_order", False)),
                bool(features.get("assumed", False)),
            ),
            Gaps(doc.get("gaps", Gaps.MODEL)),
            tuple(map(float, doc.get("missing_values", ()))),
            CsvOptions(**{name: str(sign) for name, sign in doc.get("csv", {}).items()}).check(),
        )


def check_zone(name: str) -> str:
    """The name of a zone that is known here, or ""; raises Malformed."""
    return parse_zone(name).key if name else ""


class OtherVersion(StrEnum):
    """What happens to a model of another scikit-learn version than that of the nodes."""

    WARN = "warn"  # it is scored, with a warning in the report
    REFUSE = "refuse"  # it fails


@dataclass(frozen=True, slots=True)
class OtherVersions:
    """The choice for each format of model files."""

    skops: OtherVersion = OtherVersion.WARN
    pickle: OtherVersion = OtherVersion.WARN

    @classmethod
    def parse(cls, text: str) -> Self:
        """`warn`, `refuse`, or by format: `skops=warn,pickle=refuse`. Raises Malformed."""
        try:
            if "=" not in text:
                return cls(OtherVersion(text), OtherVersion(text))
            pairs = [pair.strip().split("=", 1) for pair in text.split(",")]
            if len({kind for kind, _ in pairs}) < len(pairs):
                raise ValueError
            return replace(cls(), **{kind: OtherVersion(word) for kind, word in pairs})
        except (ValueError, TypeError):
            raise Malformed(f"expected warn, refuse, or skops=warn,pickle=refuse, got {text!r}") from None


class UnmodelledDevices(StrEnum):
    """What is done about devices that have readings and no model."""

    COUNT = "count"  # the report counts them, and names some
    OFF = "off"  # they are not looked for


class Probabilities(StrEnum):
    """Which probabilities of a classifier are written."""

    LABEL = "label"  # that of each row's label, beside it
    ALL = "all"  # a further row for each class too, whose `output` is the class; of classifiers with one output


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one model, and of readings on a node."""

    model_bytes: int = 256 * 2**20  # of its file, compressed or not
    model_seconds: float = 60.0  # from its file to its scores, if scikit-learn scores it
    model_memory: int = 4 * 2**30  # bytes, in the same case
    readings_memory: int = 2 * 2**30  # bytes, about; more is read in several passes


def _parse_limit(value: object) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise ValueError(f"expected a limit above 0, got {value!r}")
    return value


@dataclass(frozen=True, slots=True)
class ScoringOptions:
    """All options of a node."""

    readings: ReadingOptions = field(default_factory=ReadingOptions)
    other_versions: OtherVersions = field(default_factory=OtherVersions)
    limits: Limits = field(default_factory=Limits)
    unmodelled: UnmodelledDevices = UnmodelledDevices.OFF  # as of a manifest that does not say it
    probabilities: Probabilities = Probabilities.LABEL

    def assume_features(self) -> Self:
        """The same; without a choice, models without feature names take the order of the files, as 0.1 did."""
        if self.readings.features != Features():
            return self
        return replace(self, readings=replace(self.readings, features=Features(in_file_order=True, assumed=True)))

    def to_json(self, schema: int = NEWEST, *, has_tokens: bool = False) -> dict[str, Any]:
        """For a manifest of this schema. *has_tokens*: the path of its readings does."""
        doc = {
            "readings": self.readings.to_json(schema, has_tokens=has_tokens),
            "other_versions": asdict(self.other_versions),
            "limits": asdict(self.limits),
        }
        if schema == 1:
            return doc
        chosen = {} if self.probabilities is Probabilities.LABEL else {"probabilities": self.probabilities}
        return {**doc, "unmodelled": self.unmodelled, **chosen}

    @classmethod
    def from_json(cls, doc: dict[str, Any]) -> Self:
        """Raises KeyError, TypeError, ValueError, Malformed."""
        return cls(
            ReadingOptions.from_json(doc["readings"]),
            OtherVersions(*(OtherVersion(doc["other_versions"][kind]) for kind in OtherVersions.__slots__)),
            Limits(**{name: _parse_limit(value) for name, value in pick_fields(Limits, doc["limits"]).items()}),
            UnmodelledDevices(doc.get("unmodelled", UnmodelledDevices.OFF)),
            Probabilities(doc.get("probabilities", Probabilities.LABEL)),
        )
