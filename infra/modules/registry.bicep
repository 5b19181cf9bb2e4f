// The registry that holds the scorer's image. Its admin user, a password that everybody would share, is off.

param location string
param tags object
param token string
param nodesPrincipal string

var roles = loadJsonContent('roles.json')

resource registry 'Microsoft.ContainerRegistry/registries@2025-04-01' = {
  // checkov:skip=CKV_AZURE_139: no private network yet: docs/security.md. Images are pulled with an identity only
  // checkov:skip=CKV_AZURE_163: Defender for Containers scans, and is the subscription's to switch on
  // checkov:skip=CKV_AZURE_166: quarantine wants the tier Premium, at ten times the price, for one image of our own
  name: 'cr${token}'
  location: location
  tags: tags
  sku: { name: 'Basic' }
  properties: { adminUserEnabled: false, publicNetworkAccess: 'Enabled' }
}

resource nodesPull 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(registry.id, nodesPrincipal, roles.AcrPull)
  scope: registry
  properties: {
    principalId: nodesPrincipal
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.AcrPull)
  }
}

output name string = registry.name
output server string = registry.properties.loginServer
