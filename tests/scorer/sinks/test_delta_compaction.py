"""A Delta table whose owner compacts, vacuums or restores it goes on: each run is there once, as the ledger has it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from deltalake import DeltaTable

from scorer.sinks.base import SinkError
from shared.contract.publishing.documents import PublicationItem
from shared.contract.publishing.sinks import SinkReason
from tests.scorer.sinks.stage import HOUR_7, HOUR_8, QUARTER, Stage
from tests.scorer.sinks.test_delta import check, folder, open_sink, stage

__all__ = ["folder", "stage"]  # fixtures


def compact(table: DeltaTable) -> None:
    assert table.optimize.compact()["numFilesRemoved"] > 0


def order(table: DeltaTable) -> None:
    assert table.optimize.z_order(["device"])["numFilesRemoved"] > 0


def vacuum(table: DeltaTable) -> None:
    compact(table)
    assert table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)


def checkpoint(table: DeltaTable) -> None:
    compact(table)
    table.create_checkpoint()
    table.cleanup_metadata()


KEEPERS = [compact, order, vacuum, checkpoint]


@pytest.fixture
def item(stage: Stage, folder: Path) -> PublicationItem:
    """A run of two chunks, beside two others, in a table."""
    item = stage.make_item(HOUR_7, [("pump-1", 0.5, 1)], [("pump-2", 0.5, 1)])
    sink = open_sink(folder)
    for each in (item, stage.make_item(HOUR_8, [("pump-1", 0.75, 1)]), stage.make_item(QUARTER, [("pump-1", 0.1, 1)])):
        sink.publish(each, stage.parts)
    return item


@pytest.mark.parametrize("keep", KEEPERS)
@pytest.mark.usefixtures("item")
def test_a_further_round_replaces_a_run_whose_files_were_rewritten(
    stage: Stage, folder: Path, keep: Callable[[DeltaTable], None]
) -> None:
    keep(DeltaTable(str(folder)))
    check(folder, stage)
    open_sink(folder).publish(stage.make_item(HOUR_7, [("pump-1", 0.25, 1)], [], number=1), stage.parts)
    check(folder, stage)


@pytest.mark.parametrize("keep", KEEPERS)
def test_a_run_whose_files_were_rewritten_can_be_removed(
    stage: Stage, folder: Path, item: PublicationItem, keep: Callable[[DeltaTable], None]
) -> None:
    keep(DeltaTable(str(folder)))
    open_sink(folder).publish(stage.make_removal(replace(item, revision=1)), stage.parts)
    check(folder, stage)


@pytest.mark.parametrize("keep", KEEPERS)
def test_a_job_that_comes_again_after_files_were_rewritten_is_told_of_the_revision_and_the_next_one_restores_them(
    stage: Stage, folder: Path, item: PublicationItem, keep: Callable[[DeltaTable], None]
) -> None:
    """A job was killed after its commit, and the table was compacted before the next one looked."""
    keep(DeltaTable(str(folder)))
    with pytest.raises(SinkError) as caught:
        open_sink(folder).publish(item, stage.parts)
    assert (caught.value.reason, caught.value.ahead) == (SinkReason.AHEAD, 0)
    check(folder, stage)
    result = open_sink(folder).publish(replace(item, revision=1), stage.parts)
    assert result.rows == 2
    check(folder, stage)


def test_a_removed_run_leaves_its_files_to_vacuum(stage: Stage, folder: Path, item: PublicationItem) -> None:
    open_sink(folder).publish(stage.make_removal(item), stage.parts)
    assert len(list(folder.rglob(f"run={HOUR_7}/*.parquet"))) == 2
    DeltaTable(str(folder)).vacuum(dry_run=False)  # of a week, unless the table says otherwise
    assert len(list(folder.rglob(f"run={HOUR_7}/*.parquet"))) == 2
    DeltaTable(str(folder)).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    assert list(folder.rglob(f"run={HOUR_7}/*.parquet")) == []
    check(folder, stage)


def test_files_that_vacuum_took_are_written_again_for_a_run_that_comes_back(
    stage: Stage, folder: Path, item: PublicationItem
) -> None:
    open_sink(folder).publish(stage.make_removal(item), stage.parts)
    DeltaTable(str(folder)).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    stage.rows[HOUR_7] = [("pump-1", 0.5, 1), ("pump-2", 0.5, 1)]
    open_sink(folder).publish(replace(item, revision=1), stage.parts)
    check(folder, stage)
    DeltaTable(str(folder)).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    check(folder, stage)


@pytest.mark.usefixtures("item")
def test_a_table_that_was_restored_to_an_older_version_gets_what_is_published_again(stage: Stage, folder: Path) -> None:
    before = DeltaTable(str(folder)).version()
    newer = stage.make_item(HOUR_7, [("pump-1", 0.25, 1)], number=1)
    open_sink(folder).publish(newer, stage.parts)
    DeltaTable(str(folder)).restore(before)
    open_sink(folder).publish(replace(newer, revision=2), stage.parts)
    check(folder, stage)
