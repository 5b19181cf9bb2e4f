"""Scores a portion of a chunk: each model for itself, so that what goes wrong with one hurts no other.

carried     an earlier attempt has scored it
plain       packed, and its rows lie side by side: all such models in one call of the kernels
seen        packed, and its rows had to be gathered: the same, in a second call
children    no kernel knows the family, or the attempt is careful: scikit-learn, where it can do no harm
"""

from __future__ import annotations

import importlib.metadata
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from scorer.errors import Unscorable
from scorer.packs.cache import Ready, Stores, fetch
from scorer.predictions.outcome import Scored
from scorer.predictions.table import Predictions, Rows, to_table, together
from scorer.readings import features
from scorer.readings.features import Signal
from scorer.readings.source import REPEATED, Readings
from scorer.sandbox.pool import Children
from scorer.storage.blob_store import Content
from shared.contract.domain import SKIPS, Model, Reason
from shared.contract.report import ModelResult
from shared.contract.scoring_options import OtherVersion, OtherVersions
from shared.contract.text import clip_text

from . import batching
from .batching import Joined

# A file of readings that is broken is said once, by its name, not once for each model.
_SAID_ELSEWHERE = SKIPS | {Reason.UNREADABLE_READINGS}
LINES = 20  # in the log about models that failed, for each portion; the report has them all

log = logging.getLogger(__name__)


@dataclass(slots=True)
class DoneCount:
    """How many models are done. One thread counts, another tells."""

    done: int = 0


@dataclass(slots=True)
class Notes:
    """What did not fail, and yet a person should hear of it, summed over a chunk."""

    counts: Counter[str] = field(default_factory=Counter)  # by the rest of the sentence
    made_by: dict[str, list[str]] = field(default_factory=dict)  # another scikit-learn: the models that it made

    def add(self, counted: Iterable[tuple[int, str]]) -> None:
        """Counts, each with the rest of its sentence."""
        for count, text in counted:
            self.counts[text] += count

    def hear(self, one: Scored) -> None:
        """What a model that was scored by itself leaves to be said."""
        self.add([(one.left_out, LEFT_OUT), (one.repeated, REPEATED)])
        if one.made_by:
            self.made_by.setdefault(one.made_by, []).append(one.verdict.model)

    @property
    def remarks(self) -> tuple[str, ...]:
        """As sentences."""
        here = installed()
        old = (
            f"{len(ids)} models were made by scikit-learn {version} and loaded by {here}, such as {ids[0]}"
            for version, ids in sorted(self.made_by.items())
        )
        return (*(f"{count} {text}" for text, count in self.counts.items() if count), *old)


LEFT_OUT = "rows lacked one of the features that their model wants and were left out"


def installed() -> str:
    """The version of scikit-learn here; asking for it does not import it."""
    return importlib.metadata.version("scikit-learn")


@dataclass(frozen=True, slots=True)
class Means:
    """What models are scored with."""

    children: Children
    cores: int = 1
    other_versions: OtherVersions = field(default_factory=OtherVersions)


@dataclass(frozen=True, slots=True)
class Portion:
    """Models that are scored together, and what is known of them."""

    models: Sequence[Model]
    ready: Ready
    readings: Readings
    carried: Mapping[int, Scored] = field(default_factory=dict)  # by place: what an earlier attempt has scored
    careful: Stores | None = None  # of a careful attempt, in which nothing but a child looks at a model's file


@dataclass(frozen=True, slots=True)
class Slab:
    """What came of a portion: a verdict for each of its models, in their order, and their rows."""

    verdicts: tuple[ModelResult, ...]
    rows: pa.Table


def score(portion: Portion, means: Means, progress: DoneCount, notes: Notes) -> Slab:
    """Judge every model of the portion. Raises Unavailable where stores or children cannot be had."""
    ended = _Ended(portion.models, portion.ready, progress)
    ended.take(portion.carried)
    refused = _refused_versions(portion, means.other_versions, notes) | portion.ready.refused
    todo = portion.ready.rows >= 0
    todo[[*ended.verdicts, *refused]] = False
    if portion.careful or portion.ready.pack.kept[portion.ready.rows[todo]].any():
        means.children.prepare()  # their imports take 2 s; the kernels work meanwhile
    plain = batching.plain(portion.models, portion.ready.pack, np.where(todo, portion.ready.rows, -1), portion.readings)
    if plain:
        ended.judge(plain, means.cores)
    seen: dict[int, Signal] = {}
    alone: list[int] = []
    for place in (place for place in range(len(portion.models)) if place not in ended.verdicts):
        try:
            signal = _look(portion, place, refused.get(place))
        except Unscorable as error:
            ended.refuse(place, error)
            continue
        if signal is None:
            alone.append(place)
        else:
            seen[place] = signal
            notes.add([(signal.left_out, LEFT_OUT), (signal.repeated, REPEATED)])
    if seen:
        ended.judge(batching.of_signals(portion.ready.pack, portion.ready.rows, seen), means.cores)
    for place, one in zip(alone, means.children.score(_items(portion, alone)), strict=True):
        ended.take({place: one})
        notes.hear(one)
    return ended.slab()


def _refused_versions(portion: Portion, policy: OtherVersions, notes: Notes) -> dict[int, Unscorable]:
    """The packed models that another scikit-learn made: told of, or refused, as the policy wants it."""
    pack, here = portion.ready.pack, installed()
    if not len(pack):
        return {}
    codes, versions = pack.texts("made_by")
    other = np.isin(codes, [code for code, version in enumerate(versions) if version not in ("", here)])
    rows, skops = portion.ready.rows, pack.numpy("skops")
    refused: dict[int, Unscorable] = {}
    for place in np.flatnonzero((rows >= 0) & other[rows]).tolist():
        row = rows[place]
        version = versions[codes[row]]
        if place in portion.carried:
            continue
        if (policy.skops if skops[row] else policy.pickle) is OtherVersion.REFUSE:
            message = f"made by scikit-learn {version}, expected {here}, as OTHER_VERSIONS says"
            refused[place] = Unscorable(Reason.INCOMPATIBLE_MODEL, message)
        elif not pack.kept[row]:  # of those a child tells
            notes.made_by.setdefault(version, []).append(portion.models[place].id)
    return refused


def _look(portion: Portion, place: int, refused: Unscorable | None) -> Signal | None:
    """What a packed model sees; None for one that goes to the children. Raises Unscorable."""
    model, pack, row = portion.models[place], portion.ready.pack, int(portion.ready.rows[place])
    if model.refused and refused:  # by the plan: that goes before the readings, and what is wrong with a file after
        raise refused
    excerpts = features.find(portion.readings, model)
    if refused:
        raise refused
    if portion.careful:
        return None
    if refusal := pack.refusal(row):
        raise refusal
    if pack.kept[row]:
        return None
    codes, names = pack.features
    return features.signal(portion.readings, model, excerpts, names[codes[row]], int(pack.numpy("width")[row]))


def _items(portion: Portion, places: Sequence[int]) -> Iterator[tuple[Model, Content | Exception, Readings]]:
    """For the children: each model, its file, and what there is of its device."""
    models = [portion.models[place] for place in places]
    files: Iterator[Content | Unscorable]
    if portion.careful:
        files = fetch(portion.careful, models)
    else:
        pack, rows = portion.ready.pack, portion.ready.rows[places].tolist()
        files = (Content(pack.file(row), pack.etag(row)) for row in rows)
    return ((model, file, portion.readings.of(model.device)) for model, file in zip(models, files, strict=True))


@dataclass(slots=True)
class _Ended:
    """The models of a portion that have ended, as it goes on."""

    models: Sequence[Model]
    ready: Ready
    progress: DoneCount
    etags: dict[int, str] = field(default_factory=dict)  # of what was scored, where that is not what was planned
    verdicts: dict[int, ModelResult] = field(default_factory=dict)
    rows: list[Rows] = field(default_factory=list)
    predictions: list[tuple[int, Predictions]] = field(default_factory=list)

    def judge(self, joined: Joined, cores: int) -> None:
        """Have the kernels score models; one whose scores are no numbers fails."""
        rows = joined.score(cores)
        ends = np.cumsum(rows.lengths)
        anomalies = np.diff(np.concatenate([[0], np.cumsum(rows.anomaly)])[np.concatenate([[0], ends])])
        finite = np.isfinite(rows.score)
        if not finite.all():
            bad = np.add.reduceat(~finite, ends - rows.lengths) > 0
            for place in rows.places[bad].tolist():
                self.refuse(place, Unscorable(Reason.BAD_SCORES, "it gives scores that are no numbers"))
            rows, anomalies = rows.only(~bad), anomalies[~bad]
        changed = self.ready.etags
        for place, count, found in zip(rows.places.tolist(), rows.lengths.tolist(), anomalies.tolist(), strict=True):
            self.verdicts[place] = ModelResult(self.models[place].id, count, found, etag=changed.get(place, ""))
        self.rows.append(rows)
        self.progress.done += len(rows.places)

    def take(self, found: Mapping[int, Scored]) -> None:
        """Models that were scored one by one."""
        for place, one in found.items():
            self.verdicts[place] = one.verdict
            if one.predictions:
                self.predictions.append((place, one.predictions))
                self.etags[place] = one.predictions.etag
        self.progress.done += len(found)

    def refuse(self, place: int, error: Unscorable) -> None:
        """A model that cannot be scored."""
        etag = self.ready.etags.get(place, "")
        self.verdicts[place] = ModelResult(
            self.models[place].id, reason=error.reason, message=clip_text(str(error)), etag=etag
        )
        self.progress.done += 1

    def slab(self) -> Slab:
        """All verdicts and rows, in the models' order."""
        verdicts = tuple(self.verdicts[place] for place in range(len(self.models)))
        failed = [v for v in verdicts if v.reason and v.reason not in _SAID_ELSEWHERE]
        for verdict in failed[:LINES]:
            log.warning("model=%s failed: %s: %s", verdict.model, verdict.reason, verdict.message)
        if failed[LINES:]:
            log.warning("%s more models failed; the report names them", len(failed) - LINES)
        etags = [model.etag for model in self.models]
        for place, etag in (self.ready.etags | self.etags).items():
            etags[place] = etag
        rows = [*self.rows, *([together(self.predictions)] if self.predictions else [])]
        return Slab(verdicts, to_table(self.models, etags, rows))
