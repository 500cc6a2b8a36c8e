#!/bin/bash
# tmux: with the defaults of 3.8, one turn of the mouse wheel keeps later send-keys from the program.
#
# Versions:  tmux 3.7c-1 (Debian forky) and 3.8-1 (Debian sid)
# Input:     without a configuration: a client attaches, its user turns the wheel up once, the client detaches; then
#            send-keys -l of a line of text, and Enter
# Behaviour: `mouse` is off by default in 3.7c and on in 3.8. In 3.8 the wheel puts the pane into copy mode, and the
#            pane stays there after the client has left. Copy mode takes the keys: the program reads nothing, and
#            send-keys exits with 0. In 3.7c the program reads the text.
# Expected:  the keys reach the program when no client is attached any more.
# Seen:      3.7c: mouse off, mode none, the program reads hello
#            3.8: mouse on, mode copy-mode, the program reads nothing
# Exit:      0 if the behaviour is unchanged.
set -euo pipefail

if [ "${1-}" != inside ]; then
    dir=$(mktemp -d)
    trap 'rm -rf "$dir"' EXIT
    "${0%/*}/debian" "$dir" forky tmux=3.7c-1
    "${0%/*}/debian" "$dir" sid tmux=3.8-1
    # The rest runs without a network. All its processes end with it.
    unshare --map-root-user --net --pid --fork --kill-child --mount-proc "$BASH" "$0" inside "$dir"
    exit
fi

dir=$2
export HOME=$dir TMUX_TMPDIR=$dir LANG=C.UTF-8 TERM=xterm-256color
unset TMUX

# The terminal's keyboard and mouse.
mkfifo "$dir/terminal"
seen=$(
    for version in 3.7c-1 3.8-1; do
        tmux=$dir/tmux-$version/run
        # Lines above the screen, for the wheel to scroll to.
        "$tmux" -f /dev/null -L mouse new-session -d -s agent "seq 200; cat >'$dir/read'"
        script --quiet --command "stty rows 24 cols 80; $tmux -L mouse attach" /dev/null \
            <"$dir/terminal" >/dev/null 2>&1 &
        client=$!
        exec 5>"$dir/terminal"
        until [ -n "$("$tmux" -L mouse list-clients)" ]; do sleep 0.1; done
        sleep 1
        printf '\033[<64;10;10M' >&5
        sleep 1
        "$tmux" -L mouse detach-client -s agent
        wait "$client"
        exec 5>&-
        # Without the mouse, the program may have read the wheel's bytes: end their line.
        "$tmux" -L mouse send-keys Enter
        "$tmux" -L mouse send-keys -l hello
        "$tmux" -L mouse send-keys Enter
        sleep 1
        mode=$("$tmux" -L mouse display-message -p -t agent '#{pane_mode}')
        echo "${version%-*}: mouse $("$tmux" -L mouse show-options -gv mouse), mode ${mode:-none}, the program" \
            "reads $(grep -x hello "$dir/read" || echo nothing)"
        "$tmux" -L mouse kill-server
    done
)
"${0%/*}/compare" "$0" <<<"$seen"
