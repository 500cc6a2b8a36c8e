#!/bin/bash
# Qwen Code leaves its session file behind if SIGTERM goes to all of its processes.
#
# Versions:  @qwen-code/qwen-code 0.24.4 on node 22.23.3 (both from npm); tmux 3.3a
# Input:     SIGTERM to the process that was started, or to its process group, while Qwen Code waits for a text
# Behaviour: the started process runs a child, which runs another child: the agent, whose process id names the file
#            ~/.qwen/sessions/PID.json. After SIGTERM to the started process alone, all three processes end and the
#            file is gone. After SIGTERM to all three, as systemd sends it at a stop, all three end, and the file stays
#            and names a conversation that no process has open.
# Expected:  SIGTERM has the same result in both cases, and the file is gone.
# Seen:      the file's process:              a child of a child of the started process
#            SIGTERM to the started process:  0 processes, 0 files
#            SIGTERM to its process group:    0 processes, 1 files
# Exit:      0 if the behaviour is unchanged.
set -euo pipefail

if [ "${1-}" != inside ]; then
    dir=$(mktemp -d)
    trap 'rm -rf "$dir"' EXIT
    arch=x64
    [ "$(uname -m)" != aarch64 ] || arch=arm64
    npm install --prefix "$dir" --ignore-scripts --no-audit --no-fund --loglevel=error \
        @qwen-code/qwen-code@0.24.4 "node-linux-$arch@22.23.3" >/dev/null
    # The rest has no network but loopback. All its processes end with it.
    unshare --map-root-user --net --pid --fork --kill-child --mount-proc "$BASH" "$0" inside "$dir"
    exit
fi

dir=$2
ip link set lo up
export HOME=$dir/home PATH=$dir/node_modules/.bin:$PATH TMUX_TMPDIR=$dir LANG=C.UTF-8
unset TMUX
mkdir -p "$HOME/.qwen" "$HOME/work"
cat >"$HOME/.qwen/settings.json" <<'JSON'
{"$version": 3, "security": {"auth": {"selectedType": "openai"}}, "model": {"name": "none"},
 "general": {"disableAutoUpdate": true, "enableAutoUpdate": false},
 "privacy": {"usageStatisticsEnabled": false}, "telemetry": {"enabled": false}}
JSON

start() { # SERVER: starts Qwen Code in a tmux server of its own
    rm -rf "$HOME/.qwen/sessions"
    tmux -L "$1" -f /dev/null new-session -d -x 200 -y 50 -c "$HOME/work" -e OPENAI_API_KEY=none \
        -e OPENAI_BASE_URL=http://127.0.0.1:8099/v1 -e OPENAI_MODEL=none qwen \; set-option remain-on-exit on
    until tmux -L "$1" capture-pane -p | grep -q 'Type your message'; do sleep 0.2; done
    for _ in $(seq 300); do
        [ -z "$(find "$HOME/.qwen/sessions" -name '*.json' 2>/dev/null)" ] || break
        sleep 0.2
    done
    sleep 3
    started=$(tmux -L "$1" display-message -p '#{pane_pid}')
    agent=$(basename "$HOME"/.qwen/sessions/*.json .json)
}
parent() { # PID
    awk '/^PPid:/ { print $2 }' "/proc/$1/status"
}
left() { # what is left when the agent has ended
    for _ in $(seq 150); do
        pgrep -g "$started" >/dev/null || break
        sleep 0.2
    done
    echo "$(pgrep -c -g "$started" || true) processes, $(find "$HOME/.qwen/sessions" -name '*.json' | wc -l) files"
}

start one
relation=another
[ "$(parent "$(parent "$agent")")" != "$started" ] || relation='a child of a child of the started process'
kill -TERM "$started"
alone=$(left)
start two
kill -TERM -- "-$started"
group=$(left)
"${0%/*}/compare" "$0" <<SEEN
the file's process:              $relation
SIGTERM to the started process:  $alone
SIGTERM to its process group:    $group
SEEN
