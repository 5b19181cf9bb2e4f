#!/bin/sh
# Makes the app registration for the sign-in, once, after the first `azd up`; then `azd provision` turns it on.
# It wants the right to register applications. Nothing in it is a secret.
#   sh infra/sign-in.sh            makes it, and gives whoever runs this the role Operator
#   sh infra/sign-in.sh USER ROLE  gives USER (name@domain) the role Reader or Operator
set -eu
cd "$(dirname "$0")/.."
eval "$(azd env get-values)"
: "${APP_URL:?expected a deployment: azd up}"
name="fleetscore ${AZURE_ENV_NAME:?}"

grant() { # the id of a user, and a role
    role=$(az ad app show --id "$client" --query "appRoles[?value=='$2'].id | [0]" --output tsv)
    [ -n "$role" ] || { echo "expected the role Reader or Operator, got $2" >&2; exit 1; }
    assigned="https://graph.microsoft.com/v1.0/servicePrincipals/$principal/appRoleAssignedTo"
    has=$(az rest --method get --url "$assigned" --output tsv \
        --query "value[?principalId=='$1' && appRoleId=='$role'].id | [0]")
    [ -n "$has" ] || az rest --method post --output none --url "$assigned" \
        --body "{\"principalId\": \"$1\", \"resourceId\": \"$principal\", \"appRoleId\": \"$role\"}"
}

client=$(az ad app list --display-name "$name" --query '[0].appId' --output tsv)
if [ -z "$client" ]; then
    # An id token straight to the browser: so that no secret of the app is needed.
    client=$(az ad app create --display-name "$name" --sign-in-audience AzureADMyOrg \
        --web-redirect-uris "$APP_URL/.auth/login/aad/callback" --enable-id-token-issuance true \
        --app-roles @infra/app-roles.json --query appId --output tsv)
fi
# So that a script gets a token too, by `az account get-access-token`: the Azure CLI may ask for one without a consent.
# 04b07795-8ddb-461a-bbee-02f9e1bf7b46 is the Azure CLI, in every tenant; the other id is ours, of the right to come in.
az ad app update --id "$client" --identifier-uris "api://$client"
application="https://graph.microsoft.com/v1.0/applications/$(az ad app show --id "$client" --query id --output tsv)"
scope=2f1e5c0a-8d0c-4b0e-9d53-6b1f0c3f7a10
text='"adminConsentDisplayName": "Use fleetscore", "adminConsentDescription": "Use fleetscore as who is signed in."'
scopes="\"oauth2PermissionScopes\": [{\"id\": \"$scope\", \"value\": \"use\", \"type\": \"User\", \"isEnabled\": true, $text}]"
may='"appId": "04b07795-8ddb-461a-bbee-02f9e1bf7b46", "delegatedPermissionIds"'
az rest --method patch --url "$application" --body "{\"api\": {\"requestedAccessTokenVersion\": 2, $scopes}}"
az rest --method patch --url "$application" \
    --body "{\"api\": {\"requestedAccessTokenVersion\": 2, $scopes, \"preAuthorizedApplications\": [{$may: [\"$scope\"]}]}}"

# Each step is safe to take again, since it may have been cut between any two.
principal=$(az ad sp list --filter "appId eq '$client'" --query '[0].id' --output tsv)
[ -n "$principal" ] || principal=$(az ad sp create --id "$client" --query id --output tsv)
az ad sp update --id "$principal" --set appRoleAssignmentRequired=true # who has no role gets no token
[ $# -eq 2 ] || grant "$(az ad signed-in-user show --query id --output tsv)" Operator
if [ $# -eq 2 ]; then
    grant "$(az ad user show --id "$1" --query id --output tsv)" "$2"
fi
azd env set ENTRA_CLIENT_ID "$client"
echo "registered as $client; azd provision puts the sign-in before the app"
