// Large: a million models an hour, and what a person deletes by mistake can be brought back for a month.
using './main.bicep'

param environmentName = readEnvironmentVariable('AZURE_ENV_NAME')
param location = readEnvironmentVariable('AZURE_LOCATION')
param scorerTag = readEnvironmentVariable('SCORER_TAG')
param cluster = readEnvironmentVariable('CLUSTER', 'azureml')
param alertEmail = readEnvironmentVariable('ALERT_EMAIL', '')
param budgetStart = readEnvironmentVariable('BUDGET_START')
param entraClientId = readEnvironmentVariable('ENTRA_CLIENT_ID', '')
param readKeySha256 = readEnvironmentVariable('READ_KEY_SHA256', '')
param operateKeySha256 = readEnvironmentVariable('OPERATE_KEY_SHA256', '')
param personId = readEnvironmentVariable('AZURE_PRINCIPAL_ID', '')
param personType = readEnvironmentVariable('AZURE_PRINCIPAL_TYPE', 'User')
param sinks = readEnvironmentVariable('SINKS', '')
param streaming = readEnvironmentVariable('STREAMING', '')
param streamSource = readEnvironmentVariable('STREAM_SOURCE', 'event-hub')
param staticData = readEnvironmentVariable('STATIC_DATA', '')
param staticEndpoint = readEnvironmentVariable('STATIC_ENDPOINT', '')
param staticFrom = readEnvironmentVariable('STATIC_FROM', '2026-01-01T00:00:00Z')

param nodeSize = 'Standard_F8s_v2'
param maxNodes = 20
param lowPriority = false
param idleMinutes = 10
param instanceMemory = 4096
param maxInstances = 40
param monthlyBudget = 2000
param logDays = 90
param logQuotaGb = 5
param dataRedundancy = 'Standard_ZRS'
param undeleteDays = 30
param purgeProtection = true
param throughputUnits = 10
param streamPartitions = 16
