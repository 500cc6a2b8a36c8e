# shellcheck shell=sh
# Whether this is the machine that systemd runs, and not a tree that another is made of.
running() {
    [ -z "${DPKG_ROOT:-}" ] && [ -d /run/systemd/system ]
}

# The user managers that run, by uid.
managers() {
    systemctl list-units --plain --no-legend --state=active 'user@*.service' |
        sed -n 's/^user@\([0-9]*\)\.service .*/\1/p'
}

# Asks one of them. Not by deb-systemd-invoke: bookworm's neither reloads nor try-restarts for users, and
# ends the installation when one of several managers refuses.
manager() { # UID ARGUMENTS...
    uid=$1
    shift
    timeout 60 systemctl --user --machine="$uid@.host" --quiet "$@" </dev/null
}

# What it refuses is no reason to end the installation.
tell() { # UID ARGUMENTS...
    manager "$@" && return
    uid=$1
    shift
    echo "forge: the user manager of uid $uid did not: $*" >&2
    return 1
}
