"""The files of LightGBM and XGBoost as inert data: read by ourselves, and by nothing of theirs."""
