"""How devices and sensors are named: from parts of a file, by a template or by a pattern. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from shared.contract.errors import Malformed

_PLACE = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class Template:
    """A name that is put together: `{group}.{channel}`, or the same for all: `pump1`."""

    text: str

    @classmethod
    def parse(cls, text: str) -> Template:
        """Raises Malformed."""
        if not text or "" in _PLACE.findall(text) or set(_PLACE.sub("", text)) & set("{}"):
            raise Malformed(f"expected a name with parts such as {{file}} or {{channel}}, got {text!r}")
        return cls(text)

    @property
    def parts(self) -> frozenset[str]:
        """The names in braces."""
        return frozenset(_PLACE.findall(self.text))

    def fill(self, parts: Mapping[str, str]) -> str:
        """The name. Raises Malformed where a part is missing."""
        if missing := sorted(self.parts - parts.keys()):
            available = ", ".join(f"{{{name}}}" for name in sorted(parts)[:20])
            raise Malformed(f"expected one of {available or 'no parts'}, got {{{missing[0]}}} in {self.text!r}")
        return _PLACE.sub(lambda match: parts[match[1]], self.text)


@dataclass(frozen=True, slots=True)
class NamePattern:
    """How one name holds both: `{device}_{sensor}`, or `{device}` alone, whose sensor is `value`.

    "": the part behind the last slash or colon is the sensor; a device's URN (RFC 9039) alone has no such part.
    """

    text: str = ""

    @classmethod
    def parse(cls, text: str) -> NamePattern:
        """Raises Malformed."""
        places = _PLACE.findall(text)
        if text and (sorted(places) not in (["device"], ["device", "sensor"]) or "}{" in text):
            raise Malformed(f"expected a pattern such as {{device}}/{{sensor}}, got {text!r}")
        return cls(text)

    def split(self, name: str) -> tuple[str, str]:
        """The device and the sensor; the sensor begins as late as it can. Raises Malformed for a name that differs."""
        match = self._compile().fullmatch(name)
        if match is None or (not self.text and _URN.fullmatch(name)):
            expected = self.text or "DEVICE:SENSOR or DEVICE/SENSOR"
            raise Malformed(
                f"expected a name such as {expected}, got {name!r}; set --name-pattern, such as "
                "'{device}_{sensor}', or '{device}' for devices of one sensor"
            )
        return match["device"], match.groupdict().get("sensor", "value")

    def _compile(self) -> re.Pattern[str]:
        if not self.text:
            return _LAST_PART
        parts = _PLACE.split(self.text)
        return re.compile("".join(re.escape(part) if i % 2 == 0 else f"(?P<{part}>.+)" for i, part in enumerate(parts)))


_LAST_PART = re.compile(r"(?P<device>.+)[/:](?P<sensor>[^/:]+)")
_URN = re.compile(r"urn:dev:[a-z]+:[^:/]*")  # of a device, without a part for the sensor


@dataclass(frozen=True, slots=True)
class FilePattern:
    """Which part of a file's name, without its ending, `{file}` is: `{file}_*`. "": all of it."""

    text: str = ""

    @classmethod
    def parse(cls, text: str) -> FilePattern:
        """Raises Malformed."""
        if text and _PLACE.findall(text) != ["file"]:
            raise Malformed(f"expected a pattern with {{file}} such as {{file}}_*, got {text!r}")
        return cls(text)

    def find_part(self, stem: str) -> str:
        """That part, as short as it can be. Raises Malformed for a name that differs."""
        pattern = "".join(
            {"{file}": "(?P<file>.+?)", "*": ".*"}.get(part, re.escape(part))
            for part in re.split(r"(\{file\}|\*)", self.text or "{file}")
        )
        match = re.fullmatch(pattern, stem)
        if match is None:
            raise Malformed(f"expected a file named {self.text} (--file-names), got {stem!r}")
        return match["file"]
