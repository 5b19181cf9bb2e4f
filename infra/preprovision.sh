#!/bin/sh
# Before azd asks Azure for anything: is all there that the deployment wants, and what does it want to know?
# `make deploy` runs it once more before `azd up`, which may read main.bicepparam before its hooks have run:
# https://github.com/Azure/azure-dev/issues/4402. Twice is once.
set -eu
cd "$(dirname "$0")/.."

expected() {
    echo "expected $1" >&2
    exit 1
}
command -v az >/dev/null || expected "the Azure CLI: https://learn.microsoft.com/cli/azure/install-azure-cli"
az account show --output none 2>/dev/null || expected "somebody who is signed in: az login"
subscription=$(az account show --query id --output tsv)
if [ "${AZURE_SUBSCRIPTION_ID:-$subscription}" != "$subscription" ]; then
    expected "one subscription: azd has $AZURE_SUBSCRIPTION_ID, az has $subscription. az account set --subscription $AZURE_SUBSCRIPTION_ID"
fi
case "${CLUSTER:-azureml}" in
    azureml) provider=Microsoft.MachineLearningServices ;;
    batch) provider=Microsoft.Batch ;;
    *) expected "CLUSTER to be azureml or batch, got $CLUSTER" ;;
esac
case "${STREAMING:-}" in
    "" | capture | analytics) ;;
    *) expected "STREAMING to be capture, analytics or empty, got $STREAMING" ;;
esac
case "${STREAM_SOURCE:-}" in # the template compares letter by letter: another spelling would be no IoT Hub
    "" | event-hub | iot-hub) ;;
    *) expected "STREAM_SOURCE to be event-hub, iot-hub or empty, got $STREAM_SOURCE" ;;
esac
case "${STATIC_DATA:-}" in
    "" | copy | aggregate) ;;
    *) expected "STATIC_DATA to be copy, aggregate or empty, got $STATIC_DATA" ;;
esac
more=
[ -z "${STREAMING:-}" ] || more="Microsoft.EventHub"
[ "${STREAMING:-}" != analytics ] || more="$more Microsoft.StreamAnalytics"
[ "${STREAM_SOURCE:-}" != iot-hub ] || more="$more Microsoft.Devices"
[ -z "${STATIC_DATA:-}" ] || more="$more Microsoft.DataFactory"
# shellcheck disable=SC2086  # several words, or none
for each in "$provider" $more Microsoft.App Microsoft.Web Microsoft.ContainerRegistry Microsoft.Storage Microsoft.Insights \
    Microsoft.OperationalInsights Microsoft.KeyVault Microsoft.ManagedIdentity; do
    az provider register --namespace "$each" --output none # done once for a subscription; again, it changes nothing
done

SCORER_TAG=$(sh infra/tag.sh)
azd env set SCORER_TAG "$SCORER_TAG"
# A budget's first month can never be changed, so that it is remembered.
[ -n "${BUDGET_START:-}" ] || azd env set BUDGET_START "$(date -u +%Y-%m-01)"
# The same of the first hour of static data: the trigger begins with the hour in which it was first asked for.
[ -z "${STATIC_DATA:-}" ] || [ -n "${STATIC_FROM:-}" ] || azd env set STATIC_FROM "$(date -u +%Y-%m-%dT%H:00:00Z)"

# What runs now shall not get an image that does not exist yet: where there is a registry, it is built first.
if [ -n "${AZURE_CONTAINER_REGISTRY_NAME:-}" ]; then
    SCORER_IMAGE="fleetscore-scorer:$SCORER_TAG" sh infra/build.sh
fi
