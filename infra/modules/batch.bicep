// Azure Batch: an account that knows no keys, and a pool that grows from zero by a formula.

param location string
param tags object
param token string
param registryServer string
param nodes string
param appPrincipal string
param nodeSize string

@description('Nodes that are wanted first. The others, up to maxNodes, are low-priority.')
param dedicatedNodes int
param maxNodes int
param idleMinutes int

var roles = loadJsonContent('roles.json')

// Batch looks at it every five minutes, which is the most often that it does. One task a node, so that tasks are nodes.
// The most tasks that waited or ran in the last minutes stay wanted: that is how long a node waits for more. In its
// first minutes a pool has no samples, and a formula that fails leaves the pool as it is.
// https://learn.microsoft.com/azure/batch/batch-automatic-scaling
var formula = '''
span = TimeInterval_Minute * {0};
waiting = $PendingTasks.GetSamplePercent(TimeInterval_Minute * 5) < 1 ? 0 : max($PendingTasks.GetSample(TimeInterval_Minute * 5));
lately = $PendingTasks.GetSamplePercent(span) < 50 ? waiting : max(waiting, max($PendingTasks.GetSample(span)));
wanted = min({1}, lately);
$TargetDedicatedNodes = min({2}, wanted);
$TargetLowPriorityNodes = max(0, wanted - {2});
$NodeDeallocationOption = taskcompletion;
'''

resource account 'Microsoft.Batch/batchAccounts@2024-07-01' = {
  // checkov:skip=CKV_AZURE_76: a key of one's own is no parameter yet; Azure's encrypts, and no data stays in the account
  name: 'ba${token}'
  location: location
  tags: tags
  properties: {
    poolAllocationMode: 'BatchService'
    allowedAuthenticationModes: ['AAD'] // no keys
    publicNetworkAccess: 'Enabled'
  }
}

resource pool 'Microsoft.Batch/batchAccounts/pools@2024-07-01' = {
  parent: account
  name: 'scorer'
  identity: { type: 'UserAssigned', userAssignedIdentities: { '${nodes}': {} } }
  properties: {
    vmSize: nodeSize
    taskSlotsPerNode: 1 // a job uses all cores of a node
    taskSchedulingPolicy: { nodeFillType: 'Pack' }
    interNodeCommunication: 'Disabled'
    targetNodeCommunicationMode: 'Simplified'
    deploymentConfiguration: {
      virtualMachineConfiguration: {
        imageReference: { publisher: 'microsoft-dsvm', offer: 'ubuntu-hpc', sku: '2204', version: 'latest' }
        nodeAgentSkuId: 'batch.node.ubuntu 22.04'
        containerConfiguration: {
          type: 'DockerCompatible'
          // No image is fetched beforehand: a pool cannot be given another one, and the scorer's changes.
          containerRegistries: [{ registryServer: registryServer, identityReference: { resourceId: nodes } }]
        }
      }
    }
    scaleSettings: {
      autoScale: { evaluationInterval: 'PT5M', formula: format(formula, idleMinutes, maxNodes, dedicatedNodes) }
    }
  }
}

resource appSubmits 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(account.id, appPrincipal, roles['Azure Batch Job Submitter'])
  scope: account
  properties: {
    principalId: appPrincipal
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Azure Batch Job Submitter'])
  }
}

output endpoint string = 'https://${account.properties.accountEndpoint}'
output pool string = pool.name
