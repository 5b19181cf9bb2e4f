"""What app, nodes and receivers exchange about publishing."""

from __future__ import annotations

import json

import pytest

from shared.contract.errors import Malformed
from shared.contract.publishing.deliveries import sort_status
from shared.contract.publishing.documents import (
    PublicationItem,
    PublicationResult,
    PublishingManifest,
    PublishingReport,
)
from shared.contract.publishing.sinks import SinkKind, SinkReason, make_publishing_run, parse_publishing_run
from shared.contract.publishing.urls import get_host, hide_path

RUN = "20261121T0700Z-PT1H"


def test_a_report_of_a_node_that_still_wrote_warnings_is_read() -> None:
    report = PublishingReport(SinkKind.DELTA, 7, (PublicationResult(RUN, 0, 0, rows=3, stored="version 1"),))
    document = json.loads(report.to_bytes())
    assert "warnings" not in document["results"][0]
    document["results"][0]["warnings"] = []

    assert PublishingReport.from_bytes(json.dumps(document).encode()) == report


@pytest.mark.parametrize(("is_removal", "version"), [(False, 14), (True, 15)])
def test_a_removal_comes_after_what_it_removes_and_before_the_next_revision(is_removal: bool, version: int) -> None:
    assert PublicationItem(RUN, 3, 7, is_removal=is_removal).version == version


def test_an_option_that_a_target_lacks_is_named() -> None:
    manifest = PublishingManifest(SinkKind.DELTA, 7, "pumps", "file:///work", (), {"path": "a"})
    assert manifest.read_option("path") == "a"
    with pytest.raises(Malformed, match=r"^expected the option url in the target of delta 7, got path$"):
        manifest.read_option("url")


def test_the_id_of_a_job_is_parsed_as_it_is_made() -> None:
    assert make_publishing_run(SinkKind.SQL, 12) == "publish-sql-000012"
    assert parse_publishing_run("publish-sql-000012") == (SinkKind.SQL, 12)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        *((status, SinkReason.UNAVAILABLE) for status in (301, 302, 307, 408, 425, 429, 500, 503, 507)),
        *((status, SinkReason.DENIED) for status in (401, 403)),
        *((status, SinkReason.FAILED) for status in (400, 404, 410, 413)),
    ],
)
def test_what_an_answer_means(status: int, reason: SinkReason) -> None:
    assert sort_status(status) is reason


@pytest.mark.parametrize(
    ("url", "host", "shown"),
    [
        ("https://me@chat.example.org:8443/hook?key=x", "chat.example.org:8443", "https://chat.example.org:8443"),
        ("https://chat.example.org/a@b", "chat.example.org", "https://chat.example.org"),
        ("sb://p.servicebus.windows.net/hub", "p.servicebus.windows.net", "sb://p.servicebus.windows.net/hub"),
    ],
)
def test_of_a_url_the_host_is_shown_without_who_signs_in(url: str, host: str, shown: str) -> None:
    assert (get_host(url), hide_path(url)) == (host, shown)
