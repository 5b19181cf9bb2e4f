// Everything that fleetscore needs in Azure, in one resource group. `azd up` deploys it; docs/deploy.md leads through
// it. Each module has one subject and grants the roles on what it makes; docs/security.md has them all in one table,
// which tests/infra compares with what stands here.

targetScope = 'subscription'

@description('The name of this deployment, such as dev. Names, tags and the resource group are made from it.')
@minLength(1)
@maxLength(32)
param environmentName string

@description('The region. It must offer Flex Consumption: az functionapp list-flexconsumption-locations.')
param location string

@description('The version of the scorer: a hash of what goes into its image. infra/tag.sh prints it, azd\'s hook sets it.')
@minLength(7)
@maxLength(40)
param scorerTag string

// The cluster

@description('Where jobs run. Azure ML, or Azure Batch: only the one that is chosen is deployed.')
@allowed(['azureml', 'batch'])
param cluster string = 'azureml'

@description('The size of a node. Azure ML and Azure Batch each have a list of what they take, and each a quota of cores.')
param nodeSize string = 'Standard_D4s_v3'

@description('Nodes that the cluster grows to. From zero, always.')
@minValue(1)
@maxValue(1000)
param maxNodes int = 2

@description('Take cheap nodes that may be taken away. Azure ML: all of them. Batch: Azure ended them in September 2025 for the kind of account that is made here, so leave it false there (docs/security.md, What is not here).')
param lowPriority bool = false

@description('Batch: how many of maxNodes are dedicated where lowPriority is true; the others are low-priority.')
@minValue(0)
param dedicatedNodes int = 0

@description('Minutes that a node waits for more work before it goes.')
@minValue(1)
param idleMinutes int = 5

@description('KEEP_WARM: nodes wait until after the next run is due, so that no run waits for a node. docs/deploy.md says when this is cheaper.')
param keepWarm bool = false

@description('Minutes between two runs, for KEEP_WARM.')
@minValue(1)
param minutesBetweenRuns int = 60

// The app

@description('When the timer looks after everything: NCRONTAB. The alert on a missing heartbeat wants one every ten minutes at least.')
param heartbeat string = '0 * * * * *'

@description('The memory of an instance of the function app, MB. Each is billed by it.')
@allowed([512, 2048, 4096])
param instanceMemory int = 2048

@description('Instances that the function app grows to: HTTP alone scales, the timer has one.')
@minValue(2)
@maxValue(1000)
param maxInstances int = 40

@description('WAIT_FOR: what a window waits for before it is scored, marker:NAME or next-folder. Only where it is set the app may list the readings.')
param waitFor string = ''

@description('SINKS: what runs are published to besides the container of predictions. With delta, nodes may write to a container of its own, tables; sql needs SQL_URL among the settings below, events EVENTS_URL.')
@allowed(['', 'delta', 'sql', 'events', 'delta,sql', 'delta,events', 'sql,events', 'delta,sql,events'])
param sinks string = ''

@description('More settings of the app, by name, such as { WINDOW: \'PT15M\' }: what README.md lists. They win over what the template says.')
param settings object = {}

// Who may use it over HTTP. With neither a sign-in nor a key, the app answers nothing but /api/health.

@description('Microsoft Entra sign-in: the client id of the app registration that infra/sign-in.sh makes.')
param entraClientId string = ''

@description('SHA-256 of the key that may read, 64 hex digits. Without a sign-in.')
@secure()
param readKeySha256 string = ''

@description('SHA-256 of the key that may also start and cancel runs.')
@secure()
param operateKeySha256 string = ''

// What is watched

@description('Who hears of alerts and of the budget. Empty: no one does.')
param alertEmail string = ''

@description('What this may cost a month, in the currency of the subscription; e-mails at 80 and 100 percent, and when 100 is forecast. It stops nothing. 0: no budget.')
@minValue(0)
param monthlyBudget int = 50

@description('The first day of the month in which the budget begins. Azure never lets it be changed: infra/preprovision.sh remembers it.')
param budgetStart string = utcNow('yyyy-MM-01')

@description('Days that logs are kept.')
@minValue(30)
@maxValue(730)
param logDays int = 30

@description('GB of logs a day, at most; -1 for no limit. Beyond it, alerts are blind until the next day.')
param logQuotaGb int = 1

// What outlives mistakes

@description('Redundancy of the storage account with models, readings and predictions.')
@allowed(['Standard_LRS', 'Standard_ZRS', 'Standard_GRS', 'Standard_GZRS'])
param dataRedundancy string = 'Standard_LRS'

@description('Days that a deleted blob or container of that account can be brought back.')
@minValue(1)
@maxValue(365)
param undeleteDays int = 7

@description('Key Vault: it cannot be purged, and its name stays taken for 90 days after a teardown.')
param purgeProtection bool = false

// How readings come. docs/streaming.md, docs/static-data.md; without any of it, a person puts files into the container.

@description('Readings from a stream of events. capture: an event hub files them as they come; analytics: a Stream Analytics job files means of a minute. Empty: no stream.')
@allowed(['', 'capture', 'analytics'])
param streaming string = ''

@description('Where that stream begins: the event hub itself, or an IoT Hub in front of it.')
@allowed(['event-hub', 'iot-hub'])
param streamSource string = 'event-hub'

@description('Units of the IoT Hub, S1: each takes 400,000 messages a day.')
@minValue(1)
@maxValue(200)
param iotHubUnits int = 1

@description('Partitions of the event hub. They can never be changed; each makes a file of its own every five minutes.')
@minValue(1)
@maxValue(32)
param streamPartitions int = 4

@description('Throughput units that the event hub may grow to, 1 MB or 1,000 events a second each. It never shrinks by itself.')
@minValue(1)
@maxValue(40)
param throughputUnits int = 1

@description('Stream Analytics: how large the job is.')
@allowed([1, 3, 6, 12, 18, 24, 30, 36, 42, 48])
param streamingUnits int = 1

@description('Stream Analytics: seconds that an event may come after its time. Later ones are left out, and counted. Each run waits for so long.')
@minValue(0)
@maxValue(2400)
param lateSeconds int = 300

@description('Stream Analytics: seconds by which events may be out of order. All output waits for so long.')
@minValue(0)
@maxValue(599)
param outOfOrderSeconds int = 60

@description('Data Factory brings static data, hour by hour. copy: files as they are; aggregate: means of a minute. Empty: none.')
@allowed(['', 'copy', 'aggregate'])
param staticData string = ''

@description('The blob endpoint of the account that has that data, such as https://ACCOUNT.blob.core.windows.net. Empty: the data account.')
param staticEndpoint string = ''

@description('The container there.')
param staticContainer string = 'static'

@description('The folder of an hour in that container, as formatDateTime of Data Factory writes it.')
param staticFolder string = 'yyyy/MM/dd/HH'

@description('The first hour that it brings. Azure never lets it be changed: infra/preprovision.sh remembers it.')
param staticFrom string = utcNow('yyyy-MM-01T00:00:00Z')

// The person who deploys, who will upload models. azd sets it: AZURE_PRINCIPAL_ID.

@description('The object id of whoever may upload models and readings and read predictions. Empty: the app alone.')
param personId string = ''

@description('What that is.')
@allowed(['User', 'Group', 'ServicePrincipal'])
param personType string = 'User'

var token = toLower(uniqueString(subscription().id, environmentName, location))
var tags = { 'azd-env-name': environmentName, app: 'fleetscore' }
var image = 'fleetscore-scorer'
var withDelta = contains(sinks, 'delta')
var useBatch = cluster == 'batch'
var idle = keepWarm ? minutesBetweenRuns + 15 : idleMinutes

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: 'rg-fleetscore-${environmentName}'
  location: location
  tags: tags
}

module identities 'modules/identities.bicep' = {
  name: 'identities'
  scope: group
  params: { location: location, tags: tags, token: token }
}

module monitoring 'modules/monitoring.bicep' = {
  name: 'monitoring'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    days: logDays
    quotaGb: logQuotaGb
    appPrincipal: identities.outputs.appPrincipal
  }
}

module data 'modules/data.bicep' = {
  name: 'data'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    redundancy: dataRedundancy
    undeleteDays: undeleteDays
    appPrincipal: identities.outputs.appPrincipal
    nodesPrincipal: identities.outputs.nodesPrincipal
    appListsReadings: !empty(waitFor)
    withDeltaTables: withDelta
    personId: personId
    personType: personType
  }
}

module host 'modules/host.bicep' = {
  name: 'host'
  scope: group
  params: { location: location, tags: tags, token: token, appPrincipal: identities.outputs.appPrincipal }
}

module registry 'modules/registry.bicep' = {
  name: 'registry'
  scope: group
  params: { location: location, tags: tags, token: token, nodesPrincipal: identities.outputs.nodesPrincipal }
}

module azureml 'modules/azureml.bicep' = if (!useBatch) {
  name: 'azureml'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    purgeProtection: purgeProtection
    registry: registry.outputs.name
    insights: monitoring.outputs.insights
    appPrincipal: identities.outputs.appPrincipal
    nodes: identities.outputs.nodes
    nodesPrincipal: identities.outputs.nodesPrincipal
    workspaceIdentity: identities.outputs.workspace
    workspacePrincipal: identities.outputs.workspacePrincipal
    personId: personId
    personType: personType
    nodeSize: nodeSize
    maxNodes: maxNodes
    lowPriority: lowPriority
    idleMinutes: idle
    environmentName: image
    environmentVersion: scorerTag
    image: '${registry.outputs.server}/${image}:${scorerTag}'
  }
}

module batch 'modules/batch.bicep' = if (useBatch) {
  name: 'batch'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    registryServer: registry.outputs.server
    nodes: identities.outputs.nodes
    appPrincipal: identities.outputs.appPrincipal
    nodeSize: nodeSize
    dedicatedNodes: lowPriority ? dedicatedNodes : maxNodes
    maxNodes: maxNodes
    idleMinutes: idle
  }
}

var ofAll = {
  STORAGE: data.outputs.endpoint
  MODELS_CONTAINER: data.outputs.models
  READINGS_CONTAINER: data.outputs.readings
  PREDICTIONS_CONTAINER: data.outputs.predictions
  WORK_CONTAINER: data.outputs.work
  LEDGER_TABLE: data.outputs.ledger
  HEARTBEAT: heartbeat
  CLUSTER: cluster
  ARM_ENDPOINT: take(environment().resourceManager, length(environment().resourceManager) - 1)
  MAX_CORES: string(maxNodes) // a job takes a whole node, and all of its cores
  NODE_CLIENT_ID: identities.outputs.nodesClientId
}
var ofWaiting = empty(waitFor) ? {} : { WAIT_FOR: waitFor }
var ofSinks = empty(sinks) ? {} : { SINKS: sinks }
var ofDelta = withDelta ? { TABLES_CONTAINER: data.outputs.deltaTables } : {}
var ofAzureml = useBatch ? {} : {
  AML_WORKSPACE: azureml!.outputs.workspace
  AML_COMPUTE: azureml!.outputs.compute
  AML_ENVIRONMENT: '${image}:${scorerTag}'
}
var ofBatch = !useBatch ? {} : {
  BATCH_ENDPOINT: batch!.outputs.endpoint
  BATCH_POOL: batch!.outputs.pool
  BATCH_IMAGE: '${registry.outputs.server}/${image}:${scorerTag}'
  BATCH_IDENTITY: identities.outputs.nodes
}

// When all files of an hour are closed, in minutes after it: those of Capture after five; those of the job after its limits,
// within ten minutes that it takes to file them, less a second: 2,400 + 599 + 599 is still within the hour; those of static
// data by 45, since its pipeline begins a quarter of an hour after the hour. Runs begin at the last of these.
var filingSeconds = 599
var captureMinute = streaming == 'capture' ? 10 : 0
var analyticsMinute = streaming == 'analytics' ? (lateSeconds + outOfOrderSeconds + filingSeconds) / 60 : 0
var staticMinute = empty(staticData) ? 0 : 45
var minute = max(captureMinute, analyticsMinute, staticMinute)
var ofReadings = empty(streaming) && empty(staticData) ? {} : { SCHEDULE: '0 ${minute} * * * *' }
var ofIotHub = streaming == 'capture' && streamSource == 'iot-hub' ? {
  READINGS_COLUMNS: 'device=SystemProperties.iothub-connection-device-id'
} : {}

module app 'modules/app.bicep' = {
  name: 'app'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    identity: identities.outputs.app
    identityClientId: identities.outputs.appClientId
    hostAccount: host.outputs.account
    package: host.outputs.package
    insightsConnection: monitoring.outputs.connection
    memory: instanceMemory
    maxInstances: maxInstances
    entraClientId: entraClientId
    readKeySha256: readKeySha256
    operateKeySha256: operateKeySha256
    settings: union(ofAll, ofWaiting, ofSinks, ofDelta, ofAzureml, ofBatch, ofReadings, ofIotHub, settings)
  }
}

module alerts 'modules/alerts.bicep' = {
  name: 'alerts'
  scope: group
  params: { location: location, tags: tags, insights: monitoring.outputs.insights, email: alertEmail }
}

module budget 'modules/budget.bicep' = if (monthlyBudget > 0 && !empty(alertEmail)) {
  name: 'budget'
  scope: group
  params: { amount: monthlyBudget, start: budgetStart, email: alertEmail }
}

module stream 'modules/stream.bicep' = if (!empty(streaming)) {
  name: 'stream'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    dataAccount: data.outputs.account
    readings: data.outputs.readings
    capture: streaming == 'capture'
    withIotHub: streamSource == 'iot-hub'
    iotHubUnits: iotHubUnits
    partitions: streamPartitions
    throughputUnits: throughputUnits
  }
}

module analytics 'modules/analytics.bicep' = if (streaming == 'analytics') {
  name: 'analytics'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    dataAccount: data.outputs.account
    readings: data.outputs.readings
    namespaceName: stream!.outputs.namespace
    hubName: stream!.outputs.hub
    consumers: stream!.outputs.consumers
    streamingUnits: streamingUnits
    lateSeconds: lateSeconds
    outOfOrderSeconds: outOfOrderSeconds
  }
}

module factory 'modules/factory.bicep' = if (!empty(staticData)) {
  name: 'factory'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    dataAccount: data.outputs.account
    readings: data.outputs.readings
    aggregate: staticData == 'aggregate'
    sourceEndpoint: staticEndpoint
    sourceContainer: staticContainer
    sourceFolder: staticFolder
    from: staticFrom
    personId: personId
    personType: personType
  }
}

module streamAlerts 'modules/stream-alerts.bicep' = if (!empty(streaming) || !empty(staticData)) {
  name: 'stream-alerts'
  scope: group
  params: {
    tags: tags
    contacts: alerts.outputs.contacts
    namespaceId: empty(streaming) ? '' : stream!.outputs.namespaceId
    capture: streaming == 'capture'
    throughputUnits: throughputUnits
    jobId: streaming == 'analytics' ? analytics!.outputs.id : ''
    behindSeconds: lateSeconds + outOfOrderSeconds + filingSeconds
    factoryId: empty(staticData) ? '' : factory!.outputs.id
    iotHubId: empty(streaming) ? '' : stream!.outputs.iotHubId
  }
}

// azd keeps these in its environment; the hooks read them.
output AZURE_RESOURCE_GROUP string = group.name
output AZURE_CONTAINER_REGISTRY_NAME string = registry.outputs.name
output AZURE_CONTAINER_REGISTRY_ENDPOINT string = registry.outputs.server
output APP_NAME string = app.outputs.name
output APP_URL string = app.outputs.url
output STORAGE_ACCOUNT string = data.outputs.account
output MODELS_CONTAINER string = data.outputs.models
output READINGS_CONTAINER string = data.outputs.readings
output PREDICTIONS_CONTAINER string = data.outputs.predictions
output STREAM_JOB string = streaming == 'analytics' ? analytics!.outputs.name : ''
output STATIC_FACTORY string = empty(staticData) ? '' : factory!.outputs.name
output SCORER_IMAGE string = '${image}:${scorerTag}'
