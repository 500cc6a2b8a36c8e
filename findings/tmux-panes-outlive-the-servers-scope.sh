#!/bin/bash
# tmux: built with systemd, it moves each pane out of the server's scope; up to 3.6 nothing leads back.
#
# This finding boots a throwaway machine with the project's test tool (tests/machine), so it runs as root. forge
# itself is not called.
#
# Versions:  tmux 3.5a-3 (Debian trixie) and 3.7c-1 (Debian forky), under the user manager of systemd 257 (trixie)
# Input:     `systemd-run --user --scope tmux new-session -d …` with a program that ignores SIGHUP; then `systemctl
#            --user stop` of that scope
# Behaviour: the program runs in a scope of its own, tmux-spawn-UUID.scope, so limits on the server's scope do not
#            hold for it. In 3.5a that scope has no dependency on the server's: the stop ends the server, and the
#            program runs on without a terminal. In 3.7c it has PartOf= and Before= the server's scope, and the
#            stop ends the program as well.
# Expected:  a stop of the scope ends all that was started in it.
# Seen:      3.5a: the program is in tmux-spawn-UUID.scope, part of nothing; after the stop: running
#            3.7c: the program is in tmux-spawn-UUID.scope, part of server.scope; after the stop: gone
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
for version in 3.5a-3 3.7c-1; do
    tmux=~/versions/tmux-$version/run
    systemd-run --quiet --user --scope --unit=server \
        "$tmux" -f /dev/null -L "$version" new-session -d "trap '' HUP; exec sleep 1000"
    sleep 2
    pid=$("$tmux" -L "$version" display-message -p '#{pane_pid}')
    scope=$(sed -n 's/^0::.*\///p' "/proc/$pid/cgroup")
    part_of=$(systemctl --user show --property PartOf --value "$scope")
    systemctl --user stop server.scope
    sleep 2
    after=gone
    if kill -0 "$pid" 2>/dev/null; then after=running; fi
    echo "${version%-*}: the program is in ${scope/spawn-*.scope/spawn-UUID.scope}, part of ${part_of:-nothing};" \
        "after the stop: $after"
done
