"""What the command `readings convert` says at its end: to a person, or to a program as JSON. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from .unscored import Output


@dataclass(frozen=True, slots=True)
class ReadingsSummary:
    """What was converted, what became a gap, and what was left out."""

    files: Mapping[str, int]  # by format
    devices: int
    sensors: int
    readings: int  # gaps too
    rows: int
    hours: int
    wide: bool
    replaced: int  # readings by a later one of the same device, sensor and time
    gaps: Mapping[str, int]  # readings, by reason
    left_out: Mapping[str, int]  # by kind
    ignored: Mapping[str, int]  # files of other formats, by their ending
    warnings: Sequence[str]
    target: str

    def format(self, output: Output) -> str:
        """The text to print, without the last line's end."""
        if output is Output.JSON:
            return json.dumps(asdict(self), indent=2, ensure_ascii=False)
        lines = [f"warning: {text}" for text in self.warnings]
        if self.ignored:
            lines.append(
                f"note: {sum(self.ignored.values())} files of other formats were ignored: {_list(self.ignored)}"
            )
        if self.gaps:
            lines.append(f"note: {sum(self.gaps.values())} of {self.readings} readings are gaps: {_list(self.gaps)}")
        if self.replaced:
            lines.append(f"note: {self.replaced} readings were replaced by a later one of the same sensor and time")
        if self.left_out:
            lines.append(f"note: left out: {_list(self.left_out)}")
        form = "wide: a column for each sensor" if self.wide else "long: a row for each reading"
        total = (
            f"{sum(self.files.values())} files ({_list(self.files)}) converted: {self.devices} devices, {self.sensors} "
            f"sensors, {self.readings} readings; {self.rows} rows ({form}) of {self.hours} hours in {self.target}"
        )
        return "\n".join([*lines, total])


def _list(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())
