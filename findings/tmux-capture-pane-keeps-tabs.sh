#!/bin/bash
# tmux: `capture-pane -p` prints a tab for a tab from 3.6 on, and spaces before.
#
# Versions:  tmux 3.5a-3 (Debian trixie) and 3.7c-1 (Debian forky)
# Input:     a program that prints two words with a tab between them; capture-pane -p
# Behaviour: 3.5a prints the cells of the screen: spaces up to the next tab stop. 3.7c prints the tab itself, so the
#            column of the second word depends on where the reader puts the text. A pattern with spaces that
#            matched the screen in 3.5a no longer matches in 3.7c.
# Expected:  the same output, or an option for the new one.
# Seen:      3.5a: n a m e sp sp sp sp s i z e
#            3.7c: n a m e ht s i z e
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
        tmux=$dir/tmux-$version/run
        "$tmux" -f /dev/null -L "$version" new-session -d -x 80 -y 24 \
            "printf 'name\tsize\n'; '$tmux' wait-for -S printed; cat"
        "$tmux" -L "$version" wait-for printed
        sleep 1
        row=$("$tmux" -L "$version" capture-pane -p | head -n 1)
        echo "${version%-*}:$(printf %s "$row" | od -An -ta -w100 | tr -s ' ')"
    done
)
"${0%/*}/compare" "$0" <<<"$seen"
