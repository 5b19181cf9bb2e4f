#!/bin/sh
# Prints the version of the scorer: a hash of what its image is made of, which scorer/Dockerfile names itself, and of the
# user that it runs as, where SCORER_RUN_AS names another than that file does.
set -eu
cd "$(dirname "$0")/.."
LC_ALL=C
export LC_ALL
sources=$(grep -v '^ *#' scorer/Dockerfile | grep -oE '[[:space:]](scorer|shared)/[A-Za-z_/.]*' | sort -u)
hash() { if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi; }
# shellcheck disable=SC2086  # each is a file, or a folder of files
find scorer/Dockerfile $sources -type f -not -path '*/__pycache__/*' | sed 's,//*,/,g' | sort -u | while read -r file; do
    printf '%s %s\n' "$file" "$(hash <"$file")"
done | { cat; [ -z "${SCORER_RUN_AS:-}" ] || echo "as $SCORER_RUN_AS"; } | hash | cut -c 1-12
