-- Databricks: an external location of Unity Catalog has to cover these addresses.
CREATE OR REPLACE VIEW `dbo`.`fleetscore_predictions` AS
SELECT *, regexp_extract(_metadata.file_name, '^(.+?)-c', 1) AS `run`
FROM read_files(
    'abfss://predictions@stfleet1.dfs.core.windows.net/',
    format => 'parquet',
    schema => '
        time TIMESTAMP,
        device STRING,
        sensor STRING,
        output STRING,
        value DOUBLE,
        score DOUBLE,
        anomaly SMALLINT,
        prediction DOUBLE,
        label STRING,
        probability DOUBLE,
        model STRING,
        date DATE,
        hour INT'
);

CREATE OR REPLACE VIEW `dbo`.`fleetscore_predictions_delta` AS
SELECT * FROM delta.`abfss://published@stfleet1.dfs.core.windows.net/predictions/`;
