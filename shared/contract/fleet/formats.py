"""The endings of models' names: the usual ones, and those of further formats that MODEL_FORMATS adds. Pure.

A name decides only whether a file is a model, and which files belong together. The content decides how it is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

from shared.contract.errors import Malformed

EXTENSIONS = (".skops", ".joblib", ".pkl", ".pickle", ".sav", ".lgb", ".ubj")  # in any case
COMPRESSIONS = (".z", ".gz", ".bz2", ".xz", ".lzma")  # that may stand behind one
FURTHER_FORMATS = ("json", "txt")  # whose files are often no models: only where a setting says so
MLMODEL = "MLmodel"  # the file by which MLflow knows a model's folder


def _compile_endings(extensions: Iterable[str]) -> re.Pattern[str]:
    """The pattern of these endings, in any case, with or without a compression; without any it matches nothing."""
    endings, compressions = ("|".join(map(re.escape, texts)) for texts in (extensions, COMPRESSIONS))
    return re.compile(rf"(?:{endings or '(?!)'})(?:{compressions})?\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ModelFormats:
    """Which endings make a name that of a model: the usual ones, and those of the *further* formats."""

    further: tuple[str, ...] = ()  # sorted; without a dot
    _extension: re.Pattern[str] = field(init=False, repr=False, compare=False)
    _further: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_extension", _compile_endings(self.extensions))
        object.__setattr__(self, "_further", _compile_endings(self.extensions[len(EXTENSIONS) :]))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Nothing, or formats of FURTHER_FORMATS with commas between them. Raises Malformed."""
        words = {word.strip() for word in text.split(",")} if text.strip() else set()
        if not words <= set(FURTHER_FORMATS):
            raise Malformed(
                f"expected {' or '.join(FURTHER_FORMATS)}, or both with a comma between them, for models that end in "
                f"them, got {text!r}; {', '.join(EXTENSIONS)} need no setting"
            )
        return cls(tuple(sorted(words)))

    def __str__(self) -> str:
        return ",".join(self.further)

    @property
    def extensions(self) -> tuple[str, ...]:
        """Each with its dot, without those of compressed files."""
        return EXTENSIONS + tuple(f".{word}" for word in self.further)

    def split_extension(self, name: str) -> str:
        """The ending of a model's name, such as `.skops` or `.PKL.gz`; "" where there is none."""
        match = self._extension.search(name)
        return match[0] if match else ""

    def is_further(self, name: str) -> bool:
        """Whether a name is that of a model only because of the further formats."""
        return self._further.search(name) is not None

    def get_stem(self, name: str) -> str:
        """The beginning of all names that a model's file may have: its name without extension, or its folder."""
        folder, _, base = name.rpartition("/")
        return folder if folder and base == MLMODEL else name.removesuffix(self.split_extension(name))

    def list_spellings(self, name: str) -> list[str]:
        """The most usual names that a model's file may have: this one, with each extension, and a folder.

        Only a listing finds the others: compressed ones, and those in capital letters.
        """
        stem = self.get_stem(name)
        if stem == name:
            return [name]
        return list(
            dict.fromkeys([name, *(f"{stem}{extension}" for extension in self.extensions), f"{stem}/{MLMODEL}"])
        )


ALL_FORMATS = ModelFormats(FURTHER_FORMATS)
