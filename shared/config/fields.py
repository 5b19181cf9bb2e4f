"""All settings: their names, types, defaults and descriptions. Reads nothing; `settings.py` does."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared.contract.fleet.formats import ModelFormats
from shared.contract.model_names import DEFAULT_PATTERN, Columns, ModelNames
from shared.contract.publishing.sinks import SinkKind
from shared.contract.scoring_options import (
    BadRows,
    CsvOptions,
    Features,
    Gaps,
    OtherVersions,
    Probabilities,
    TimeFormat,
    UnmodelledDevices,
    check_zone,
    parse_missing_values,
)
from shared.contract.windows import parse_origin, parse_zone
from shared.planning.chunking import ChunkSize
from shared.planning.completeness import WaitFor
from shared.planning.due_windows import CatchUp
from shared.planning.predictions_schema import parse_predictions_schema
from shared.planning.schedule import Schedule

from . import setting_types
from .setting_types import ContainerName, Count, Duration, Endpoint, KeyHash, parse_with


class ClusterKind(StrEnum):
    """Where jobs run."""

    DASK = "dask"
    AZUREML = "azureml"
    BATCH = "batch"


class EventRuns(StrEnum):
    """Which runs have events of devices."""

    SCHEDULE = "schedule"
    ALL = "all"


class NotifyFormat(StrEnum):
    """What a notification is for its receiver."""

    CLOUDEVENTS = "cloudevents"
    TEXT = "text"


class SignIn(StrEnum):
    """Who identifies users, besides the app's own keys."""

    NONE = ""
    ENTRA = "entra"


class Settings(BaseModel):
    """All settings. A field's name in capitals is the setting's name."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    storage: setting_types.Storage = Field(
        description="the storage account: `https://ACCOUNT.blob.core.windows.net` (by managed identity), a connection "
        "string, or `UseDevelopmentStorage=true` for Azurite",
    )
    models_container: ContainerName = Field("models", description="the container of models")
    readings_container: ContainerName = Field("readings", description="the container of readings")
    predictions_container: ContainerName = Field("predictions", description="the container that consumers read")
    work_container: ContainerName = Field("fleetscore", description="the container of plans, results, reports and logs")
    ledger_table: str = Field(
        "fleetscore", pattern=r"^[A-Za-z][A-Za-z0-9]{2,62}$", description="the table that records every run"
    )
    app_name: str = Field(
        "fleetscore", pattern=r"^[a-z][a-z0-9-]{0,31}$", description="the prefix of every job's name at the cluster"
    )
    schedule: Annotated[Schedule, parse_with(Schedule)] = Field(
        Schedule("0 5 * * * *"),
        description="when a window that has closed becomes due: NCRONTAB; the delay for late readings is in it",
    )
    schedule_time_zone: Annotated[ZoneInfo, parse_with(parse_zone)] = Field(
        ZoneInfo("UTC"), description="the zone of `SCHEDULE`, such as `Europe/Berlin`; windows are UTC all the same"
    )
    heartbeat: Annotated[Schedule, parse_with(Schedule)] = Field(
        description="how often the timer ticks: NCRONTAB, such as `0 * * * * *`; the host reads it too"
    )
    window: setting_types.Length = Field(
        timedelta(hours=1), description="the length of a run's window: ISO 8601, a divisor or a multiple of a day"
    )
    window_origin: Annotated[datetime | None, parse_with(parse_origin)] = Field(
        None,
        description="the date on which one of the windows begins, of which each has several days: `1970-01-05` was a "
        "Monday; without it windows of whole weeks begin on Mondays, or where there are weekly runs from before 0.2.0 "
        "on Thursdays as those do, and others are counted from 1970-01-01",
    )
    rescore_late: bool = Field(
        False,  # pydantic's way
        description="whether the models of a window that rows came late for are scored once more, as soon as the next "
        "run has counted such rows; not with Event Hubs Capture, where that would be all models of every window",
    )
    catch_up: CatchUp = Field(
        CatchUp.ALL, description="after an outage: `all` (the newest 24 windows that wait) or `latest` (only the last)"
    )
    max_open_runs: Count = Field(1, description="runs that may be under way at once")
    wait_for: Annotated[WaitFor, parse_with(WaitFor.parse)] = Field(
        WaitFor(),
        description="what a window that is due waits for: `marker:NAME` (each of its folders has a blob of that name, "
        "such as `marker:_SUCCESS`) or `next-folder` (the folder after its last has a blob); without it nothing",
    )
    wait_limit: Duration = Field(
        timedelta(hours=2), description="how long after a window became due it is opened although it is not complete"
    )
    chunk_size: Annotated[ChunkSize, parse_with(ChunkSize.parse)] = Field(
        ChunkSize(),
        description="models that one job scores: `auto` (two minutes of work or more), a number, or `1` for a job "
        "for each model",
    )
    max_chunks: Annotated[int, Field(ge=1, le=99_999)] = Field(
        10_000, description="the most jobs of a run; chunks grow when a fleet would need more"
    )
    max_cores: Count = Field(
        4,
        description="cores that the cluster scales to; nodes at Azure, since a job takes one node. `auto` makes no "
        "smaller chunks",
    )
    model_names: Annotated[ModelNames, parse_with(ModelNames)] = Field(
        ModelNames(DEFAULT_PATTERN), description="the pattern of model blobs' names; `[…]` may be absent"
    )
    model_formats: Annotated[ModelFormats, parse_with(ModelFormats.parse)] = Field(
        ModelFormats(),
        description="further endings that are models: `json`, `txt` or `json,txt`; without it such files are ignored "
        "and counted. `json` are XGBoost's models, `txt` LightGBM's",
    )
    readings_path: setting_types.HourPath = Field(
        "date=%Y-%m-%d/hour=%H/",
        description="the folder of an hour of readings (strftime), or one file, or nothing; with `{device}`, "
        "`{sensor}`, `*`, and the tokens of Event Hubs Capture and Stream Analytics ([desk](desk.md))",
    )
    readings_columns: Annotated[Columns, parse_with(Columns.parse)] = Field(
        Columns(),
        description="the names of the readings' columns: `time=TS,device=Device,sensor=Tag,value=Value`; of JSON also "
        "the object whose fields are the features, and the time between the values of an array: "
        "`features=telemetry.*,step=10s`",
    )
    readings_csv: Annotated[CsvOptions, parse_with(CsvOptions.parse)] = Field(
        CsvOptions(),
        description="of CSV files, what they do not show: `separator=semicolon,decimal=comma,comment=#`, each a "
        "character or its word (`comma`, `semicolon`, `tab`, `bar`, `space`, `point`)",
    )
    bad_rows: BadRows = Field(
        BadRows.SKIP,
        description="a row with a cell that is not a number, or not a time: `skip` (counted and left out) or `fail` "
        "(the models that would use it fail)",
    )
    time_format: TimeFormat = Field(
        TimeFormat.ISO,
        description="the form of times in the readings: `iso`, or since 1970 in `s`, `ms`, `us` or `ns`; columns of "
        "timestamps need none",
    )
    readings_time_zone: Annotated[str, parse_with(check_zone)] = Field(
        "",
        description="the zone of times without an offset in the readings, such as `Europe/Berlin`; without it they are "
        "read as UTC, and each report counts them until `UTC` or another zone is set",
    )
    features: Annotated[Features, parse_with(Features.parse)] = Field(
        Features(),
        description="which feature is which for models that were fitted without names: their names in their order, "
        "`temp,amps,flow`, or `as-in-file` (the order of the columns of wide readings); without it such models of "
        "several features are refused",
    )
    gaps: Gaps = Field(
        Gaps.MODEL,
        description="a row that lacks one of a model's features: `model` (given to models that were trained to bear "
        "it, left out for the others), `give` or `drop`",
    )
    missing_values: Annotated[tuple[float, ...], parse_with(parse_missing_values)] = Field(
        (), description="numbers that stand for a missing value in the readings: `-999,65535`"
    )
    other_versions: Annotated[OtherVersions, parse_with(OtherVersions.parse)] = Field(
        OtherVersions(),
        description="models of another scikit-learn version than that of the nodes: `warn`, `refuse`, or "
        "`skops=warn,pickle=refuse`",
    )
    unmodelled: UnmodelledDevices = Field(
        UnmodelledDevices.COUNT,
        description="devices that have readings and no model: `count` (each run counts them and names some) or `off`, "
        "which saves the cost",
    )
    predictions_schema: Annotated[int | None, parse_with(parse_predictions_schema)] = Field(
        None,
        description="the columns of predictions: `2`, or `1`, those of versions before 0.2.0; without it, what new "
        "plans had last, and at the first tick 2, or 1 where there are runs from before",
    )
    probabilities: Probabilities = Field(
        Probabilities.LABEL,
        description="which probabilities of classifiers are written: `label` (that of each row's label) or `all` "
        "(beside the row with the label one for each class, which is its `output`)",
    )
    model_mib: Count = Field(256, description="the most MiB of a model's file, compressed or not")
    model_timeout: Duration = Field(
        timedelta(minutes=1), description="how long scikit-learn may take for one model, in a child process"
    )
    model_memory_mib: Count = Field(4096, description="the most MiB of memory of that process")
    readings_memory_mib: Count = Field(
        2048,
        description="about the most MiB of readings in memory on a node, of the columns that models need; "
        "more is read in several passes",
    )
    cluster: ClusterKind = Field(ClusterKind.DASK, description="where jobs run: `dask`, `azureml` or `batch`")
    dask_scheduler: setting_types.Scheduler = Field(
        "tcp://127.0.0.1:8786", description="the address of the Dask scheduler"
    )
    aml_workspace: setting_types.WorkspaceId = Field(
        "", description="the Azure ML workspace, by its resource id; needed for `azureml`"
    )
    aml_compute: setting_types.Compute = Field("scorer", description="its compute cluster")
    aml_environment: setting_types.Environment = Field(
        "", description="the scorer's environment there, `NAME:VERSION`; needed for `azureml`"
    )
    arm_endpoint: Endpoint = Field(
        "https://management.azure.com", description="Azure's Resource Manager; another one in sovereign clouds"
    )
    batch_endpoint: Endpoint = Field(
        "", description="the Azure Batch account, `https://ACCOUNT.REGION.batch.azure.com`; needed for `batch`"
    )
    batch_pool: setting_types.PoolId = Field("scorer", description="its pool")
    batch_image: setting_types.Image = Field(
        "", description="the scorer's container image, `REGISTRY/NAME:TAG`; needed for `batch`"
    )
    batch_identity: setting_types.IdentityId = Field(
        "", description="the identity by which Batch uploads a job's log to storage, by its resource id"
    )
    node_client_id: setting_types.ClientId = Field(
        "", description="the identity by which jobs at Azure reach storage, by its client id; needed for `azureml`"
    )
    max_in_flight: Count = Field(100, description="jobs of a run at the cluster at once")
    max_retries: Annotated[int, Field(ge=0)] = Field(2, description="retries of a chunk's failed job")
    max_losses: Annotated[int, Field(ge=0)] = Field(5, description="how often the cluster may lose a chunk's job")
    silence: Duration = Field(
        timedelta(minutes=10),
        description="after so long without a status from the cluster and without progress, a job is lost",
    )
    retry_backoff: Duration = Field(
        timedelta(seconds=30), description="the wait before the first retry; it doubles with each"
    )
    job_timeout: Duration = Field(timedelta(hours=1), description="the wall time of one job")
    queue_timeout: Duration = Field(
        timedelta(hours=2), description="a job that has not started by then is cancelled, and submitted again"
    )
    start_timeout: Duration = Field(
        timedelta(minutes=15),
        description="a job that runs and has not reported progress by then is cancelled, and retried",
    )
    stall_timeout: Duration = Field(
        timedelta(minutes=30),
        description="the same for a job without further progress for so long",
    )
    cancel_timeout: Duration = Field(
        timedelta(minutes=10), description="how long to wait for the end of a cancelled job"
    )
    run_deadline: Duration = Field(
        timedelta(days=1), description="a run that is open for so long is stopped, and fails"
    )
    tolerated_failures: Annotated[int, Field(ge=0, le=100)] = Field(
        100, description="percent of the models that ended; when more have failed, no further chunk starts (100: off)"
    )
    submit_rate: Annotated[float, Field(gt=0)] = Field(20.0, description="the most jobs submitted in a second")
    tick_budget: Duration = Field(
        timedelta(minutes=4), description="how long a tick works on open runs; the next tick continues"
    )
    keep_runs: Duration = Field(
        timedelta(days=90),
        description="how long after its end the rows, plans, results, reports and logs of a run are kept",
    )
    prune_predictions: bool = Field(False, description="whether its predictions are removed too")  # pydantic's way
    sinks: Annotated[tuple[SinkKind, ...], parse_with(setting_types.parse_sinks)] = Field(
        (),
        description="what runs are published to besides the container that consumers read: `delta` (a Delta table), "
        "`sql` (a table of a database), `events` (devices that change), or several with commas between them",
    )
    tables_container: ContainerName = Field("tables", description="the container of Delta tables; of `delta` only")
    delta_path: setting_types.TablePath = Field("predictions", description="the folder of the Delta table within it")
    sql_url: setting_types.SqlUrl = Field(
        "",
        description="the database, `postgresql://USER@HOST:5432/DATABASE` or `mssql://HOST/DATABASE`; needed for "
        "`sql`. Without a password: nodes take `SQL_PASSWORD` from the environment of the job, or sign in by their "
        "identity",
    )
    sql_table: setting_types.SqlTable = Field(
        "fleetscore_predictions", description="its table, `TABLE` or `SCHEMA.TABLE`; created where there is none"
    )
    predictions_folder: bool = Field(
        True,  # pydantic's way
        description="whether predictions are copied to the container that consumers read; `false` where they read the "
        "sink `delta` or `sql` alone",
    )
    events_url: setting_types.EventsUrl = Field(
        "",
        description="where `events` go: `https://...` (batches of CloudEvents, signed by `EVENTS_KEY` in the job's "
        "environment) or `sb://NAMESPACE.servicebus.windows.net/HUB` (Event Hubs, by the node's identity)",
    )
    events_anomalous: Annotated[float, Field(gt=0, le=100)] = Field(
        50.0,
        description="percent of a device's rows in a window that are anomalies: from there on it is anomalous",
    )
    events_runs: EventRuns = Field(
        EventRuns.SCHEDULE, description="which runs have events: `schedule`, or `all`, those that were asked for too"
    )
    notify_url: setting_types.WebUrl = Field(
        "",
        description="where people are notified of runs that fail, are missed or recover, and of stuck sinks",
    )
    notify_format: NotifyFormat = Field(
        NotifyFormat.CLOUDEVENTS, description='`cloudevents`, or `text`: `{"text": ...}`, as chats take it'
    )
    notify_key: str = Field(
        "", json_schema_extra={setting_types.SECRET: True}, description="the key that signs notifications, HMAC-SHA-256"
    )
    notify_above: Annotated[float, Field(ge=0, le=100)] = Field(
        5.0, description="percent of a run's models that fail; above it people are notified of a run that is partial"
    )
    read_key_sha256: KeyHash = Field("", description="SHA-256 of the key that may read over HTTP")
    operate_key_sha256: KeyHash = Field("", description="SHA-256 of the key that may also start and cancel runs")
    sign_in: SignIn = Field(
        SignIn.NONE,
        description="`entra`: App Service authentication runs in front of the app, and its app roles `Reader` and "
        "`Operator` are accepted",
    )
    website_site_name: str = Field(
        "", description="set by Azure; there, HTTP is closed until keys or a sign-in are configured"
    )

    @model_validator(mode="after")
    def _set_zone(self) -> Settings:
        return self.model_copy(update={"schedule": Schedule(self.schedule.text, self.schedule_time_zone.key)})
