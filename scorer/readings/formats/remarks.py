"""What a file of readings showed beside its rows: what nothing but the file says, and what was left out of it."""

from __future__ import annotations

from dataclasses import dataclass

from scorer.readings.cells import make_unreadable
from shared.contract.scoring_options import BadRows


@dataclass(frozen=True, slots=True)
class Remarks:
    """Of one file. Numbers are counts, for the warnings of a report."""

    is_cut: bool = False  # it is a text that ends within a row or an array, which is left out
    found_commas: bool = False  # its decimals have commas, as nothing but the file itself says
    found_comments: int = 0  # lines that were taken for comments, as nothing but the file says
    n_invalid: int = 0  # objects, records and bodies that cannot be read, or whose arrays differ, and were left out
    n_empty: int = 0  # events without a Body

    def check_rows(self, bad_rows: BadRows) -> None:
        """Raises Unscorable where something was left out that cannot be read, and BAD_ROWS says that this fails."""
        if self.n_invalid and bad_rows is BadRows.FAIL:
            raise make_unreadable(
                f"has {self.n_invalid} objects or events that cannot be read: expected a Body of JSON, or of CSV with "
                "a header, and arrays of one length, with a step above 0 where they have several values"
            )


NO_REMARKS = Remarks()
