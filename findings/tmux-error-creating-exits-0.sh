#!/bin/bash
# tmux: a new-session that could not create its socket exits with 0, up to 3.7.
#
# Versions:  tmux 3.3a-3 (Debian bookworm), 3.5a-3 (trixie), 3.7c-1 (forky), 3.8-1 (sid)
# Input:     new-session -d, with a socket in a folder that does not exist
# Behaviour: tmux prints "error creating …", and there is no server. The exit status is 0 up to 3.7c and 1 in 3.8.
#            A caller that relies on the status takes the session for started. With -P, tmux prints the new
#            session's name on success and nothing on failure, in all versions.
# Expected:  a non-zero exit status.
# Seen:      3.3a: error creating, status 0, -P prints nothing
#            3.5a: error creating, status 0, -P prints nothing
#            3.7c: error creating, status 0, -P prints nothing
#            3.8: error creating, status 1, -P prints nothing
# Exit:      0 if the behaviour is unchanged.
set -euo pipefail

if [ "${1-}" != inside ]; then
    dir=$(mktemp -d)
    trap 'rm -rf "$dir"' EXIT
    "${0%/*}/debian" "$dir" bookworm tmux=3.3a-3
    "${0%/*}/debian" "$dir" trixie tmux=3.5a-3
    "${0%/*}/debian" "$dir" forky tmux=3.7c-1
    "${0%/*}/debian" "$dir" sid tmux=3.8-1
    # The rest runs without a network. All its processes end with it.
    unshare --map-root-user --net --pid --fork --kill-child --mount-proc "$BASH" "$0" inside "$dir"
    exit
fi

dir=$2
export HOME=$dir LANG=C.UTF-8 TERM=xterm-256color
unset TMUX

seen=$(
    for version in 3.3a-3 3.5a-3 3.7c-1 3.8-1; do
        status=0
        printed=$("$dir/tmux-$version/run" -f /dev/null -S "$dir/missing/socket" \
            new-session -d -P cat 2>"$dir/error") || status=$?
        echo "${version%-*}: $(grep -o 'error creating' "$dir/error"), status $status, -P prints ${printed:-nothing}"
    done
)
"${0%/*}/compare" "$0" <<<"$seen"
