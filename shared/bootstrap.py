"""Settings -> a control plane with the real adapters, each of which loads when it is used."""

from __future__ import annotations

from shared.api.auth import Guard
from shared.config.settings import ClusterKind, Settings, SignIn
from shared.contract.scoring_options import Limits, ReadingOptions, ScoringOptions
from shared.control.loop import ControlPlane
from shared.control.options import Rules
from shared.planning.plan_writer import DraftingRules
from shared.tracking.run_limits import Policy

from .ports import Cluster

MIB = 2**20


def control_plane(settings: Settings) -> ControlPlane:
    """The control plane as it is set."""
    from shared.adapters.azure.blobs import AzureBlobs
    from shared.adapters.azure.tables import TableLedger
    from shared.adapters.clock import MachineStopwatch

    work = AzureBlobs(settings.storage, settings.work_container)
    return ControlPlane(
        ledger=TableLedger(settings.storage, settings.ledger_table),
        cluster=_cluster(settings, work.url),
        models=AzureBlobs(settings.storage, settings.models_container),
        readings=AzureBlobs(settings.storage, settings.readings_container),
        work=work,
        predictions=AzureBlobs(settings.storage, settings.predictions_container),
        stopwatch=MachineStopwatch(),
        rules=rules(settings),
    )


def _cluster(settings: Settings, work_url: str) -> Cluster:
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


def rules(settings: Settings) -> Rules:
    """What a person has set, as the core reads it."""
    return Rules(
        schedule=settings.schedule,
        window=settings.window,
        catch_up=settings.catch_up,
        max_open_runs=settings.max_open_runs,
        drafting=DraftingRules(
            chunk_size=settings.chunk_size,
            max_chunks=settings.max_chunks,
            cores=settings.max_cores,
            model_names=settings.model_names,
            readings_path=settings.readings_path,
            columns=settings.readings_columns,
            policy=_scoring(settings),
        ),
        policy=Policy(
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
    )


def _scoring(settings: Settings) -> ScoringOptions:
    return ScoringOptions(
        readings=ReadingOptions(settings.bad_rows, settings.time_format),
        other_versions=settings.other_versions,
        limits=Limits(
            model_bytes=settings.model_mib * MIB,
            model_seconds=settings.model_timeout.total_seconds(),
            model_memory=settings.model_memory_mib * MIB,
            readings_memory=settings.readings_memory_mib * MIB,
        ),
    )


def guard(settings: Settings) -> Guard:
    """Who may ask what over HTTP."""
    return Guard(
        settings.read_key_sha256,
        settings.operate_key_sha256,
        signs_in=settings.sign_in is SignIn.ENTRA,
        public=bool(settings.website_site_name),
    )
