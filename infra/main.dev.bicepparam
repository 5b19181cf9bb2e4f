// Small: thousands of models, and next to nothing while it idles.
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

param nodeSize = 'Standard_D4s_v3'
param maxNodes = 2
param lowPriority = false
param idleMinutes = 5
param instanceMemory = 2048
param maxInstances = 40
param monthlyBudget = 50
param logDays = 30
param logQuotaGb = 1
param dataRedundancy = 'Standard_LRS'
param undeleteDays = 7
param purgeProtection = false
param throughputUnits = 1
param streamPartitions = 4
