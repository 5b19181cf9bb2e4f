// Azure ML: a workspace, the compute cluster that grows from zero, and the scorer's environment. The workspace has a
// storage account and a key vault of its own, since Azure asks for Contributor on whatever it is given:
// https://learn.microsoft.com/azure/machine-learning/how-to-identity-based-service-authentication#workspace

param location string
param tags object
param token string
param purgeProtection bool
param registry string
param insights string
param appPrincipal string
param nodes string
param nodesPrincipal string
param workspaceIdentity string
param workspacePrincipal string
param personId string
param personType string
param nodeSize string
param maxNodes int
param lowPriority bool
param idleMinutes int
param environmentName string
param environmentVersion string
param image string

var roles = loadJsonContent('roles.json')

resource account 'Microsoft.Storage/storageAccounts@2025-01-01' = {
  // checkov:skip=CKV_AZURE_35: no private network yet, and nodes come from addresses that are not known before: docs/security.md
  // checkov:skip=CKV_AZURE_59: the same; allowBlobPublicAccess is false, and there are no keys
  // checkov:skip=CKV_AZURE_206: nothing in it outlives a new deployment
  // checkov:skip=CKV_AZURE_43: checkov cannot work out the name; a test does
  name: 'stml${token}'
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
}

resource vault 'Microsoft.KeyVault/vaults@2024-11-01' = {
  // checkov:skip=CKV_AZURE_109: no private network yet: docs/security.md. Azure ML keeps no secret of ours in it
  // checkov:skip=CKV_AZURE_189: the same
  // checkov:skip=CKV_AZURE_110: a parameter, on in main.prod.bicepparam; a small deployment wants to be torn down whole
  // checkov:skip=CKV_AZURE_42: the same
  name: 'kv-${token}'
  location: location
  tags: tags
  properties: {
    tenantId: tenant().tenantId
    sku: { family: 'A', name: 'standard' }
    enableRbacAuthorization: true
    enableSoftDelete: true
    softDeleteRetentionInDays: 90
    enablePurgeProtection: purgeProtection ? true : null // Azure takes no `false`
    publicNetworkAccess: 'Enabled'
    networkAcls: { bypass: 'AzureServices', defaultAction: 'Allow' }
  }
}

resource images 'Microsoft.ContainerRegistry/registries@2025-04-01' existing = {
  name: registry
}

resource component 'Microsoft.Insights/components@2020-02-02' existing = {
  name: last(split(insights, '/'))
}

resource workspace 'Microsoft.MachineLearningServices/workspaces@2025-06-01' = {
  // checkov:skip=CKV_AZURE_243: no private network yet: docs/security.md
  name: 'mlw-${token}'
  location: location
  tags: tags
  kind: 'Default'
  sku: { name: 'Basic', tier: 'Basic' }
  identity: { type: 'UserAssigned', userAssignedIdentities: { '${workspaceIdentity}': {} } }
  properties: {
    friendlyName: 'fleetscore'
    primaryUserAssignedIdentity: workspaceIdentity
    storageAccount: account.id
    keyVault: vault.id
    applicationInsights: insights
    containerRegistry: images.id
    systemDatastoresAuthMode: 'Identity'
    publicNetworkAccess: 'Enabled'
    v1LegacyMode: false
  }
  dependsOn: [workspaceOnStorage, workspaceOnBlobs, workspaceOnVault, workspaceOnSecrets, workspaceOnRegistry, workspaceOnInsights]
}

resource compute 'Microsoft.MachineLearningServices/workspaces/computes@2025-06-01' = {
  parent: workspace
  name: 'scorer'
  location: location
  tags: tags
  identity: { type: 'UserAssigned', userAssignedIdentities: { '${nodes}': {} } }
  properties: {
    computeType: 'AmlCompute'
    disableLocalAuth: true // no SSH
    properties: {
      osType: 'Linux'
      vmSize: nodeSize
      vmPriority: lowPriority ? 'LowPriority' : 'Dedicated'
      enableNodePublicIp: true // without a network of one's own there is no other way out
      remoteLoginPortPublicAccess: 'Disabled'
      scaleSettings: { minNodeCount: 0, maxNodeCount: maxNodes, nodeIdleTimeBeforeScaleDown: 'PT${idleMinutes}M' }
    }
  }
}

resource environments 'Microsoft.MachineLearningServices/workspaces/environments@2025-06-01' = {
  parent: workspace
  name: environmentName
  properties: { description: 'What a node of fleetscore runs.' }
}

// A version is for ever, and its name a hash of what is in the image: to register it again changes nothing.
resource version 'Microsoft.MachineLearningServices/workspaces/environments/versions@2025-06-01' = {
  parent: environments
  name: environmentVersion
  properties: { image: image, osType: 'Linux' }
}

// Less than AzureML Data Scientist, which may list the secrets of datastores and of computes. What Azure asks for to
// submit a job stands in https://learn.microsoft.com/azure/machine-learning/how-to-assign-roles#common-scenarios; left
// out are what builds environments, writes assets, or reads a secret.
resource submitter 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(resourceGroup().id, 'fleetscore-jobs')
  properties: {
    roleName: 'fleetscore jobs (${token})'
    description: 'Submit, see and cancel jobs of an Azure ML workspace, and see its nodes.'
    type: 'CustomRole'
    assignableScopes: [resourceGroup().id]
    permissions: [
      {
        actions: [
          'Microsoft.MachineLearningServices/workspaces/read'
          'Microsoft.MachineLearningServices/workspaces/jobs/*'
          'Microsoft.MachineLearningServices/workspaces/computes/read'
          'Microsoft.MachineLearningServices/workspaces/environments/read'
          'Microsoft.MachineLearningServices/workspaces/experiments/runs/read'
          'Microsoft.MachineLearningServices/workspaces/metadata/artifacts/read'
        ]
        notActions: ['Microsoft.MachineLearningServices/workspaces/jobs/delete']
        dataActions: []
        notDataActions: []
      }
    ]
  }
}

resource appSubmits 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(workspace.id, appPrincipal, submitter.id)
  scope: workspace
  properties: { principalId: appPrincipal, principalType: 'ServicePrincipal', roleDefinitionId: submitter.id }
}

// Azure ML brings a job's output into the workspace's storage as the identity of the node.
resource nodesOnBlobs 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(account.id, nodesPrincipal, roles['Storage Blob Data Contributor'])
  scope: account
  properties: {
    principalId: nodesPrincipal
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Storage Blob Data Contributor'])
  }
}

// Azure ML studio shows a job's output with the rights of who looks, not with its own.
resource personOnBlobs 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(personId)) {
  name: guid(account.id, personId, roles['Storage Blob Data Reader'])
  scope: account
  properties: {
    principalId: personId
    principalType: personType
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Storage Blob Data Reader'])
  }
}

resource workspaceOnItself 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(workspace.id, workspacePrincipal, roles.Contributor)
  scope: workspace
  properties: {
    principalId: workspacePrincipal
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.Contributor)
  }
}

resource workspaceOnStorage 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(account.id, workspacePrincipal, roles.Contributor)
  scope: account
  properties: {
    principalId: workspacePrincipal
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.Contributor)
  }
}

resource workspaceOnBlobs 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(account.id, workspacePrincipal, roles['Storage Blob Data Contributor'])
  scope: account
  properties: {
    principalId: workspacePrincipal
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Storage Blob Data Contributor'])
  }
}

resource workspaceOnVault 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(vault.id, workspacePrincipal, roles.Contributor)
  scope: vault
  properties: {
    principalId: workspacePrincipal
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.Contributor)
  }
}

resource workspaceOnSecrets 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(vault.id, workspacePrincipal, roles['Key Vault Administrator'])
  scope: vault
  properties: {
    principalId: workspacePrincipal
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Key Vault Administrator'])
  }
}

resource workspaceOnRegistry 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(images.id, workspacePrincipal, roles.Contributor)
  scope: images
  properties: {
    principalId: workspacePrincipal
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.Contributor)
  }
}

resource workspaceOnInsights 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(component.id, workspacePrincipal, roles.Contributor)
  scope: component
  properties: {
    principalId: workspacePrincipal
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.Contributor)
  }
}

output workspace string = workspace.id
output compute string = compute.name
