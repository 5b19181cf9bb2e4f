"""Small Parquet files of one schema: the `Footer` of one serves for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from scorer.readings.cells import BROKEN, make_unreadable
from scorer.readings.projection import Projection
from shared.contract.scoring_options import ReadingOptions

from .parquet_reader import Footer, open_groups, restore_types
from .text_reader import Table

ALIKE_BYTES = 16 * 2**20  # of numbers of a file: a small file that unpacks to more is read alone


@dataclass(frozen=True, slots=True)
class AlikeReader:
    """Reads small files of the schema of one. Our `Footer` is made of that one; pyarrow opens each of the others.

    So their rows are not chosen by statistics, which would not pay: each is read as a whole.
    """

    footer: Footer
    schema: Any  # of Parquet
    names: tuple[str, ...]

    @classmethod
    def open(cls, data: bytes, footer: Footer, projection: Projection) -> AlikeReader:
        """*data*: the file of the footer. Raises Unscorable."""
        opened = open_groups(pa.BufferReader(data), footer)
        return cls(footer, opened.schema, footer.select_columns(projection))

    def read(self, data: bytes, policy: ReadingOptions) -> Table | None:
        """The rows of a file of one row group; None where it is not alike. Raises Unscorable."""
        from pyarrow import parquet

        footer = self.footer
        try:
            opened = parquet.ParquetFile(
                pa.BufferReader(data), read_dictionary=list(footer.texts), coerce_int96_timestamp_unit="us",
                page_checksum_verification=True,
            )  # fmt: skip
            n_rows = opened.metadata.num_rows
            is_alike = opened.metadata.num_row_groups == 1 and opened.schema.equals(self.schema)
            if not is_alike or not 0 < n_rows * 8 * len(footer.names) <= ALIKE_BYTES:
                return None
            rows = opened.read_row_group(0, columns=self.names or footer.names[:1], use_threads=False)
            if rows.num_rows != n_rows:
                return None
        except BROKEN as error:
            raise make_unreadable(f"Parquet: {error}") from error
        unread = tuple(name for name in footer.features if name not in self.names)
        rows = restore_types(rows, footer)
        return Table(
            footer.columns, rows, footer.has_sensor, policy.time, policy.time_zone, policy.missing_values, unread=unread
        )


def find_only_device(table: Table) -> str:
    """The device of a table whose ids are texts of one device, without a gap; else ""."""
    column = table.rows[table.columns.device]
    if not pa.types.is_dictionary(column.type) or column.num_chunks != 1 or column.null_count:
        return ""
    ids = column.chunk(0).dictionary
    return str(ids[0]) if len(ids) == 1 and pa.types.is_string(ids.type) else ""
