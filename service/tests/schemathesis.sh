#!/bin/bash
# schemathesis.sh PROGRAM [EXAMPLES]: generated requests for every operation of openapi.json against `PROGRAM serve`,
# which runs nothing and delivers nothing, so that no generated address is ever connected to. No answer may be a 5xx
# or outside of openapi.json. Exit 0: none was. Exit 77: schemathesis can't be had here.
set -euo pipefail
program=$(realpath "$1") examples=${2:-50} version=4.32.5
folder=$(mktemp -d)
trap 'kill $server 2>/dev/null || true; rm -rf "$folder"' EXIT
server=
# It leaves a cache where it runs.
cd "$folder"

schemathesis=${SCHEMATHESIS:-$folder/venv/bin/schemathesis}
if [[ ! -x $schemathesis ]]; then
    python3 -m venv "$folder/venv" >/dev/null 2>&1 &&
        "$folder/venv/bin/pip" install -q "schemathesis==$version" >/dev/null 2>&1 ||
        { echo "skipped: schemathesis $version can't be had here" >&2; exit 77; }
fi

"$program" --listen 127.0.0.1:0 --data "$folder/data" --workers 0 --no-deliveries --no-git-http \
    >"$folder/out" 2>"$folder/log" &
server=$!
for _ in $(seq 300); do
    grep -q '^admin key: ' "$folder/out" && grep -q '^listening on ' "$folder/out" && break
    sleep 0.1
done
url=$(sed -n 's/^listening on //p' "$folder/out")/v1
key=$(sed -n 's/^admin key: //p' "$folder/out")

# Things that the generated requests can find: without them nearly all answers would be 404.
post() {
    curl -sS --fail -H "Authorization: Bearer $key" -H 'Content-Type: application/json' -d "$2" "$url/default/$1"
}
id() { sed -n 's/^{"id":"\([^"]*\)".*/\1/p'; }
upstream='{"url":"https://git.example.com/app.git"}'
post repos "{\"name\":\"app\",\"upstream\":$upstream}" >/dev/null
post repos "{\"name\":\"changed\",\"upstream\":$upstream}" >/dev/null
sync=$(post app/upstream/syncs '{"direction":"pull"}' | id)
target=$(post webhook-targets '{"url":"https://hooks.example.com/"}' | id)
delivery=$(post "webhook-targets/$target/test" '{}' | id)
[[ $sync == sync_* && $target == wht_* && $delivery == whd_* ]]

operation() { printf '[[operations]]\ninclude-operation-id = "%s"\nparameters = { %s }\n' "$1" "$2"; }
org='"path.org" = "default"' app='"path.repo" = "app"' of_target="\"path.id\" = \"$target\""
{
    for name in createRepo listRepos listWebhookTargets createWebhookTarget listApiKeys createApiKey; do
        operation $name "$org"
    done
    for name in getRepo syncUpstream listUpstreamSyncs createUpstreamHook; do operation $name "$org, $app"; done
    operation updateRepo "$org, \"path.repo\" = \"changed\""
    for name in getUpstreamSync cancelUpstreamSync; do operation $name "$org, $app, \"path.id\" = \"$sync\""; done
    for name in getWebhookTarget updateWebhookTarget listDeliveries testWebhookTarget rotateWebhookSecret; do
        operation $name "$org, $of_target"
    done
    operation redeliver "$org, $of_target, \"path.sub_id\" = \"$delivery\""
} >"$folder/found.toml"
: >"$folder/any.toml"

run() {
    "$schemathesis" --config-file "$1" run "$url/openapi.json" --url "$url" --header "Authorization: Bearer $key" \
        --phases examples,coverage,fuzzing --max-examples "$examples" --seed 1 --continue-on-failure \
        --checks not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance \
        --request-timeout 90 --suppress-health-check all --warnings off "${@:2}"
}
# First with things that are there, then with any, the removals among them.
run "$folder/found.toml" --exclude-method DELETE
run "$folder/any.toml"
kill -0 $server
! grep -i 'panicked\|a panic' "$folder/log"
