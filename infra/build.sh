#!/bin/sh
# Builds the scorer's image in the registry, unless it is there. Needs no Docker: Azure builds it.
set -eu
cd "$(dirname "$0")/.."
: "${AZURE_CONTAINER_REGISTRY_NAME:?expected the name of the registry; azd sets it}"
: "${SCORER_IMAGE:?expected NAME:TAG of the image; azd sets it}"

if az acr repository show --name "$AZURE_CONTAINER_REGISTRY_NAME" --image "$SCORER_IMAGE" --output none 2>/dev/null; then
    echo "$SCORER_IMAGE is there"
    exit 0
fi
echo "building $SCORER_IMAGE; it takes some minutes"
az acr build --registry "$AZURE_CONTAINER_REGISTRY_NAME" --image "$SCORER_IMAGE" --platform linux/amd64 \
    ${SCORER_RUN_AS:+--build-arg "RUN_AS=$SCORER_RUN_AS"} --file scorer/Dockerfile --only-show-errors .
