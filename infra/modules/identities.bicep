// Who acts. None of them has a password or a key: Azure gives their tokens to the machines that they are assigned to.

param location string
param tags object
param token string

@description('The control plane: the function app.')
resource app 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: 'id-app-${token}'
  location: location
  tags: tags
}

@description('Nodes: the scorer, and with it whatever a model makes it do.')
resource nodes 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: 'id-nodes-${token}'
  location: location
  tags: tags
}

@description('The Azure ML service itself. A system-assigned identity would be given the whole resource group by Azure.')
resource workspace 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: 'id-workspace-${token}'
  location: location
  tags: tags
}

output app string = app.id
output appPrincipal string = app.properties.principalId
output appClientId string = app.properties.clientId
output nodes string = nodes.id
output nodesPrincipal string = nodes.properties.principalId
output nodesClientId string = nodes.properties.clientId
output workspace string = workspace.id
output workspacePrincipal string = workspace.properties.principalId
