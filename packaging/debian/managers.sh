# shellcheck shell=sh
# Whether systemd runs on this machine, and the package is not installed into the tree of another machine.
running() {
    [ -z "${DPKG_ROOT:-}" ] && [ -d /run/systemd/system ]
}

# Prints the uids of the running user managers.
managers() {
    systemctl list-units --plain --no-legend --state=active 'user@*.service' |
        sed -n 's/^user@\([0-9]*\)\.service .*/\1/p'
}

# Calls the manager of one user. Not with deb-systemd-invoke: in bookworm it supports neither daemon-reload nor
# try-restart for users, and fails the installation when one of several managers refuses.
manager() { # UID ARGUMENTS...
    uid=$1
    shift
    timeout 60 systemctl --user --machine="$uid@.host" --quiet "$@" </dev/null
}

# The same, but a refusal does not fail the installation.
try_manager() { # UID ARGUMENTS...
    manager "$@" && return
    uid=$1
    shift
    echo "forge: the user manager of uid $uid failed to: $*" >&2
    return 1
}
