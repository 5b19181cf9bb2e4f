"""A table of a SQL database as a sink: PostgreSQL by ADBC, Azure SQL and Synapse by mssql-python. docs/sql.md."""
