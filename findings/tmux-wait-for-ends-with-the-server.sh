#!/bin/bash
# tmux: `wait-for` exits with 0 when the server goes away without a signal on the channel.
#
# Versions:  tmux 3.3a-3 (Debian bookworm) and 3.8-1 (sid)
# Input:     wait-for ready, in one client; kill-server in another
# Behaviour: nobody signals the channel "ready". When the server ends, the waiting client exits with 0 and prints
#            nothing, exactly as after `wait-for -S ready`. A caller cannot distinguish the two cases.
# Expected:  a non-zero exit status, or a message.
# Seen:      3.3a: signalled: status 0; server killed: status 0
#            3.8: signalled: status 0; server killed: status 0
# Exit:      0 if the behaviour is unchanged.
set -euo pipefail

if [ "${1-}" != inside ]; then
    dir=$(mktemp -d)
    trap 'rm -rf "$dir"' EXIT
    "${0%/*}/debian" "$dir" bookworm tmux=3.3a-3
    "${0%/*}/debian" "$dir" sid tmux=3.8-1
    # The rest runs without a network. All its processes end with it.
    unshare --map-root-user --net --pid --fork --kill-child --mount-proc "$BASH" "$0" inside "$dir"
    exit
fi

dir=$2
export HOME=$dir TMUX_TMPDIR=$dir LANG=C.UTF-8 TERM=xterm-256color
unset TMUX

waited() { # TMUX COMMAND…: the status of a wait-for that COMMAND ends
    local tmux=$1 status=0
    shift
    "$tmux" -L wait wait-for ready >"$dir/printed" 2>&1 &
    sleep 1
    "$tmux" -L wait "$@"
    wait "$!" || status=$?
    echo "status $status$(cat "$dir/printed")"
}
seen=$(
    for version in 3.3a-3 3.8-1; do
        tmux=$dir/tmux-$version/run
        "$tmux" -f /dev/null -L wait new-session -d cat
        echo "${version%-*}: signalled: $(waited "$tmux" wait-for -S ready); server killed: $(waited "$tmux" kill-server)"
    done
)
"${0%/*}/compare" "$0" <<<"$seen"
