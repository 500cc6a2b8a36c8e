#!/bin/bash
# systemd: EnableUnitFiles over D-Bus leaves the manager with the old dependencies, and 252 reports no need to reload.
#
# This finding boots throwaway machines with the project's test tool (tests/machine), so it runs as root. forge
# itself is not called.
#
# Versions:  systemd 252 (Debian bookworm) and 257 (Debian trixie), user manager
# Input:     a service with WantedBy=default.target; the method EnableUnitFiles of org.freedesktop.systemd1.Manager
# Behaviour: the method creates the symlink and returns. `systemctl enable` reloads the manager after that call, the
#            method does not: default.target does not want the service until somebody calls Reload. 257 shows
#            NeedDaemonReload=yes on the target; 252 shows no, so a caller that checks that property goes on with
#            the old dependencies.
# Expected:  NeedDaemonReload=yes in both versions.
# Seen:      252: is-enabled: enabled, target wants: nothing, NeedDaemonReload: no -> no
#            252: after Reload: target wants: agent.service
#            257: is-enabled: enabled, target wants: nothing, NeedDaemonReload: no -> yes
#            257: after Reload: target wants: agent.service
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
printf '[Service]\nExecStart=sleep 1000\n[Install]\nWantedBy=default.target\n' >~/.config/systemd/user/agent.service
systemctl --user daemon-reload
manager() { # METHOD ARGUMENT…
    busctl --user call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager "$@" >/dev/null
}
property() { # NAME: of the target
    systemctl --user show --property "$1" --value default.target
}
wanted() {
    property Wants | grep -o 'agent\.service' || echo nothing
}
before=$(property NeedDaemonReload)
manager EnableUnitFiles asbb 1 agent.service false false
echo "$version: is-enabled: $(systemctl --user is-enabled agent.service), target wants: $(wanted)," \
    "NeedDaemonReload: $before -> $(property NeedDaemonReload)"
manager Reload
echo "$version: after Reload: target wants: $(wanted)"
