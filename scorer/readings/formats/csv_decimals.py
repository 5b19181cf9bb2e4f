"""Whether the decimals of a CSV file have commas: known where its cells show it without doubt. Reads no file.

Only where columns have another separator than a comma. `1,234` may be a thousand or one, and shows nothing alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from scorer.readings.cells import combine_chunks, make_unreadable

_COMMA = r"^\s*[+-]?\d+,\d+([eE][+-]?\d+)?\s*$"
_THOUSAND = r"^\s*[+-]?[1-9]\d{0,2},\d{3}\s*$"  # or a number with three decimals
_POINT = r"^\s*[+-]?(\d+\.\d*|\.\d+)([eE][+-]?\d+)?\s*$"
_NUMERIC = r"^\s*[+-]?[\d.,' \x{A0}\x{202F}]*\d[\d.,' \x{A0}\x{202F}]*([eE][+-]?\d+)?\s*$"


@dataclass(frozen=True, slots=True)
class DecimalEvidence:
    """Cells of columns of numbers, an example of each kind that decides; "" where none was seen."""

    certain: str = ""  # has a decimal comma
    ambiguous: str = ""  # has a comma, of decimals or of thousands
    grouped: str = ""  # has a comma, and is no number with one decimal sign
    point: str = ""  # has a decimal point

    @property
    def has_commas(self) -> bool:
        """Whether some cell of numbers has a comma."""
        return bool(self.certain or self.ambiguous or self.grouped)

    def decide(self) -> bool:
        """Whether decimals have commas. Raises Unscorable where the cells do not show it."""
        if not self.has_commas:
            return False
        comma = self.grouped or self.certain or self.ambiguous
        if self.grouped:
            doubt = f"{comma!r}, which is a number neither with a point nor with a comma"
        elif self.point:
            doubt = f"{comma!r} and {self.point!r}"
        elif not self.certain:
            doubt = f"{comma!r}, which may have decimals or thousands"
        else:
            return True
        raise make_unreadable(
            f"has numbers such as {doubt}, expected decimals of one kind: "
            "set READINGS_CSV (--csv) decimal=comma or decimal=point"
        )


def add_evidence(evidence: DecimalEvidence, columns: Iterable[pa.ChunkedArray]) -> DecimalEvidence:
    """The *evidence*, and that of further columns of texts."""
    for column in columns:
        texts = combine_chunks(column).dictionary_encode().dictionary.drop_null()
        has_comma = pc.match_substring(texts, ",")
        with_comma, without = texts.filter(has_comma), texts.filter(pc.invert(has_comma))
        evidence = replace(evidence, point=evidence.point or _find_first(without, _POINT))
        if len(with_comma):
            is_plain, is_thousand = (pc.match_substring_regex(with_comma, form) for form in (_COMMA, _THOUSAND))
            evidence = DecimalEvidence(
                evidence.certain or _get_first(with_comma.filter(pc.and_not(is_plain, is_thousand))),
                evidence.ambiguous or _get_first(with_comma.filter(is_thousand)),
                evidence.grouped or _find_first(with_comma.filter(pc.invert(is_plain)), _NUMERIC),
                evidence.point,
            )
    return evidence


def write_time_points(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Times since 1970 in text, with points for their decimal commas: none has points of thousands.

    So no point is a doubt here, unlike in `cells.write_points` of the features.
    """
    array = combine_chunks(column).dictionary_encode()
    texts = pc.replace_substring(array.dictionary, ",", ".")
    return pa.chunked_array([pa.DictionaryArray.from_arrays(array.indices, texts)])


def _find_first(texts: pa.StringArray, form: str) -> str:
    return _get_first(texts.filter(pc.match_substring_regex(texts, form)))


def _get_first(texts: pa.StringArray) -> str:
    return str(texts[0].as_py()).strip() if len(texts) else ""
