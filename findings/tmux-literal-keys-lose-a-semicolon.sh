#!/bin/bash
# tmux: `send-keys -l TEXT` drops a semicolon at the end of TEXT.
#
# Versions:  tmux 3.3a-3 (Debian bookworm) and 3.8-1 (sid)
# Input:     send-keys -l with the one argument `x = 1;`, to a program that prints its input; the same with `x = 1\;`
# Behaviour: tmux takes a semicolon at the end of any argument for the separator of two commands, before send-keys
#            sees its arguments and its -l ("literally"). The text arrives without it, and send-keys exits
#            with 0. With a backslash before it, the semicolon arrives.
# Expected:  an argument after -l arrives as it is: the shell has already split the arguments.
# Seen:      3.3a: "x = 1;" arrives as "x = 1"; "x = 1\;" arrives as "x = 1;"
#            3.8: "x = 1;" arrives as "x = 1"; "x = 1\;" arrives as "x = 1;"
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

typed() { # TMUX TEXT: what a program reads when TEXT is typed
    "$1" -f /dev/null -L keys new-session -d "head -n 1 >'$dir/read'; '$1' wait-for -S read; cat"
    "$1" -L keys send-keys -l "$2" 2>&1 || echo "status $?, and "
    "$1" -L keys send-keys Enter
    "$1" -L keys wait-for read
    "$1" -L keys kill-server
    cat "$dir/read"
    # kill-server does not wait for the server's end.
    sleep 1
}
seen=$(
    for version in 3.3a-3 3.8-1; do
        tmux=$dir/tmux-$version/run
        echo "${version%-*}: \"x = 1;\" arrives as \"$(typed "$tmux" 'x = 1;')\";" \
            "\"x = 1\\;\" arrives as \"$(typed "$tmux" 'x = 1\;')\""
    done
)
"${0%/*}/compare" "$0" <<<"$seen"
