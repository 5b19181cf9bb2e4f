"""`fleetscore show FILE`: a plan, a manifest or a report as JSON for people. Reads one file and writes none."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from shared.contract.columns import split_document
from shared.contract.documents import parse_document
from shared.contract.errors import FleetError, Malformed, NotFound
from shared.contract.manifest import Manifest
from shared.contract.model_list import COLUMNS
from shared.contract.publishing.documents import PublishingManifest, PublishingReport
from shared.contract.reasons import decide_outcome
from shared.contract.report import Report

LIMIT = 20  # models, or chunks of a plan
_EXPANDED = {  # fields that are shown for each model, and how the columns are stored
    "models", "rows", "anomalies", "reasons", "etags", "tracebacks", "remarks", "refused", "tasks", "columns", "crc32",
}  # fmt: skip
_CHUNK_FIELDS = ("id", "manifest", "models", "first", "last")


def main(arguments: Sequence[str], program: str) -> int:
    """Print a document; returns the exit code: 0, or 2 where there is none that this version can read."""
    options = _build_parser(program).parse_args(arguments)
    try:
        doc = expand_document(_read_file(options.file), options.limit or sys.maxsize)
        _print_json(doc)
    except FleetError as error:
        print(f"fleetscore: {options.file}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `| head` has read enough; nothing more may be written when Python ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _build_parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(program, description="Print a plan, a manifest or a report as JSON.")
    parser.add_argument("file", metavar="FILE", help="its path; - for standard input")
    help_text = f"how many models, or chunks of a plan, are shown; 0: all (default {LIMIT})"
    parser.add_argument("--limit", type=_parse_limit, default=LIMIT, metavar="N", help=help_text)
    return parser


def _parse_limit(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a number of at least 0, got {text!r}")
    return int(text)


def _read_file(name: str) -> bytes:
    if name == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise NotFound(f"expected a file that can be read, got {error.strerror or error}") from error


def _print_json(doc: Mapping[str, Any]) -> None:
    text = json.dumps(doc, indent=2, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:  # a surrogate, or a terminal that is not UTF-8
        text = json.dumps(doc, indent=2)
    print(text, flush=True)


def expand_document(data: bytes, limit: int) -> dict[str, Any]:
    """What a document says, with an object for each of the first models or chunks. Raises Malformed."""
    head = _parse_head(split_document(data)[0])
    if "attempt" in head:
        return {"document": "report", **_expand_report(head, Report.from_bytes(data), limit)}
    if "results" in head:
        PublishingReport.from_bytes(data)
        return {"document": "publishing report", **head}
    if "items" in head:
        PublishingManifest.from_bytes(data)
        return {"document": "publishing manifest", **head}
    if "window" in head:
        return {"document": "manifest", **_expand_manifest(head, Manifest.from_bytes(data), limit)}
    if "chunks" in head:
        return {"document": "plan", **parse_document(data, "plan", lambda doc: _expand_plan(doc, limit))}
    if "manifests" in head:
        return {"document": "round plan", **parse_document(data, "round plan", lambda doc: _expand_round(doc, limit))}
    raise Malformed(f"expected a plan, a manifest or a report, got a document with {', '.join(head) or 'no fields'}")


def _parse_head(text: bytes) -> dict[str, Any]:
    try:
        head = json.loads(text)
    except (ValueError, RecursionError):
        head = None
    if not isinstance(head, dict):
        raise Malformed(f"expected a plan, a manifest or a report, got {text[:40]!r}")
    return head


def _expand_report(head: Mapping[str, Any], report: Report, limit: int) -> dict[str, Any]:
    return {
        **_drop_expanded(head),
        "tally": asdict(report.tally),
        "failures": [asdict(failure) for failure in report.failures],
        "models": list(islice(_expand_outcomes(report), limit)),
        "left_out": max(0, len(report.outcomes) - limit),
    }


def _expand_outcomes(report: Report) -> Iterator[dict[str, Any]]:
    outcomes = report.outcomes
    for index, result in enumerate(outcomes):
        texts = {
            "reason": result.reason,
            "message": result.message,
            "etag": result.etag,
            "remark": outcomes.remarks.get(index),
            "traceback": outcomes.tracebacks.get(index),
        }
        yield {
            "index": index,
            **({"model": result.model} if result.model else {}),  # schema 2 names only those that were not scored
            "outcome": decide_outcome(result.reason),
            "rows": result.rows,
            "anomalies": result.anomalies,
            **({} if outcomes.readings is None else {"readings": outcomes.readings[index]}),
            **{name: text for name, text in texts.items() if text},
        }


def _expand_manifest(head: Mapping[str, Any], manifest: Manifest, limit: int) -> dict[str, Any]:
    models = [
        {
            "index": index,
            **{name: getattr(model, name) for name in COLUMNS},
            **({"refused": model.refused} if model.refused else {}),
            **({"task": manifest.tasks[index]} if index in manifest.tasks else {}),
        }
        for index, model in enumerate(islice(manifest.models, limit))
    ]
    return {
        **_drop_expanded(head),
        "readings_columns": manifest.columns.to_json(),
        "packs": [asdict(pack) for pack in manifest.packs],
        **({"devices": asdict(manifest.devices)} if manifest.devices else {}),
        "models": models,
        "left_out": max(0, len(manifest.models) - limit),
    }


def _expand_plan(doc: dict[str, Any], limit: int) -> dict[str, Any]:
    chunks = [dict(zip(_CHUNK_FIELDS, row, strict=True)) for row in doc["chunks"]]
    return {**doc, "chunks": chunks[:limit], "left_out": max(0, len(chunks) - limit)}


def _expand_round(doc: dict[str, Any], limit: int) -> dict[str, Any]:
    manifests = doc["manifests"]
    return {**doc, "manifests": dict(islice(manifests.items(), limit)), "left_out": max(0, len(manifests) - limit)}


def _drop_expanded(head: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in head.items() if name not in _EXPANDED}
