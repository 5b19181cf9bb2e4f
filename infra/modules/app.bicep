// The function app on Flex Consumption, and who may come in. It signs in everywhere as one identity; none of its
// settings is a secret but the hashes of keys, and those only where there is no sign-in.

param location string
param tags object
param token string
param identity string
param identityClientId string
param hostAccount string
param package string
param insightsConnection string
param memory int
param maxInstances int
param entraClientId string
@secure()
param readKeySha256 string
@secure()
param operateKeySha256 string

@description('Settings of the app, by name.')
param settings object

var signIn = !empty(entraClientId)

var ofHost = {
  AzureWebJobsStorage__accountName: hostAccount
  AzureWebJobsStorage__credential: 'managedidentity'
  AzureWebJobsStorage__clientId: identityClientId
  APPLICATIONINSIGHTS_CONNECTION_STRING: insightsConnection
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identityClientId};Authorization=AAD'
  AZURE_CLIENT_ID: identityClientId
  AZURE_TOKEN_CREDENTIALS: 'ManagedIdentityCredential'
}
var ofGuard = {
  SIGN_IN: signIn ? 'entra' : ''
  READ_KEY_SHA256: readKeySha256
  OPERATE_KEY_SHA256: operateKeySha256
}

resource plan 'Microsoft.Web/serverfarms@2024-11-01' = {
  // checkov:skip=CKV_AZURE_225: a lost zone delays a tick, and the next one goes on; zones would want instances that stay
  name: 'plan-${token}'
  location: location
  tags: tags
  kind: 'functionapp'
  sku: { name: 'FC1', tier: 'FlexConsumption' }
  properties: { reserved: true }
}

resource site 'Microsoft.Web/sites@2024-11-01' = {
  // checkov:skip=CKV_AZURE_17: Microsoft Entra or a key says who comes in, not by certificates
  // checkov:skip=CKV_AZURE_18: Flex Consumption decides itself which HTTP it speaks
  // checkov:skip=CKV_AZURE_67: the same
  // checkov:skip=CKV_AZURE_212: it scales to zero on purpose
  // checkov:skip=CKV_AZURE_213: Flex Consumption has no health check; the alert on the heartbeat watches
  // checkov:skip=CKV_AZURE_222: people reach it from the internet, after they signed in: docs/security.md
  name: 'func-${token}'
  location: location
  tags: union(tags, { 'azd-service-name': 'app' })
  kind: 'functionapp,linux'
  identity: { type: 'UserAssigned', userAssignedIdentities: { '${identity}': {} } }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    publicNetworkAccess: 'Enabled'
    siteConfig: { minTlsVersion: '1.2', ftpsState: 'Disabled' }
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: package
          authentication: { type: 'UserAssignedIdentity', userAssignedIdentityResourceId: identity }
        }
      }
      runtime: { name: 'python', version: '3.12' }
      scaleAndConcurrency: { instanceMemoryMB: memory, maximumInstanceCount: maxInstances }
    }
  }

  resource appsettings 'config' = {
    name: 'appsettings'
    properties: union(ofHost, ofGuard, settings)
  }

  // Nothing is published by a password. azd does it by a token.
  resource scm 'basicPublishingCredentialsPolicies' = {
    name: 'scm'
    properties: { allow: false }
  }
  resource ftp 'basicPublishingCredentialsPolicies' = {
    name: 'ftp'
    properties: { allow: false }
  }
}

// Stands before the app, sets its header X-MS-CLIENT-PRINCIPAL, and takes away what a client sends under that name. It
// has no secret: a browser brings the id token itself.
resource auth 'Microsoft.Web/sites/config@2024-11-01' = if (signIn) {
  // checkov:skip=CKV_AZURE_13: asks this of a site, and takes its sign-in for one
  // checkov:skip=CKV_AZURE_63: asks this of a site, and takes its sign-in for one
  // checkov:skip=CKV_AZURE_65: asks this of a site, and takes its sign-in for one
  // checkov:skip=CKV_AZURE_66: asks this of a site, and takes its sign-in for one
  // checkov:skip=CKV_AZURE_80: asks this of a site, and takes its sign-in for one
  // checkov:skip=CKV_AZURE_88: asks this of a site, and takes its sign-in for one
  // checkov:skip=CKV_AZURE_222: asks this of a site, and takes its sign-in for one
  parent: site
  name: 'authsettingsV2'
  properties: {
    platform: { enabled: true, runtimeVersion: '~1' }
    globalValidation: {
      requireAuthentication: true
      unauthenticatedClientAction: 'RedirectToLoginPage'
      redirectToProvider: 'azureactivedirectory'
      excludedPaths: ['/api/health']
    }
    httpSettings: { requireHttps: true }
    login: { tokenStore: { enabled: false } }
    identityProviders: {
      azureActiveDirectory: {
        enabled: true
        registration: {
          clientId: entraClientId
          openIdIssuer: '${environment().authentication.loginEndpoint}${tenant().tenantId}/v2.0'
        }
        validation: { allowedAudiences: [entraClientId, 'api://${entraClientId}'] }
      }
    }
  }
}

output name string = site.name
output url string = 'https://${site.properties.defaultHostName}'
