-- Synapse, serverless pool, in a database of its own: who asks reads by their own identity.
CREATE VIEW [dbo].[fleetscore_predictions] AS
SELECT
    r.*,
    LEFT(r.filename(), CHARINDEX('-c', r.filename()) - 1) AS [run],
    CAST(r.filepath(1) AS date) AS [date],
    CAST(r.filepath(2) AS smallint) AS [hour],
    r.filepath(1) AS [date_folder], -- a text: '2026-11-21'
    r.filepath(2) AS [hour_folder] -- a text: '07'
FROM OPENROWSET(
    BULK 'https://stfleet1.dfs.core.windows.net/predictions/date=*/hour=*/*.parquet', FORMAT = 'PARQUET'
) WITH (
    [time] datetime2(6),
    [device] varchar(1800) COLLATE Latin1_General_100_BIN2_UTF8,
    [sensor] varchar(1800) COLLATE Latin1_General_100_BIN2_UTF8,
    [output] varchar(1800) COLLATE Latin1_General_100_BIN2_UTF8,
    [value] float,
    [score] float,
    [anomaly] smallint,
    [prediction] float,
    [label] varchar(1800) COLLATE Latin1_General_100_BIN2_UTF8,
    [probability] float,
    [model] varchar(1800) COLLATE Latin1_General_100_BIN2_UTF8
) AS r;
GO

CREATE VIEW [dbo].[fleetscore_predictions_delta] AS
SELECT r.*
FROM OPENROWSET(
    BULK 'https://stfleet1.dfs.core.windows.net/published/predictions/', FORMAT = 'DELTA'
) WITH (
    [time] datetime2(6),
    [device] varchar(1800) COLLATE Latin1_General_100_BIN2_UTF8,
    [sensor] varchar(1800) COLLATE Latin1_General_100_BIN2_UTF8,
    [output] varchar(1800) COLLATE Latin1_General_100_BIN2_UTF8,
    [value] float,
    [score] float,
    [anomaly] smallint,
    [prediction] float,
    [label] varchar(1800) COLLATE Latin1_General_100_BIN2_UTF8,
    [probability] float,
    [model] varchar(1800) COLLATE Latin1_General_100_BIN2_UTF8,
    [date] date,
    [hour] int,
    [run] varchar(1800) COLLATE Latin1_General_100_BIN2_UTF8
) AS r;
