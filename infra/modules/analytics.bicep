// The second way from events to readings: a Stream Analytics job that files means of a minute instead of the events.
// It is deployed stopped, as Azure does it: docs/streaming.md says how to start it, and what it does to late events.

param location string
param tags object
param token string
param dataAccount string
param readings string
param namespaceName string
param hubName string
param consumers string
param streamingUnits int

@description('Seconds that an event may come after its own time. Later ones are left out, and counted.')
param lateSeconds int

@description('Seconds by which events of one partition may be out of order. All output waits for so long.')
param outOfOrderSeconds int

var roles = loadJsonContent('roles.json')

resource events 'Microsoft.EventHub/namespaces@2024-01-01' existing = {
  name: namespaceName
  resource hub 'eventhubs' existing = { name: hubName }
}

resource account 'Microsoft.Storage/storageAccounts@2025-01-01' existing = {
  name: dataAccount
  resource blobs 'blobServices' existing = {
    name: 'default'
    resource container 'containers' existing = { name: readings }
  }
}

// A preview, and the only version that knows how to write a file once.
resource job 'Microsoft.StreamAnalytics/streamingjobs@2021-10-01-preview' = {
  name: 'asa-${token}'
  location: location
  tags: tags
  identity: { type: 'SystemAssigned' }
  properties: {
    sku: { name: 'Standard' }
    jobType: 'Cloud'
    compatibilityLevel: '1.2'
    outputErrorPolicy: 'Stop' // what cannot be written stops the job, and is not dropped unseen
    // `Adjust` would give a late event another time, and put it into a minute in which it was not measured.
    eventsOutOfOrderPolicy: 'Drop'
    eventsLateArrivalMaxDelayInSeconds: lateSeconds
    eventsOutOfOrderMaxDelayInSeconds: outOfOrderSeconds
    inputs: [
      {
        name: 'events'
        properties: {
          type: 'Stream'
          serialization: { type: 'Json', properties: { encoding: 'UTF8' } }
          datasource: {
            type: 'Microsoft.EventHub/EventHub'
            properties: {
              serviceBusNamespace: namespaceName
              eventHubName: hubName
              consumerGroupName: consumers
              authenticationMode: 'Msi'
            }
          }
        }
      }
    ]
    outputs: [
      {
        name: 'readings'
        properties: {
          // The first of the two closes a file: 10,000 rows, or five minutes.
          sizeWindow: 10000
          timeWindow: '00:05:00'
          serialization: { type: 'Parquet', properties: {} }
          datasource: {
            type: 'Microsoft.Storage/Blob'
            properties: {
              storageAccounts: [{ accountName: account.name }]
              container: account::blobs::container.name
              blobWriteMode: 'Once' // whole files only, each row in one of them; it asks for {date} and {time}
              pathPattern: 'date={date}/hour={time}'
              dateFormat: 'yyyy-MM-dd'
              timeFormat: 'HH'
              authenticationMode: 'Msi'
            }
          }
        }
      }
    ]
    transformation: {
      name: 'means'
      properties: { streamingUnits: streamingUnits, query: loadTextContent('../stream.asaql') }
    }
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

output id string = job.id
output name string = job.name
