// A skeleton that the next step fills: readings that come as events end as files that a run reads. The job passes on
// what it is given, line by line; nobody starts it, and nothing is sent to it.

param location string
param tags object
param token string
param dataAccount string
param readings string

var roles = loadJsonContent('roles.json')

resource events 'Microsoft.EventHub/namespaces@2024-01-01' = {
  name: 'evhns-${token}'
  location: location
  tags: tags
  sku: { name: 'Standard', tier: 'Standard', capacity: 1 }
  properties: { disableLocalAuth: true, minimumTlsVersion: '1.2', publicNetworkAccess: 'Enabled' }

  resource hub 'eventhubs' = {
    name: 'readings'
    properties: { partitionCount: 4, retentionDescription: { cleanupPolicy: 'Delete', retentionTimeInHours: 24 } }
    resource consumers 'consumergroups' = { name: 'stream-analytics' }
  }
}

resource account 'Microsoft.Storage/storageAccounts@2025-01-01' existing = {
  name: dataAccount
  resource blobs 'blobServices' existing = {
    name: 'default'
    resource container 'containers' existing = { name: readings }
  }
}

resource job 'Microsoft.StreamAnalytics/streamingjobs@2020-03-01' = {
  name: 'asa-${token}'
  location: location
  tags: tags
  identity: { type: 'SystemAssigned' }
  properties: {
    sku: { name: 'Standard' }
    jobType: 'Cloud'
    compatibilityLevel: '1.2'
    outputErrorPolicy: 'Stop'
    eventsOutOfOrderPolicy: 'Adjust'
    inputs: [
      {
        name: 'events'
        properties: {
          type: 'Stream'
          serialization: { type: 'Json', properties: { encoding: 'UTF8' } }
          datasource: {
            type: 'Microsoft.EventHub/EventHub'
            properties: {
              serviceBusNamespace: events.name
              eventHubName: events::hub.name
              consumerGroupName: events::hub::consumers.name
              authenticationMode: 'Msi'
            }
          }
        }
      }
    ]
    outputs: [
      {
        name: 'files'
        properties: {
          serialization: { type: 'Json', properties: { encoding: 'UTF8', format: 'LineSeparated' } }
          datasource: {
            type: 'Microsoft.Storage/Blob'
            properties: {
              storageAccounts: [{ accountName: account.name }]
              container: account::blobs::container.name
              pathPattern: 'date={date}/hour={time}'
              dateFormat: 'yyyy-MM-dd'
              timeFormat: 'HH'
              authenticationMode: 'Msi'
            }
          }
        }
      }
    ]
    transformation: { name: 'pass', properties: { streamingUnits: 1, query: 'SELECT * INTO files FROM events' } }
  }
}

resource jobReads 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(events::hub.id, job.id, roles['Azure Event Hubs Data Receiver'])
  scope: events::hub
  properties: {
    principalId: job.identity.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Azure Event Hubs Data Receiver'])
  }
}

resource jobWrites 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(account::blobs::container.id, job.id, roles['Storage Blob Data Contributor'])
  scope: account::blobs::container
  properties: {
    principalId: job.identity.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Storage Blob Data Contributor'])
  }
}
