"""Settings -> a control plane with the real adapters; each one is imported when it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.api.auth import Authorizer
from shared.config.fields import ClusterKind, NotifyFormat, Settings, SignIn
from shared.contract.model_names import ModelNames
from shared.contract.publishing.sinks import SinkKind
from shared.contract.scoring_options import Limits, ReadingOptions, ScoringOptions
from shared.control.loop import ControlPlane
from shared.control.options import ControlOptions
from shared.planning.plan_writer import PlanOptions
from shared.publishing.notices import NotifyOptions
from shared.publishing.sink_options import SinkOptions
from shared.tracking.run_limits import RunLimits

from .ports import Cluster

if TYPE_CHECKING:
    from shared.adapters.azure.blobs import AzureBlobs

MIB = 2**20


def build_control_plane(settings: Settings) -> ControlPlane:
    """The control plane by these settings."""
    from shared.adapters.azure.blobs import AzureBlobs
    from shared.adapters.azure.sink_table import TableSinkLedger
    from shared.adapters.azure.tables import TableLedger
    from shared.adapters.clock import MachineStopwatch
    from shared.adapters.webhook import Webhook

    work = AzureBlobs(settings.storage, settings.work_container)
    return ControlPlane(
        ledger=TableLedger(settings.storage, settings.ledger_table),
        sinks=TableSinkLedger(settings.storage, settings.ledger_table),
        notifier=Webhook(
            settings.notify_url,
            settings.app_name,
            settings.notify_key,
            as_text=settings.notify_format is NotifyFormat.TEXT,
        ),
        cluster=_build_cluster(settings, work.url),
        models=AzureBlobs(settings.storage, settings.models_container),
        readings=AzureBlobs(settings.storage, settings.readings_container),
        work=work,
        predictions=AzureBlobs(settings.storage, settings.predictions_container),
        stopwatch=MachineStopwatch(),
        options=build_control_options(settings),
    )


def _build_cluster(settings: Settings, work_url: str) -> Cluster:
    match settings.cluster:
        case ClusterKind.DASK:
            from shared.adapters.dask_cluster import DaskCluster

            return DaskCluster(settings.dask_scheduler)
        case ClusterKind.AZUREML:
            from shared.adapters.azureml.cluster import AzureMLCluster

            return AzureMLCluster(
                settings.aml_workspace,
                settings.aml_compute,
                settings.aml_environment,
                settings.node_client_id,
                settings.arm_endpoint,
            )
        case ClusterKind.BATCH:
            from shared.adapters.batch.cluster import BatchCluster

            return BatchCluster(
                settings.batch_endpoint,
                settings.batch_pool,
                settings.batch_image,
                settings.app_name,
                work_url,
                settings.batch_identity,
                settings.node_client_id,
            )


def build_control_options(settings: Settings) -> ControlOptions:
    """The options of the control loop by these settings."""
    return ControlOptions(
        schedule=settings.schedule,
        window=settings.window,
        window_origin=settings.window_origin,
        catch_up=settings.catch_up,
        max_open_runs=settings.max_open_runs,
        wait_for=settings.wait_for,
        wait_limit=settings.wait_limit,
        rescore_late=settings.rescore_late,
        planning=PlanOptions(
            chunk_size=settings.chunk_size,
            max_chunks=settings.max_chunks,
            cores=settings.max_cores,
            model_names=ModelNames(settings.model_names.pattern, settings.model_formats),
            readings_path=settings.readings_path,
            columns=settings.readings_columns,
            scoring=_build_scoring_options(settings),
            app=settings.app_name,
            predictions_schema=settings.predictions_schema,
        ),
        limits=RunLimits(
            app=settings.app_name,
            max_retries=settings.max_retries,
            max_losses=settings.max_losses,
            max_in_flight=settings.max_in_flight,
            silence=settings.silence,
            backoff=settings.retry_backoff,
            job_timeout=settings.job_timeout,
            tolerated_failures=settings.tolerated_failures,
            queue_timeout=settings.queue_timeout,
            start_timeout=settings.start_timeout,
            stall_timeout=settings.stall_timeout,
            cancel_timeout=settings.cancel_timeout,
            run_deadline=settings.run_deadline,
        ),
        tick_budget=settings.tick_budget,
        submit_rate=settings.submit_rate,
        keep_runs=settings.keep_runs,
        prune_predictions=settings.prune_predictions,
        predictions_folder=settings.predictions_folder,
        sinks=tuple(_build_sink_options(settings, kind) for kind in settings.sinks),
        notify=NotifyOptions(bool(settings.notify_url), settings.notify_above),
    )


def _build_sink_options(settings: Settings, kind: SinkKind) -> SinkOptions:
    match kind:
        case SinkKind.DELTA:
            target = (("url", f"{_open_tables(settings).url}/{settings.delta_path}"),)
            return SinkOptions(kind, target)
        case SinkKind.SQL:
            return SinkOptions(kind, (("url", settings.sql_url), ("table", settings.sql_table)))
        case SinkKind.EVENTS:
            percent, runs = f"{settings.events_anomalous:g}", str(settings.events_runs)
            return SinkOptions(kind, (("url", settings.events_url), ("percent", percent), ("runs", runs)))


def _open_tables(settings: Settings) -> AzureBlobs:
    from shared.adapters.azure.blobs import AzureBlobs

    return AzureBlobs(settings.storage, settings.tables_container)


def create_tables_container(settings: Settings) -> bool:
    """Create the container of Delta tables where it is missing. Raises FleetError.

    At Azure the deployment has created it, and the app may not even look: then it is taken to exist.
    """
    if SinkKind.DELTA not in settings.sinks:
        return False
    container = _open_tables(settings)
    return bool(container.describe_missing()) and container.ensure_container()


def _build_scoring_options(settings: Settings) -> ScoringOptions:
    return ScoringOptions(
        readings=ReadingOptions(
            settings.bad_rows,
            settings.time_format,
            time_zone=settings.readings_time_zone,
            features=settings.features,
            gaps=settings.gaps,
            missing_values=settings.missing_values,
            csv=settings.readings_csv,
        ),
        other_versions=settings.other_versions,
        limits=Limits(
            model_bytes=settings.model_mib * MIB,
            model_seconds=settings.model_timeout.total_seconds(),
            model_memory=settings.model_memory_mib * MIB,
            readings_memory=settings.readings_memory_mib * MIB,
        ),
        unmodelled=settings.unmodelled,
        probabilities=settings.probabilities,
    )


def build_authorizer(settings: Settings) -> Authorizer:
    """The authorization of HTTP requests by these settings."""
    return Authorizer(
        settings.read_key_sha256,
        settings.operate_key_sha256,
        signs_in=settings.sign_in is SignIn.ENTRA,
        public=bool(settings.website_site_name),
    )
