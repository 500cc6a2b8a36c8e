#!/bin/bash
# tmux: 3.7 keeps `.` and `:` in a session's name, but then no target with that name finds the session.
#
# Versions:  tmux 3.5a-3 (Debian trixie) and 3.7c-1 (Debian forky)
# Input:     new-session -s web.8080; then has-session -t with the exact name that list-sessions prints; the same
#            for db:1
# Behaviour: 3.5a replaces both characters by `_` without a message, and the printed name is a target. 3.7c keeps
#            the name as it was given, but a target is split at `:` and `.`, so `=web.8080` means a pane and `=db:1`
#            a window. The session's id ($0) is a target in both versions.
# Expected:  a name that new-session accepts is a target, or new-session refuses the name.
# Seen:      3.5a: web.8080 becomes web_8080, =web_8080 found, its id found
#            3.5a: db:1 becomes db_1, =db_1 found, its id found
#            3.7c: web.8080 becomes web.8080, =web.8080 not found, its id found
#            3.7c: db:1 becomes db:1, =db:1 not found, its id found
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

dir=$2
export HOME=$dir TMUX_TMPDIR=$dir LANG=C.UTF-8 TERM=xterm-256color
unset TMUX

seen=$(
    for version in 3.5a-3 3.7c-1; do
        tmux=("$dir/tmux-$version/run" -f /dev/null -L "$version")
        found() { # TARGET
            if "${tmux[@]}" has-session -t "$1" 2>/dev/null; then echo "found"; else echo "not found"; fi
        }
        for name in web.8080 db:1; do
            printed=$("${tmux[@]}" new-session -d -s "$name" -P -F '#{session_id} #{session_name}' cat)
            echo "${version%-*}: $name becomes ${printed#* }, =${printed#* } $(found "=${printed#* }")," \
                "its id $(found "${printed%% *}")"
        done
    done
)
"${0%/*}/compare" "$0" <<<"$seen"
