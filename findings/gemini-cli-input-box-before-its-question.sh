#!/bin/bash
# Gemini CLI draws its input box before it asks whether to trust the folder.
#
# Versions:  @google/gemini-cli 0.61.0 on node 22.23.3 (both from npm); tmux 3.3a
# Input:     none; Gemini CLI starts in a folder that its settings do not name
# Behaviour: the input box with its prompt is on the screen for 0.3 to 0.5 s; then the question replaces it. A program
#            that treats the box as "ready" types into the question. Meanwhile the screen does not show the program's
#            name and version, which stand above the box once Gemini CLI reads input.
# Seen:      at first:                  > Type your message or @path/to/file
#            rows with "Gemini CLI v":  0
#            then:                      Do you trust the files in this folder?
# Exit:      0 if the behaviour is unchanged.
set -euo pipefail

if [ "${1-}" != inside ]; then
    dir=$(mktemp -d)
    trap 'rm -rf "$dir"' EXIT
    arch=x64
    [ "$(uname -m)" != aarch64 ] || arch=arm64
    npm install --prefix "$dir" --ignore-scripts --no-audit --no-fund --loglevel=error \
        @google/gemini-cli@0.61.0 "node-linux-$arch@22.23.3" >/dev/null
    # The rest has no network but loopback. All its processes end with it.
    unshare --map-root-user --net --pid --fork --kill-child --mount-proc "$BASH" "$0" inside "$dir"
    exit
fi

dir=$2
ip link set lo up
export HOME=$dir/home PATH=$dir/node_modules/.bin:$PATH TMUX_TMPDIR=$dir LANG=C.UTF-8
unset TMUX
mkdir -p "$HOME/.gemini" "$HOME/work"
cat >"$HOME/.gemini/settings.json" <<'JSON'
{"security": {"auth": {"selectedType": "gemini-api-key"}}, "general": {"disableAutoUpdate": true, "enableAutoUpdate": false},
 "privacy": {"usageStatisticsEnabled": false}, "telemetry": {"enabled": false}}
JSON
tmux -f /dev/null new-session -d -x 80 -y 24 -c "$HOME/work" -e GEMINI_API_KEY=none \
    -e GOOGLE_GEMINI_BASE_URL=http://127.0.0.1:8099 gemini --model gemini-2.5-flash
box=none above=none question=none
for _ in $(seq 3000); do
    screen=$(tmux capture-pane -p)
    if grep -q 'Do you trust the files' <<<"$screen"; then
        question=$(grep -o 'Do you trust .*?' <<<"$screen")
        break
    fi
    if grep -q '> *Type your message' <<<"$screen"; then
        box=$(grep -o '> *Type your message.*' <<<"$screen" | tr -s ' ')
        above=$(grep -c 'Gemini CLI v' <<<"$screen" || true)
    fi
    sleep 0.01
done
"${0%/*}/compare" "$0" <<SEEN
at first:                  $box
rows with "Gemini CLI v":  $above
then:                      $question
SEEN
