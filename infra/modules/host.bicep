// The Functions host's own storage: its locks, the timer's status, and the app's package. The host wants to own the
// blobs of its account, so that it shares none with anybody's data.

param location string
param tags object
param token string
param appPrincipal string

var roles = loadJsonContent('roles.json')

resource account 'Microsoft.Storage/storageAccounts@2025-01-01' = {
  // checkov:skip=CKV_AZURE_35: no private network yet, and nodes come from addresses that are not known before: docs/security.md
  // checkov:skip=CKV_AZURE_59: the same; allowBlobPublicAccess is false, and there are no keys
  // checkov:skip=CKV_AZURE_206: nothing in it outlives a new deployment
  // checkov:skip=CKV_AZURE_43: checkov cannot work out the name; a test does
  name: 'sthost${token}'
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: { name: 'Standard_LRS' }
  properties: {
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    publicNetworkAccess: 'Enabled'
    networkAcls: { bypass: 'AzureServices', defaultAction: 'Allow' }
  }

  resource blobs 'blobServices' = {
    name: 'default'
    resource package 'containers' = { name: 'app-package', properties: { publicAccess: 'None' } }
  }
}

// https://learn.microsoft.com/azure/azure-functions/functions-reference#connecting-to-host-storage-with-an-identity:
// a timer wants Storage Blob Data Owner; queues and tables are for triggers that the app does not have.
resource appOwnsBlobs 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(account.id, appPrincipal, roles['Storage Blob Data Owner'])
  scope: account
  properties: {
    principalId: appPrincipal
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Storage Blob Data Owner'])
  }
}

output account string = account.name
output package string = 'https://${account.name}.blob.${environment().suffixes.storage}/${account::blobs::package.name}'
