"""The texts of a classifier's classes, as labels are written."""

from __future__ import annotations

from collections.abc import Iterable

from scorer.errors import Unscorable
from shared.contract.reasons import Reason
from shared.contract.text import MESSAGE_LIMIT, is_exact

TEXTS_LIMIT = 2**16  # characters of all classes of a model


def name_classes(classes: Iterable[object], names: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The text of each class: as Python prints it, or by its number one of *names*, which were saved beside the model.

    Raises Unscorable: UNSUPPORTED_MODEL where texts are unusable, UNREADABLE_MODEL where the names are of others.
    """
    texts = [str(item) for item in classes]
    if names and texts != list(names):
        numbers = [str(number) for number in range(len(names))]
        if not set(texts) <= set(numbers):
            message = (
                f"its parts contradict each other: classes {texts[:5]}, and names of {len(names)} classes beside them"
            )
            raise Unscorable(Reason.UNREADABLE_MODEL, message[:300])
        texts = [names[int(text)] for text in texts]
    if inexact := [text for text in texts if not is_exact(text)]:
        raise Unscorable(
            Reason.UNSUPPORTED_MODEL,
            f"expected classes whose texts have 1 to {MESSAGE_LIMIT} characters and no control characters, got "
            f"{inexact[0][:80]!r}",
        )
    if not texts or len(set(texts)) < len(texts) or sum(map(len, texts)) > TEXTS_LIMIT:
        raise Unscorable(
            Reason.UNSUPPORTED_MODEL,
            f"expected classes with different texts, in all at most {TEXTS_LIMIT} characters, got {len(texts)} classes "
            f"such as {max(texts, key=texts.count, default='')[:80]!r}",
        )
    return tuple(texts)
