-- Fabric, a warehouse or the SQL endpoint of a lakehouse: who asks reads by their own identity.
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
    [device] varchar(1800),
    [sensor] varchar(1800),
    [output] varchar(1800),
    [value] float,
    [score] float,
    [anomaly] smallint,
    [prediction] float,
    [label] varchar(1800),
    [probability] float,
    [model] varchar(1800)
) AS r;
-- A Delta table needs no view: in a lakehouse make a shortcut below Tables to
-- https://stfleet1.dfs.core.windows.net/published/predictions/
