#!/bin/bash
# tmux: a TMUX_TMPDIR that does not exist is ignored without a message, and /tmp is used in its place.
#
# Versions:  tmux 3.3a-3 (Debian bookworm) and 3.8-1 (sid)
# Input:     new-session -d with TMUX_TMPDIR=/run/agents, before that folder is created and afterwards
# Behaviour: without the folder, tmux creates the socket below /tmp and exits with 0. Once the folder exists, the
#            same environment leads to another socket: the client says "error connecting", although the server
#            runs. A variable that is set too early in a boot thus hides all sessions that were started before.
# Expected:  an error, or the folder is created.
# Seen:      3.3a: status 0, socket /tmp/tmux-0/default; then: error connecting to /run/agents/tmux-0/default
#            3.8: status 0, socket /tmp/tmux-0/default; then: error connecting to /run/agents/tmux-0/default
# Exit:      0 if the behaviour is unchanged.
set -euo pipefail

if [ "${1-}" != inside ]; then
    dir=$(mktemp -d)
    trap 'rm -rf "$dir"' EXIT
    "${0%/*}/debian" "$dir" bookworm tmux=3.3a-3
    "${0%/*}/debian" "$dir" sid tmux=3.8-1
    cp "${0%/*}/compare" "$dir/compare"
    cp "$0" "$dir/finding"
    # The rest runs without a network, in mounts of its own. All its processes end with it.
    unshare --map-root-user --net --mount --pid --fork --kill-child --mount-proc "$BASH" "$0" inside "$dir"
    exit
fi

dir=$2
# Empty folders in place of /tmp and /run. The temporary folder itself stays where it is.
mount --bind "$dir" /mnt
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs tmpfs /run
mkdir -p "$dir"
mount --bind /mnt "$dir"
export HOME=$dir LANG=C.UTF-8 TERM=xterm-256color TMUX_TMPDIR=/run/agents
unset TMUX

seen=$(
    for version in 3.3a-3 3.8-1; do
        tmux=$dir/tmux-$version/run
        status=0
        "$tmux" -f /dev/null new-session -d cat || status=$?
        socket=$("$tmux" display-message -p '#{socket_path}')
        mkdir /run/agents
        echo "${version%-*}: status $status, socket $socket;" \
            "then: $("$tmux" list-sessions 2>&1 | sed 's/ (No such file or directory)//')"
        rmdir /run/agents/tmux-0 /run/agents
        "$tmux" kill-server
        sleep 1
    done
)
"$dir/compare" "$dir/finding" <<<"$seen"
