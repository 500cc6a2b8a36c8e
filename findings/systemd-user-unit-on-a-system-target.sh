#!/bin/bash
# systemd: `systemd-analyze --user verify` accepts a user unit that hangs on targets which user managers do not have.
#
# This finding boots throwaway machines with the project's test tool (tests/machine), so it runs as root. forge
# itself is not called.
#
# Versions:  systemd 252 (Debian bookworm) and 257 (Debian trixie), user manager
# Input:     a user unit with After=network.target and WantedBy=multi-user.target, as in a system unit
# Behaviour: a user manager has neither target. `verify` prints nothing and exits with 0, `enable` exits with 0, and
#            `is-enabled` says enabled. Nothing ever starts multi-user.target, so nothing starts the service, and
#            After=network.target orders nothing. Only `enable` prints a hint, "added as a dependency to a
#            non-existent unit".
# Expected:  a warning of `verify`.
# Seen:      252: verify: 0 lines, status 0; enable: status 0; is-enabled: enabled
#            252: network.target: not-found; multi-user.target: not-found
#            257: verify: 0 lines, status 0; enable: status 0; is-enabled: enabled
#            257: network.target: not-found; multi-user.target: not-found
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
unit=~/.config/systemd/user/agent.service
mkdir -p "${unit%/*}"
cat >"$unit" <<'UNIT'
[Unit]
After=network.target
[Service]
ExecStart=/bin/sleep 1000
[Install]
WantedBy=multi-user.target
UNIT
systemctl --user daemon-reload
verify=0 enable=0
lines=$(systemd-analyze --user --man=no verify "$unit" 2>&1 | wc -l) || verify=$?
systemctl --user enable agent.service 2>/dev/null || enable=$?
load_state() { # UNIT
    systemctl --user show --property LoadState --value "$1"
}
echo "$version: verify: $lines lines, status $verify; enable: status $enable;" \
    "is-enabled: $(systemctl --user is-enabled agent.service)"
echo "$version: network.target: $(load_state network.target); multi-user.target: $(load_state multi-user.target)"
