"""A whole fleetscore on real parts: Azurite, a Dask cluster, the adapters as they are wired."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
from azure.storage.blob import BlobServiceClient, ContainerClient

from local.dask import LocalDask
from shared import bootstrap
from shared.config import settings
from shared.config.fields import Settings
from shared.control.loop import ControlPlane

BEATS = 240  # of half a second, at most, until a run is over


@dataclass(frozen=True, slots=True)
class Place:
    """A fleetscore of its own: containers and a table that no other test has."""

    environment: Mapping[str, str]
    service: BlobServiceClient

    @property
    def settings(self) -> Settings:
        return settings.load_settings(self.environment)

    def settings_of(self, **changes: str) -> Settings:
        """The settings, but for some."""
        return settings.load_settings({**self.environment, **changes})

    def plane(self, **changes: str) -> ControlPlane:
        """The control plane, as `function_app` would wire it."""
        return bootstrap.build_control_plane(self.settings_of(**changes))

    def beside(self, name: str, **changes: str) -> Place:
        """Another one over the same models and readings, in which nothing has run yet."""
        app = f"{self.environment['APP_NAME']}{name}"
        containers = {f"{what.upper()}_CONTAINER": f"{app}-{what}" for what in ("predictions", "work")}
        for container in containers.values():
            self.service.create_container(container)
        names = {**containers, "APP_NAME": app, "LEDGER_TABLE": f"{app}ledger"}
        return replace(self, environment={**self.environment, **names, **changes})

    def container(self, what: str) -> ContainerClient:
        return self.service.get_container_client(self.environment[f"{what.upper()}_CONTAINER"])

    def upload(self, what: str, files: Mapping[str, bytes]) -> None:
        container = self.container(what)
        for name, data in files.items():
            container.upload_blob(name, data, overwrite=True)

    def download(self, what: str, folder: Path) -> Path:
        """All blobs of a container as files."""
        container = self.container(what)
        for blob in container.list_blobs():
            target = folder / blob.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(container.download_blob(blob.name).readall())
        return folder

    def rows(self) -> pd.DataFrame:
        """All that consumers read, in the order of its columns."""
        container = self.container("predictions")
        parts = [container.download_blob(name).readall() for name in container.list_blob_names()]
        table = pd.concat([pd.read_parquet(io.BytesIO(part)) for part in parts])
        return table.sort_values(list(table.columns), ignore_index=True)


def tick_until(
    plane: ControlPlane,
    now: datetime,
    done: Callable[[], Any],
    moved: Callable[[datetime], datetime] = lambda t: t,
    bears: tuple[type[Exception], ...] = (),
) -> None:
    """Tick at half-second beats of the real clock until it is so. *moved* makes the time that the app is told.

    What a tick may raise is *bears*: the next one goes on, as it does in a host.
    """
    began = time.monotonic()
    for _ in range(BEATS):
        with suppress(*bears):
            plane.tick(moved(now))
        if done():
            return
        time.sleep(0.5)
    raise AssertionError(f"not so after {time.monotonic() - began:.0f} s")


def over(plane: ControlPlane, *runs: str) -> Callable[[], bool]:
    """Whether these runs have ended."""
    return lambda: set(runs) <= {run.id for run in plane.ledger.list_runs(100).items if run.phase.terminal}


def jobs_of(cluster: LocalDask) -> list[psutil.Process]:
    """The scorers that run under a cluster's workers now."""
    found = []
    for process in psutil.Process(cluster.process.pid).children(recursive=True):
        try:
            if process.cmdline()[1:4] == ["-m", "scorer", "--manifest"]:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found
