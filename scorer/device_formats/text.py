"""Files of text: UTF-8, with or without a byte order mark."""

from __future__ import annotations

import codecs
from dataclasses import dataclass, field
from io import BufferedReader

from shared.contract.errors import Malformed


@dataclass(slots=True)
class TextFile:
    """A file's text, read in order. Line ends stay what they are."""

    file: BufferedReader
    decoder: codecs.IncrementalDecoder = field(default_factory=codecs.getincrementaldecoder("utf-8-sig"))

    def read(self, size: int) -> str:
        """At least one more character, of about *size* bytes; "" at the end. Raises Malformed for other encodings."""
        while True:
            data = self.file.read(size)
            try:
                text = self.decoder.decode(data, final=not data)
            except UnicodeDecodeError as error:
                raise Malformed(
                    f"expected text in UTF-8, got other bytes before byte {self.file.tell()}: {error.reason}"
                ) from error
            if text or not data:
                return text
