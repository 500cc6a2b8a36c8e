#!/bin/bash
# tmux: from 3.7 on, new-window returns before its program has started; before, it waited for systemd.
#
# This finding boots a throwaway machine with the project's test tool (tests/machine), so it runs as root. forge
# itself is not called.
#
# Versions:  tmux 3.5a-3 (Debian trixie) and 3.7c-1 (Debian forky), under the user manager of systemd 257 (trixie)
# Input:     new-window with a program that writes the time, while the user manager is paused for three seconds
#            (SIGSTOP), as on a busy machine
# Behaviour: tmux asks the manager for a scope for the pane, and gives up after one second. 3.5a starts the program at
#            once, and the server does nothing else until the manager has answered. 3.7c answers the client at
#            once and holds the program until the answer is there, so a program whose window exists may not have
#            been executed yet.
# Expected:  in both versions, the program has started when new-window returns.
# Seen:      3.5a: new-window returns after 1 s, the program starts at once
#            3.7c: new-window returns at once, the program starts after 1 s
# Exit:      0 if the behaviour is unchanged.
set -euo pipefail

if [ "${1-}" != inside ]; then
    dir=$(mktemp -d)
    trap 'rm -rf "$dir"' EXIT
    "${0%/*}/debian" "$dir" trixie tmux=3.5a-3
    "${0%/*}/debian" "$dir" forky tmux=3.7c-1
    # The machine gets the script as an argument and the two versions on its standard input.
    seen=$(tar --create --directory "$dir" . | cargo test --quiet --locked --manifest-path "${0%/*}/../Cargo.toml" \
        --test machine -- --run trixie -- bash -c "$(<"$0")" bash inside)
    "${0%/*}/compare" "$0" <<<"$seen"
    exit
fi

mkdir ~/versions
tar --extract --no-same-permissions --directory ~/versions
manager=$(systemctl show --property MainPID --value user@1000.service)
after() { # FROM TO, in nanoseconds
    local tenths=$((($2 - $1) / 100000000))
    if [ "$tenths" -lt 7 ]; then echo 'at once'; else echo "after $(((tenths + 3) / 10)) s"; fi
}
for version in 3.5a-3 3.7c-1; do
    tmux=~/versions/tmux-$version/run
    "$tmux" -f /dev/null -L "$version" new-session -d 'exec sleep 1000'
    sleep 2
    kill -STOP "$manager"
    called=$(date +%s%N)
    "$tmux" -L "$version" new-window 'date +%s%N >~/started; exec sleep 1000'
    returned=$(date +%s%N)
    sleep 3
    kill -CONT "$manager"
    echo "${version%-*}: new-window returns $(after "$called" "$returned"), the program starts" \
        "$(after "$called" "$(<~/started)")"
    "$tmux" -L "$version" kill-server
    sleep 1
done
