#!/bin/bash
# systemd: from 254 on, OnFailure= is started at every automatic restart, not only when the unit has failed for good.
#
# This finding boots throwaway machines with the project's test tool (tests/machine), so it runs as root. forge
# itself is not called.
#
# Versions:  systemd 252 (Debian bookworm) and 257 (Debian trixie), user manager
# Input:     a service that fails at once, with Restart=on-failure and StartLimitBurst=4, and an OnFailure= unit
#            that writes a line
# Behaviour: both versions restart the service until the limit is reached. 252 starts the OnFailure= unit once, at the
#            end. 257 starts it at each of the four restarts, too, so a notice goes out while the service is about
#            to be restarted. RestartMode=direct (from 254 on) brings the old behaviour back.
# Expected:  the same number of notices after an upgrade of systemd.
# Seen:      252: 4 restarts, 1 notice
#            257: 4 restarts, 5 notices
#            257, RestartMode=direct: 4 restarts, 1 notice
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

cd
version=$(systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')
mkdir -p .config/systemd/user
cat >.config/systemd/user/notice@.service <<'UNIT'
[Service]
Type=oneshot
ExecStart=sh -c 'echo notice >>%h/notices'
UNIT
count() { # LABEL [LINE]: how often the service is restarted, and how often the OnFailure= unit is started
    cat >.config/systemd/user/fails.service <<UNIT
[Unit]
OnFailure=notice@%n.service
StartLimitIntervalSec=60
StartLimitBurst=4
[Service]
ExecStart=/bin/false
Restart=on-failure
RestartSec=1
${2-}
UNIT
    : >notices
    systemctl --user daemon-reload
    systemctl --user start --no-block fails.service
    until [ "$(systemctl --user is-active fails.service)" = failed ]; do sleep 0.2; done
    sleep 2
    restarts=$(systemctl --user show --property NRestarts --value fails.service)
    notices=$(grep -c notice notices)
    [ "$notices" = 1 ] || notices+=x
    echo "$1: $restarts restarts, $notices notice" | sed 's/x notice/ notices/'
    systemctl --user reset-failed
}
count "$version"
[ "$version" -lt 254 ] || count "$version, RestartMode=direct" RestartMode=direct
