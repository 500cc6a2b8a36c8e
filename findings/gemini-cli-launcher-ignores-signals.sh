#!/bin/bash
# Gemini CLI: the process that `gemini` starts ignores SIGTERM, SIGHUP and SIGINT, and does not pass them on.
#
# Versions:  @google/gemini-cli 0.61.0 on node 22.23.3 (both from npm); tmux 3.3a
# Input:     SIGTERM, SIGHUP and SIGINT, three seconds apart, to the process that a shell or a supervisor started,
#            while Gemini CLI waits for input
# Behaviour: that process is a launcher. It starts a second one with a larger heap, which draws the screen. After
#            each of the three signals both processes run on. A supervisor that signals only its main process
#            waits until its time-out.
# Expected:  SIGTERM ends both, or reaches the second process, which ends when it gets SIGTERM itself.
# Seen:      after TERM to the launcher: launcher running, its child running
#            after HUP to the launcher: launcher running, its child running
#            after INT to the launcher: launcher running, its child running
#            after TERM to the child: child gone
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
printf '{"%s": "TRUST_FOLDER"}' "$HOME/work" >"$HOME/.gemini/trustedFolders.json"

# No model is asked, so none listens.
tmux -f /dev/null new-session -d -x 200 -y 50 -c "$HOME/work" -e GEMINI_API_KEY=none \
    -e GOOGLE_GEMINI_BASE_URL=http://127.0.0.1:8099 gemini --model gemini-2.5-flash
until tmux capture-pane -p | grep -q 'Type your message'; do sleep 0.2; done
sleep 3

launcher=$(tmux display-message -p '#{pane_pid}')
child=$(pgrep --parent "$launcher")
state() { # PID
    if kill -0 "$1" 2>/dev/null; then echo running; else echo gone; fi
}
seen=$(
    for signal in TERM HUP INT; do
        kill "-$signal" "$launcher"
        sleep 3
        echo "after $signal to the launcher: launcher $(state "$launcher"), its child $(state "$child")"
    done
    kill -TERM "$child"
    sleep 3
    echo "after TERM to the child: child $(state "$child")"
)
"${0%/*}/compare" "$0" <<<"$seen"
