#!/bin/bash
# tmux: a window keeps the size of a small client after that client has left.
#
# Versions:  tmux 3.3a-3 (Debian bookworm) and 3.8-1 (sid)
# Input:     new-session -d -x 200 -y 50; a client of 70 by 20 attaches and detaches
# Behaviour: while the client is attached, the window has its size, less the status line. With the default
#            `window-size latest` the window keeps that size when no client is left, although it was created with
#            200 by 50. A program in it goes on drawing into 70 columns.
# Expected:  the size that -x and -y gave, when no client is attached.
# Seen:      3.3a: at first 200x50, attached 70x19, afterwards 70x19
#            3.8: at first 200x50, attached 70x19, afterwards 70x19
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

mkfifo "$dir/terminal"
seen=$(
    for version in 3.3a-3 3.8-1; do
        tmux=$dir/tmux-$version/run
        size() { "$tmux" -L size display-message -p -t agent '#{window_width}x#{window_height}'; }
        "$tmux" -f /dev/null -L size new-session -d -s agent -x 200 -y 50 cat
        first=$(size)
        script --quiet --command "stty rows 20 cols 70; $tmux -L size attach" /dev/null \
            <"$dir/terminal" >/dev/null 2>&1 &
        client=$!
        exec 5>"$dir/terminal"
        until [ -n "$("$tmux" -L size list-clients)" ]; do sleep 0.1; done
        sleep 1
        attached=$(size)
        "$tmux" -L size detach-client -s agent
        wait "$client"
        exec 5>&-
        sleep 1
        echo "${version%-*}: at first $first, attached $attached, afterwards $(size)"
        "$tmux" -L size kill-server
        sleep 1
    done
)
"${0%/*}/compare" "$0" <<<"$seen"
