// What belongs to the users: models, readings, predictions, and the ledger. In an account of its own, so that neither
// the Functions host nor Azure ML has a reason to be let in.

param location string
param tags object
param token string
param redundancy string
param undeleteDays int
param appPrincipal string
param nodesPrincipal string
param appListsReadings bool
param withDeltaTables bool
param personId string
param personType string

var roles = loadJsonContent('roles.json')
var reader = roles['Storage Blob Data Reader']
var contributor = roles['Storage Blob Data Contributor']
var app = { id: appPrincipal, type: 'ServicePrincipal' }
var nodes = { id: nodesPrincipal, type: 'ServicePrincipal' }
var person = { id: personId, type: personType }
var byPerson = !empty(personId)
var bringing = byPerson ? [{ to: person, role: contributor }] : []
// The app lists models; what the readings are, only nodes look at. Where windows wait (WAIT_FOR), it lists names of
// readings: Azure has no built-in role that lists and does not read.
var listing = concat([{ to: app, role: reader }, { to: nodes, role: reader }], bringing)
var waiting = appListsReadings ? [{ to: app, role: reader }] : []
var reading = concat([{ to: nodes, role: reader }], waiting, bringing)
// Nodes are not among these: what a hostile model makes of a node never reaches what consumers read unchecked.
var looking = byPerson ? [{ to: person, role: reader }] : []
var publishing = concat([{ to: app, role: contributor }], looking)
var working = concat([{ to: app, role: contributor }, { to: nodes, role: contributor }], looking)
// Only with the Delta sink: what nodes publish there is theirs to change, so it is a container of its own.
var sinking = withDeltaTables ? concat([{ to: nodes, role: contributor }], looking) : []

resource account 'Microsoft.Storage/storageAccounts@2025-01-01' = {
  // checkov:skip=CKV_AZURE_35: no private network yet, and nodes come from addresses that are not known before: docs/security.md
  // checkov:skip=CKV_AZURE_59: the same; allowBlobPublicAccess is false, and there are no keys
  // checkov:skip=CKV_AZURE_206: a parameter; main.prod.bicepparam takes three zones
  // checkov:skip=CKV_AZURE_43: checkov cannot work out the name; a test does
  name: 'stdata${token}'
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: { name: redundancy }
  properties: {
    accessTier: 'Hot'
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    publicNetworkAccess: 'Enabled'
    networkAcls: { bypass: 'AzureServices', defaultAction: 'Allow' }
  }

  // No lifecycle rules: what a run has left is removed by the app (KEEP_RUNS), which knows what a redrive still needs.
  resource blobs 'blobServices' = {
    name: 'default'
    properties: {
      deleteRetentionPolicy: { enabled: true, days: undeleteDays }
      containerDeleteRetentionPolicy: { enabled: true, days: undeleteDays }
    }

    resource models 'containers' = { name: 'models', properties: { publicAccess: 'None' } }
    resource readings 'containers' = { name: 'readings', properties: { publicAccess: 'None' } }
    resource predictions 'containers' = { name: 'predictions', properties: { publicAccess: 'None' } }
    resource work 'containers' = { name: 'fleetscore', properties: { publicAccess: 'None' } }
  }

  resource tables 'tableServices' = {
    name: 'default'
    resource ledger 'tables' = { name: 'fleetscore' }
  }
}

resource onModels 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for grant in listing: {
    name: guid(account::blobs::models.id, grant.to.id, grant.role)
    scope: account::blobs::models
    properties: {
      principalId: grant.to.id
      principalType: grant.to.type
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', grant.role)
    }
  }
]

resource onReadings 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for grant in reading: {
    name: guid(account::blobs::readings.id, grant.to.id, grant.role)
    scope: account::blobs::readings
    properties: {
      principalId: grant.to.id
      principalType: grant.to.type
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', grant.role)
    }
  }
]

resource onPredictions 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for grant in publishing: {
    name: guid(account::blobs::predictions.id, grant.to.id, grant.role)
    scope: account::blobs::predictions
    properties: {
      principalId: grant.to.id
      principalType: grant.to.type
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', grant.role)
    }
  }
]

resource onWork 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for grant in working: {
    name: guid(account::blobs::work.id, grant.to.id, grant.role)
    scope: account::blobs::work
    properties: {
      principalId: grant.to.id
      principalType: grant.to.type
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', grant.role)
    }
  }
]

resource deltaTables 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-01-01' = if (withDeltaTables) {
  parent: account::blobs
  name: 'tables'
  properties: { publicAccess: 'None' }
}

resource onDeltaTables 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for grant in sinking: {
    name: guid(deltaTables.id, grant.to.id, grant.role)
    scope: deltaTables
    properties: {
      principalId: grant.to.id
      principalType: grant.to.type
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', grant.role)
    }
  }
]

// On the account, and not on the table: only who may make a table hears that it is missing.
resource onLedger 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(account.id, appPrincipal, roles['Storage Table Data Contributor'])
  scope: account
  properties: {
    principalId: appPrincipal
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Storage Table Data Contributor'])
  }
}

output account string = account.name
output endpoint string = 'https://${account.name}.blob.${environment().suffixes.storage}'
output models string = account::blobs::models.name
output readings string = account::blobs::readings.name
output predictions string = account::blobs::predictions.name
output work string = account::blobs::work.name
output deltaTables string = withDeltaTables ? deltaTables.name : ''
output ledger string = account::tables::ledger.name
