// Readings that come as events: an event hub that everything sends to, and Capture, which files what arrives into the
// container of readings, as Avro. docs/streaming.md says what becomes of late and doubled events on the way.

param location string
param tags object
param token string
param dataAccount string
param readings string

@description('Whether Capture files the events. False where Stream Analytics does: both would file each event twice.')
param capture bool

@description('Whether an IoT Hub is where devices send to.')
param withIotHub bool
param iotHubUnits int
param partitions int
param throughputUnits int

var roles = loadJsonContent('roles.json')

// The nine tokens that Capture asks for, in any order, and in the form of READINGS_PATH's default. A folder is the hour
// in which events arrived, not that of their time. Capture makes a file for each partition and interval.
var archive = 'date={Year}-{Month}-{Day}/hour={Hour}/{Namespace}-{EventHub}-{PartitionId}-{Minute}-{Second}'

resource account 'Microsoft.Storage/storageAccounts@2025-01-01' existing = {
  name: dataAccount
  resource blobs 'blobServices' existing = {
    name: 'default'
    resource container 'containers' existing = { name: readings }
  }
}

resource events 'Microsoft.EventHub/namespaces@2024-01-01' = {
  name: 'evhns-${token}'
  location: location
  tags: tags
  identity: { type: 'SystemAssigned' }
  sku: { name: 'Standard', tier: 'Standard', capacity: 1 } // Basic has no Capture
  properties: {
    disableLocalAuth: true
    minimumTlsVersion: '1.2'
    publicNetworkAccess: 'Enabled'
    isAutoInflateEnabled: throughputUnits > 1
    maximumThroughputUnits: throughputUnits > 1 ? throughputUnits : 0
  }
}

resource captureWrites 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (capture) {
  name: guid(account::blobs::container.id, events.id, roles['Storage Blob Data Contributor'])
  scope: account::blobs::container
  properties: {
    principalId: events.identity.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Storage Blob Data Contributor'])
  }
}

// After the role: a hub is refused whose Capture may not write.
resource hub 'Microsoft.EventHub/namespaces/eventhubs@2024-01-01' = {
  parent: events
  name: 'readings'
  dependsOn: [captureWrites]
  properties: {
    partitionCount: partitions
    // A week, the most of this tier: for so long Capture and the job can catch up after an outage.
    retentionDescription: { cleanupPolicy: 'Delete', retentionTimeInHours: 168 }
    captureDescription: {
      enabled: capture
      encoding: 'Avro'
      intervalInSeconds: 300
      sizeLimitInBytes: 104857600 // whichever comes first closes a file
      skipEmptyArchives: true
      destination: {
        name: 'EventHubArchive.AzureBlockBlob'
        identity: { type: 'SystemAssigned' }
        properties: { storageAccountResourceId: account.id, blobContainer: readings, archiveNameFormat: archive }
      }
    }
  }

  resource consumers 'consumergroups' = { name: 'stream-analytics' }
}

// Devices that speak to an IoT Hub. It passes all that they send to the same event hub, so that there is one form of
// files and one way to watch; its own routes to storage would be a third form, with names and delays of their own.

@description('The IoT Hub, towards the event hub. An identity of its own: the hub asks for the right when it is made.')
resource devices 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = if (withIotHub) {
  name: 'id-devices-${token}'
  location: location
  tags: tags
}

resource devicesSend 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (withIotHub) {
  name: guid(hub.id, devices.id, roles['Azure Event Hubs Data Sender'])
  scope: hub
  properties: {
    principalId: devices!.properties.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Azure Event Hubs Data Sender'])
  }
}

resource iotHub 'Microsoft.Devices/IotHubs@2023-06-30' = if (withIotHub) {
  name: 'iot-${token}'
  location: location
  tags: tags
  sku: { name: 'S1', capacity: iotHubUnits }
  identity: { type: 'UserAssigned', userAssignedIdentities: { '${devices.id}': {} } }
  dependsOn: [devicesSend]
  properties: {
    disableLocalAuth: true // of services and people; devices have keys or certificates of their own
    minTlsVersion: '1.2'
    publicNetworkAccess: 'Enabled'
    routing: {
      endpoints: {
        eventHubs: [
          {
            name: 'readings'
            authenticationType: 'identityBased'
            identity: { userAssignedIdentity: devices.id }
            endpointUri: 'sb://${events.name}.servicebus.windows.net'
            entityPath: hub.name
          }
        ]
      }
      routes: [{ name: 'telemetry', source: 'DeviceMessages', condition: 'true', endpointNames: ['readings'], isEnabled: true }]
      fallbackRoute: { source: 'DeviceMessages', condition: 'true', endpointNames: ['events'], isEnabled: false }
    }
  }
}

output namespace string = events.name
output namespaceId string = events.id
output hub string = hub.name
output consumers string = hub::consumers.name
output iotHubId string = withIotHub ? iotHub.id : ''
