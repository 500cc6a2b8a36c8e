//! The flake, built by Debian's Nix without a network. A stand-in for nixpkgs (`tests/nix/nixpkgs`) builds
//! with the machine's cargo, from vendored crates.

use crate::machine::Machine;
use crate::ran::{self, Ran};
use crate::suite::{Debian, Test, outside};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Debian's newest Rust and Nix.
pub(crate) const PACKAGES: &str = ",nix-bin,cargo-web,rustc-web,gcc,libc6-dev";

pub(crate) fn tests() -> Vec<Test> {
    vec![
        outside!(a_profile_installs_forge_and_its_units).only(Debian::Trixie).limit_s(1200),
        outside!(the_modules_give_the_same_units).only(Debian::Trixie).limit_s(300),
    ]
}

const NIX: &str = "nix --extra-experimental-features 'nix-command flakes' --option sandbox false \
                   --option build-users-group '' --offline";
const FLAKE: &str = "path:/home/ada/forge";
const OVERRIDE: &str = "--override-input nixpkgs path:/home/ada/forge/tests/nix/nixpkgs --no-write-lock-file";

/// Sets up the sources, the crates and the user's own store.
fn set_up(machine: &Machine) {
    if machine.path("/home/ada/forge").exists() {
        return;
    }
    let here = env!("CARGO_MANIFEST_DIR");
    let on_host = |line: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", line]).current_dir(here);
        ran::run(command, line, Duration::from_secs(300)).ok();
    };
    let (home, crates) = (machine.path("/home/ada/forge"), machine.path("/usr/src/forge-vendor"));
    // Not directly into the machine: cargo needs the canonical path of its target.
    on_host("cargo vendor --quiet --locked target/vendor >/dev/null");
    on_host(&format!("cp -r target/vendor '{}'", crates.display()));
    on_host(&format!(
        "mkdir '{0}' && tar -c --exclude=./.git --exclude=./target . | tar -x -C '{0}'",
        home.display()
    ));
    machine
        .root(&["sh", "-c", "rm -f /usr/bin/forge; chown -R ada: /home/ada/forge; install -d -o ada /nix /nix/var /nix/var/nix"])
        .ok();
}

#[track_caller]
fn user(machine: &Machine, line: &str) -> Ran {
    machine.user(&["sh", "-lc", line]).ok()
}

fn a_profile_installs_forge_and_its_units(machine: &mut Machine) {
    set_up(machine);
    let mut command =
        machine.command("ada", &["sh", "-lc", &format!("{NIX} profile install {OVERRIDE} {FLAKE}")]);
    command.stdin(std::process::Stdio::null());
    ran::run(command, "nix profile install", Duration::from_secs(1000)).ok();

    let forge = "~/.nix-profile/bin/forge";
    user(machine, &format!("{forge} --version"));
    // forge's units name forge by its store path, which contains the units too.
    let store = user(machine, &format!("readlink -f {forge}")).stdout;
    for file in &forge::model::unit::files::USER {
        let text = user(machine, &format!("cat ~/.nix-profile/lib/systemd/user/{}", file.name)).stdout;
        assert_eq!(text, file.render(Path::new(store.trim())).unwrap(), "{}", file.name);
    }
    // Units in the home directory would outlive the package.
    user(machine, "mv ~/.nix-profile ~/away");
    let refused = machine.user(&["sh", "-lc", &format!("{} units install", store.trim())]).code(2);
    assert!(refused.stderr.contains("nix profile install"), "{refused}");
    user(machine, "mv ~/away ~/.nix-profile");
    user(machine, &format!("{forge} units install --now"));
    let line = user(machine, "systemctl --user show -p ExecStart forge-spawn@name").stdout;
    assert!(line.contains("path=/home/ada/.nix-profile/bin/forge"), "{line}");
    user(
        machine,
        "mkdir -p ~/.config/forge && echo \"[sessions.name]\ncommand = 'sleep 1000'\" > ~/.config/forge/forge.toml",
    );
    user(machine, "systemctl --user start forge-spawn@name");
    let status = user(machine, &format!("{forge} --json status name")).json();
    assert_eq!((&status["state"], &status["supervised"]), (&"running".into(), &true.into()));
    let hook =
        user(machine, &format!("tmux -S {} show-hooks -p", status["socket"].as_str().expect("it"))).stdout;
    assert!(hook.contains("/home/ada/.nix-profile/bin/forge"), "{hook}");
    // Units name a path that garbage collection keeps.
    user(machine, "nix-collect-garbage --option build-users-group '' -d");
    user(machine, "systemctl --user restart forge-spawn@name");
    user(machine, &format!("{forge} doctor"));
    for page in ["man1/forge.1", "man5/forge.toml.5", "man7/forge-units.7"] {
        user(machine, &format!("test -s ~/.nix-profile/share/man/{page}*"));
    }
    user(machine, &format!("{forge} stop name && {forge} units uninstall"));
}

/// Evaluates a part of the configuration that a module generates from these settings.
fn part(machine: &Machine, module: &str, settings: &str, part: &str, form: &str) -> Ran {
    let line = format!(
        "{NIX} eval --impure --{form} {OVERRIDE} {FLAKE}#{module}.default --apply 'module: (import \
         /home/ada/forge/tests/nix/evaluated.nix {{ system = \"x86_64-linux\"; settings = {settings}; }} \
         module){part}'"
    );
    user(machine, &line)
}

fn evaluated(machine: &Machine, module: &str, settings: &str) -> Value {
    part(machine, module, settings, "", "json").json()
}

fn the_modules_give_the_same_units(machine: &mut Machine) {
    set_up(machine);
    // All outputs can be evaluated.
    user(machine, &format!("{NIX} flake check --no-build {OVERRIDE} {FLAKE}"));
    let settings = "{ enable = true; settings.sweep.protect = [ \"homebase\" ]; \
                    sessions.agent = { command = \"sleep 1000\"; boot = true; }; }";
    let enabled: BTreeSet<&str> = forge::model::unit::files::USER
        .iter()
        .filter(|file| file.is_enabled())
        .map(|file| file.name)
        .collect();

    let nixos = evaluated(machine, "nixosModules", &format!("{settings} // {{ users = [ \"ada\" ]; }}"));
    let wants = |kind: &str, target: &str| -> BTreeSet<String> {
        let units = nixos["systemd"]["user"][format!("{kind}s")].as_object().expect("units");
        assert!(units.values().all(|unit| unit["wantedBy"] == json!([target])), "{units:?}");
        units.keys().map(|name| format!("{name}.{kind}")).collect()
    };
    let all = &wants("service", "default.target") | &wants("timer", "timers.target");
    assert_eq!(all.iter().map(String::as_str).collect::<BTreeSet<_>>(), enabled);
    assert_eq!(nixos["users"]["users"]["ada"]["linger"], true);
    assert_eq!(nixos["systemd"]["packages"], json!([nixos["services"]["forge"]["package"]]));
    // The written configuration matches the settings, and a configuration that forge cannot read does not
    // build.
    let file = |settings: &str| {
        let drv = ".environment.etc.\"forge/forge.toml\".source.drvPath";
        let drv = part(machine, "nixosModules", settings, drv, "raw").stdout;
        machine.user(&[
            "sh",
            "-lc",
            &format!("nix-store --option sandbox false --option substitute false --option build-users-group '' -r {drv}"),
        ])
    };
    let written = file(settings).ok().stdout;
    let written = user(machine, &format!("cat {written}")).stdout;
    assert!(
        written.contains("[\"sessions\".\"agent\"]") && written.contains("\"command\" = \"sleep 1000\""),
        "{written}"
    );
    let refused = file("{ enable = true; settings.sweep.protekt = [ ]; }");
    assert!(refused.code != 0 && refused.stderr.contains("did you mean 'protect'?"), "{refused}");

    let off = evaluated(machine, "nixosModules", "{ enable = false; }");
    assert_eq!(off["systemd"]["packages"], Value::Null, "{off}");

    let home = evaluated(machine, "homeModules", settings);
    let links = home["xdg"]["configFile"].as_object().expect("files");
    for file in &forge::model::unit::files::USER {
        let link = &links[&format!("systemd/user/{}", file.name)]["source"];
        let path = link.as_str().expect("a path");
        assert!(path.ends_with(&format!("/lib/systemd/user/{}", file.name)), "{path}");
    }
    let wanted: BTreeSet<&str> = links
        .keys()
        .filter(|name| name.contains(".wants/"))
        .filter_map(|name| name.rsplit('/').next())
        .collect();
    assert_eq!(wanted, enabled);
}
