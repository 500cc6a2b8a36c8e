#!/bin/bash
# tmux: a server of 3.7 or later refuses every older client as if the server had crashed.
#
# Versions:  tmux 3.5a-3 (Debian trixie) and 3.7c-1 (Debian forky)
# Input:     list-sessions, by the client of each version against a server of each version
# Behaviour: a 3.7c server drops a 3.5a client. The client prints "server exited unexpectedly" and exits with 1.
#            The server runs on, and a client of its own version finds the session. The other way round, a 3.7c
#            client lists the sessions of a 3.5a server, but cannot attach to them.
# Expected:  "protocol version mismatch", as tmux reports when the two protocol numbers differ. The number is 8 in
#            both versions, so that check passes.
# Seen:      server 3.5a, client 3.5a: agent
#            server 3.5a, client 3.7c: agent
#            attach:                   open terminal failed: not a terminal
#            server 3.7c, client 3.5a: server exited unexpectedly
#            server 3.7c, client 3.7c: agent
# Exit:      0 if the behaviour is unchanged.
set -euo pipefail

if [ "${1-}" != inside ]; then
    dir=$(mktemp -d)
    trap 'rm -rf "$dir"' EXIT
    "${0%/*}/debian" "$dir" trixie tmux=3.5a-3
    "${0%/*}/debian" "$dir" forky tmux=3.7c-1
    # The rest runs without a network. All its processes end with it.
    unshare --map-root-user --net --pid --fork --kill-child --mount-proc "$BASH" "$0" inside "$dir"
    exit
fi

dir=$2 old=$2/tmux-3.5a-3/run new=$2/tmux-3.7c-1/run
export HOME=$dir TMUX_TMPDIR=$dir LANG=C.UTF-8 TERM=xterm-256color
unset TMUX

"$old" -f /dev/null -L old new-session -d -s agent cat
"$new" -f /dev/null -L new new-session -d -s agent cat
list() { # CLIENT SOCKET
    "$1" -L "$2" list-sessions -F '#{session_name}' 2>&1 || true
}
# Each line is read after the one before: the last one shows that the server survived.
seen="server 3.5a, client 3.5a: $(list "$old" old)
server 3.5a, client 3.7c: $(list "$new" old)
attach:                   $(script --quiet --command "$new -L old attach" /dev/null </dev/null | tr -d '\r' | tail -n 1)
server 3.7c, client 3.5a: $(list "$old" new)
server 3.7c, client 3.7c: $(list "$new" new)"
"${0%/*}/compare" "$0" <<<"$seen"
