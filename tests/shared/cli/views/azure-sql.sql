-- Azure SQL: its server reads by its identity, which needs the role Storage Blob Data Reader.
CREATE DATABASE SCOPED CREDENTIAL fleetscore_identity WITH IDENTITY = 'Managed Identity';
GO

CREATE EXTERNAL DATA SOURCE fleetscore_files WITH (
    LOCATION = 'abs://predictions@stfleet1.blob.core.windows.net',
    CREDENTIAL = fleetscore_identity
);
GO

CREATE VIEW [dbo].[fleetscore_predictions] AS
SELECT
    r.*,
    LEFT(r.filename(), CHARINDEX('-c', r.filename()) - 1) AS [run],
    CAST(r.filepath(1) AS date) AS [date],
    CAST(r.filepath(2) AS smallint) AS [hour],
    r.filepath(1) AS [date_folder], -- a text: '2026-11-21'
    r.filepath(2) AS [hour_folder] -- a text: '07'
FROM OPENROWSET(
    BULK 'date=*/hour=*/*.parquet', DATA_SOURCE = 'fleetscore_files', FORMAT = 'PARQUET'
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

CREATE EXTERNAL DATA SOURCE fleetscore_delta WITH (
    LOCATION = 'abs://published@stfleet1.blob.core.windows.net',
    CREDENTIAL = fleetscore_identity
);
GO

CREATE VIEW [dbo].[fleetscore_predictions_delta] AS
SELECT r.*
FROM OPENROWSET(
    BULK '/predictions/', DATA_SOURCE = 'fleetscore_delta', FORMAT = 'DELTA'
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
