#!/bin/bash
# systemd: a restart of a service stops the scope with StopPropagatedFrom= in 257, and left it alone in 252.
#
# This finding boots throwaway machines with the project's test tool (tests/machine), so it runs as root. forge
# itself is not called.
#
# Versions:  systemd 252 (Debian bookworm) and 257 (Debian trixie), user manager
# Input:     a running scope with StopPropagatedFrom= (or PartOf=) and After= a service; `systemctl restart` of the
#            service
# Behaviour: PartOf= leaves the scope running in both versions, although systemd.unit(5) says that it propagates
#            stops and restarts: a scope cannot be restarted. StopPropagatedFrom= leaves it running in 252 and
#            stops it in 257, where a restart counts as a stop.
# Expected:  the same in both versions.
# Seen:      252: restart with PartOf=: active, with StopPropagatedFrom=: active
#            257: restart with PartOf=: active, with StopPropagatedFrom=: inactive
# Exit:      0 if the behaviour is unchanged.
set -euo pipefail

if [ "${1-}" != inside ]; then
    seen=$(
        for debian in bookworm trixie; do
            cargo test --quiet --locked --manifest-path "${0%/*}/../Cargo.toml" --test machine -- \
                --run "$debian" -- bash -s inside <"$0"
        done
    )
    "${0%/*}/compare" "$0" <<<"$seen"
    exit
fi

version=$(systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')
mkdir -p ~/.config/systemd/user
printf '[Service]\nExecStart=sleep 1000\n' >~/.config/systemd/user/supervisor.service
systemctl --user daemon-reload
restarted() { # DEPENDENCY: the state of a scope with it, after a restart of the service
    systemctl --user start supervisor.service
    systemd-run --quiet --user --scope --unit=agent --property="$1=supervisor.service" \
        --property=After=supervisor.service sleep 1000 </dev/null >/dev/null 2>&1 &
    until systemctl --user --quiet is-active agent.scope; do sleep 0.1; done
    systemctl --user restart supervisor.service
    sleep 1
    systemctl --user is-active agent.scope || true
    systemctl --user stop supervisor.service
    systemctl --user stop agent.scope 2>/dev/null || true
}
echo "$version: restart with PartOf=: $(restarted PartOf)," \
    "with StopPropagatedFrom=: $(restarted StopPropagatedFrom)"
