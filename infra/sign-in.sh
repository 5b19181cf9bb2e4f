#!/bin/sh
# Makes the app registration for the sign-in, once, after the first `azd up`; then `azd provision` turns it on.
# It wants the right to register applications. Nothing in it is a secret.
#   sh infra/sign-in.sh            makes it, and gives whoever runs this the role Operator
#   sh infra/sign-in.sh USER ROLE  gives USER (name@domain) the role Reader or Operator
set -eu
cd "$(dirname "$0")/.."
eval "$(azd env get-values)"
: "${APP_URL:?wanted a deployment: azd up}"
name="fleetscore ${AZURE_ENV_NAME:?}"

grant() { # the id of a user, and a role
    role=$(az ad app show --id "$client" --query "appRoles[?value=='$2'].id | [0]" --output tsv)
    [ -n "$role" ] || { echo "wanted the role Reader or Operator, found $2" >&2; exit 1; }
    az rest --method post --output none \
        --url "https://graph.microsoft.com/v1.0/servicePrincipals/$principal/appRoleAssignedTo" \
        --body "{\"principalId\": \"$1\", \"resourceId\": \"$principal\", \"appRoleId\": \"$role\"}"
}

client=$(az ad app list --display-name "$name" --query '[0].appId' --output tsv)
if [ -z "$client" ]; then
    # An id token straight to the browser: so that no secret of the app is needed.
    client=$(az ad app create --display-name "$name" --sign-in-audience AzureADMyOrg \
        --web-redirect-uris "$APP_URL/.auth/login/aad/callback" --enable-id-token-issuance true \
        --app-roles @infra/app-roles.json --query appId --output tsv)
fi
principal=$(az ad sp list --filter "appId eq '$client'" --query '[0].id' --output tsv)
if [ -z "$principal" ]; then
    az ad app update --id "$client" --identifier-uris "api://$client"
    principal=$(az ad sp create --id "$client" --query id --output tsv)
    az ad sp update --id "$principal" --set appRoleAssignmentRequired=true # who has no role gets no token
    grant "$(az ad signed-in-user show --query id --output tsv)" Operator
fi
if [ $# -eq 2 ]; then
    grant "$(az ad user show --id "$1" --query id --output tsv)" "$2"
fi
azd env set ENTRA_CLIENT_ID "$client"
echo "registered as $client; azd provision puts the sign-in before the app"
