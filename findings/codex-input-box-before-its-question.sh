#!/bin/bash
# Codex draws its input box before it asks whether to trust the folder.
#
# Versions:  @openai/codex 0.171.0 and node 22.23.3 (both from npm); tmux 3.3a
# Input:     none; Codex starts in a git checkout that its settings do not name
# Behaviour: the input box with its prompt sign is on the screen for 0.1 to 0.8 s; then the question replaces it. A
#            program that treats the box as "ready" types into the question. Meanwhile the row below the box does
#            not show the model and the folder, which it does once Codex reads input (`none default · ~/work`).
# Seen:      at first:   › Ask Codex to do anything
#            below it:   ? for shortcuts
#            then:       Trust this folder?
# Exit:      0 if the behaviour is unchanged.
set -euo pipefail

if [ "${1-}" != inside ]; then
    dir=$(mktemp -d)
    trap 'rm -rf "$dir"' EXIT
    arch=x64
    [ "$(uname -m)" != aarch64 ] || arch=arm64
    npm install --prefix "$dir" --ignore-scripts --no-audit --no-fund --loglevel=error \
        @openai/codex@0.171.0 "node-linux-$arch@22.23.3" >/dev/null
    # The rest has no network but loopback. All its processes end with it.
    unshare --map-root-user --net --pid --fork --kill-child --mount-proc "$BASH" "$0" inside "$dir"
    exit
fi

dir=$2
ip link set lo up
export HOME=$dir/home PATH=$dir/node_modules/.bin:$PATH TMUX_TMPDIR=$dir LANG=C.UTF-8
unset TMUX
mkdir -p "$HOME/.codex" "$HOME/work"
cat >"$HOME/.codex/config.toml" <<TOML
model = 'none'
model_provider = 'local'
check_for_update_on_startup = false
[model_providers.local]
name = 'local'
base_url = 'http://127.0.0.1:8099/v1'
env_key = 'MODEL_KEY'
wire_api = 'responses'
[analytics]
enabled = false
TOML

mkdir -p "$HOME/work/.git/objects/info" "$HOME/work/.git/refs/heads"
echo 'ref: refs/heads/main' >"$HOME/work/.git/HEAD"

tmux -f /dev/null new-session -d -x 80 -y 24 -c "$HOME/work" -e MODEL_KEY=none codex --no-daemon
box=none below=none question=none
for _ in $(seq 1000); do
    screen=$(tmux capture-pane -p)
    if grep -q 'Trust this folder' <<<"$screen"; then
        question='Trust this folder?'
        break
    fi
    if grep -q '^› Ask' <<<"$screen"; then
        box=$(grep '^› Ask' <<<"$screen")
        below=$(sed '1,/^› Ask/d' <<<"$screen" | grep -v '^ *$' | sed 's/^ *//' | head -n 1)
    fi
    sleep 0.01
done
echo "at first:   $box"
echo "below it:   $below"
echo "then:       $question"
[ "$box, $below, $question" = '› Ask Codex to do anything, ? for shortcuts, Trust this folder?' ]
