// Static data: files in folders of their hours, copied as they are or as means of a minute into the readings.
// Stopped until a person starts its trigger: docs/static-data.md.

param location string
param tags object
param token string
param dataAccount string
param readings string

@description('Whether means of a minute are made (by Spark, in a data flow), or files are copied as they are.')
param aggregate bool

@description('The blob endpoint of the account that has the data. Empty: a container of the data account, made here.')
param sourceEndpoint string
param sourceContainer string

@description('The folder of an hour there, as formatDateTime writes it.')
param sourceFolder string

@description('The first hour, such as 2026-11-21T07:00:00Z. Azure does not let it be changed for a trigger that exists.')
param from string

param personId string
param personType string

var roles = loadJsonContent('roles.json')
var ofOurs = empty(sourceEndpoint)
var endpoint = 'https://${account.name}.blob.${environment().suffixes.storage}'

// A trigger's window is an hour, and its files are in a folder of their own below the hour's: a window that is run again
// replaces what it has made and nothing else.
var folders = {
  source: { value: '@formatDateTime(pipeline().parameters.start, \'${sourceFolder}\')', type: 'Expression' }
  readings: {
    value: '@concat(\'date=\', formatDateTime(pipeline().parameters.start, \'yyyy-MM-dd\'), \'/hour=\', formatDateTime(pipeline().parameters.start, \'HH\'), \'/static\')'
    type: 'Expression'
  }
  leftOver: { value: '@concat(\'outside/\', formatDateTime(pipeline().parameters.start, \'yyyy-MM-dd-HH\'))', type: 'Expression' }
}
var form = aggregate ? 'Parquet' : 'Binary'
var files = [
  { name: 'source', endpoint: ofOurs ? endpoint : sourceEndpoint, container: sourceContainer }
  { name: 'readings', endpoint: endpoint, container: readings }
]
// A text for a data flow stands in quotes of its own.
var start = { value: '\'@{pipeline().parameters.start}\'', type: 'Expression' }
var end = { value: '\'@{pipeline().parameters.end}\'', type: 'Expression' }
var policy = { retry: 2, retryIntervalInSeconds: 60, timeout: '0.02:00:00' }

resource account 'Microsoft.Storage/storageAccounts@2025-01-01' existing = {
  name: dataAccount
  resource blobs 'blobServices' existing = {
    name: 'default'
    resource container 'containers' existing = { name: readings }
  }
}

resource static 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-01-01' = if (ofOurs) {
  parent: account::blobs
  name: sourceContainer
  properties: { publicAccess: 'None' }
}

resource factory 'Microsoft.DataFactory/factories@2018-06-01' = {
  // checkov:skip=CKV_AZURE_103: this template is where its pipelines are kept
  // checkov:skip=CKV_AZURE_104: no private network yet: docs/security.md
  name: 'adf-${token}'
  location: location
  tags: tags
  identity: { type: 'SystemAssigned' }
  properties: { publicNetworkAccess: 'Enabled' }
}

resource services 'Microsoft.DataFactory/factories/linkedservices@2018-06-01' = [
  for each in files: {
    parent: factory
    name: each.name
    properties: {
      type: 'AzureBlobStorage'
      typeProperties: { serviceEndpoint: each.endpoint, accountKind: 'StorageV2' } // without a key: by the factory's identity
    }
  }
]

resource datasets 'Microsoft.DataFactory/factories/datasets@2018-06-01' = [
  for each in files: {
    parent: factory
    name: each.name
    dependsOn: [services]
    properties: {
      type: form
      linkedServiceName: { referenceName: each.name, type: 'LinkedServiceReference' }
      parameters: { folder: { type: 'String' } }
      typeProperties: {
        location: {
          type: 'AzureBlobStorageLocation'
          container: each.container
          folderPath: { value: '@dataset().folder', type: 'Expression' }
        }
      }
    }
  }
]

resource means 'Microsoft.DataFactory/factories/dataflows@2018-06-01' = if (aggregate) {
  parent: factory
  name: 'means'
  dependsOn: [datasets]
  properties: {
    type: 'MappingDataFlow'
    typeProperties: {
      sources: [{ name: 'arrived', dataset: { referenceName: 'source', type: 'DatasetReference' } }]
      sinks: [
        { name: 'readings', dataset: { referenceName: 'readings', type: 'DatasetReference' } }
        { name: 'leftOver', dataset: { referenceName: 'readings', type: 'DatasetReference' } }
      ]
      transformations: [{ name: 'hour' }, { name: 'once' }, { name: 'dated' }, { name: 'minutes' }]
      script: loadTextContent('../static.dataflow')
    }
  }
}

resource pipeline 'Microsoft.DataFactory/factories/pipelines@2018-06-01' = {
  parent: factory
  name: 'static-data'
  dependsOn: [datasets, means]
  properties: {
    concurrency: 1
    parameters: { start: { type: 'String' }, end: { type: 'String' } }
    activities: aggregate ? [
      {
        name: 'aggregate'
        type: 'ExecuteDataFlow'
        policy: policy
        typeProperties: {
          dataFlow: {
            referenceName: 'means'
            type: 'DataFlowReference'
            parameters: { start: start, end: end }
            datasetParameters: {
              arrived: { folder: folders.source }
              readings: { folder: folders.readings }
              leftOver: { folder: folders.leftOver }
            }
          }
          compute: { computeType: 'General', coreCount: 8 } // the least that there is
          traceLevel: 'Coarse'
        }
      }
    ] : [
      {
        name: 'copy'
        type: 'Copy'
        policy: policy
        inputs: [{ referenceName: 'source', type: 'DatasetReference', parameters: { folder: folders.source } }]
        outputs: [{ referenceName: 'readings', type: 'DatasetReference', parameters: { folder: folders.readings } }]
        typeProperties: {
          validateDataConsistency: true
          source: {
            type: 'BinarySource'
            storeSettings: { type: 'AzureBlobStorageReadSettings', recursive: true }
            formatSettings: { type: 'BinaryReadSettings' }
          }
          sink: {
            type: 'BinarySink'
            storeSettings: { type: 'AzureBlobStorageWriteSettings', copyBehavior: 'PreserveHierarchy' }
          }
        }
      }
    ]
  }
}

resource hourly 'Microsoft.DataFactory/factories/triggers@2018-06-01' = {
  parent: factory
  name: 'hourly'
  properties: {
    type: 'TumblingWindowTrigger'
    pipeline: {
      pipelineReference: { referenceName: pipeline.name, type: 'PipelineReference' }
      parameters: {
        start: '@{formatDateTime(trigger().outputs.windowStartTime, \'yyyy-MM-ddTHH:mm:ss\')}'
        end: '@{formatDateTime(trigger().outputs.windowEndTime, \'yyyy-MM-ddTHH:mm:ss\')}'
      }
    }
    typeProperties: {
      frequency: 'Hour'
      interval: 1
      startTime: from
      delay: '00:15:00' // for files that come late
      maxConcurrency: 1
      retryPolicy: { count: 3, intervalInSeconds: 300 }
    }
  }
}

resource factoryWrites 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(account::blobs::container.id, factory.id, roles['Storage Blob Data Contributor'])
  scope: account::blobs::container
  properties: {
    principalId: factory.identity.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Storage Blob Data Contributor'])
  }
}

resource factoryReads 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (ofOurs) {
  name: guid(static.id, factory.id, roles['Storage Blob Data Reader'])
  scope: static
  properties: {
    principalId: factory.identity.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Storage Blob Data Reader'])
  }
}

resource personBrings 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (ofOurs && !empty(personId)) {
  name: guid(static.id, personId, roles['Storage Blob Data Contributor'])
  scope: static
  properties: {
    principalId: personId
    principalType: personType
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Storage Blob Data Contributor'])
  }
}

output id string = factory.id
output name string = factory.name
