//! The unit files that forge installs. `units/` is the source for `forge units`, the Debian package and Nix.

use std::path::Path;

use sha2::{Digest, Sha256};

use crate::model::error::{Error, Result};
use crate::model::unit;

/// A unit file in `units/`, with a placeholder for the path of forge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnitFile {
    pub name: &'static str,
    template: &'static str,
}

macro_rules! unit_files {
    ($folder:literal: $($name:literal),* $(,)?) => {
        [$(UnitFile { name: $name, template: include_str!(concat!("../../../units/", $folder, "/", $name)) }),*]
    };
}

/// For the user manager, in the order of their start.
pub const USER: [UnitFile; 11] = unit_files!["user":
    "forge.slice",
    "forge-guard.slice",
    "forge-tmux-socket-sweep.service",
    "forge-tmux-socket-sweep.timer",
    "forge-post-boot-sessions.service",
    "forge-session-save.service",
    "forge-spawn@.service",
    "forge-boot-notify.service",
    "forge-failure-notify@.service",
    "forge-guard-watch.service",
    "tmux-spawn-.scope.d/forge.conf",
];

/// For PID 1; administrators install them.
pub const SYSTEM: [UnitFile; 1] = unit_files!["system": "forge-tmux-socket-sweep@.service"];

/// The timer that starts a sweep every 10 minutes.
pub const SWEEP_TIMER: &str = "forge-tmux-socket-sweep.timer";

/// Sends the notice of a boot. At any other time its start would send a false notice.
pub const BOOT_NOTICE: &str = "forge-boot-notify.service";

/// Saves the sessions at shutdown.
pub const SAVE: &str = "forge-session-save.service";

/// The placeholder for the path of forge.
const PROGRAM: &str = "@forge@";

/// The beginning of the line that marks a file as written by forge. The digest of the lines below follows.
const MARK: &str = "# Written by 'forge units install'; own settings belong into a drop-in \
                    ('systemctl --user edit UNIT'). sha256:";

/// The author of a file on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Author {
    /// forge wrote it, and it is unchanged.
    Forge,
    /// forge wrote it, and somebody changed it.
    ForgeAndSomebody,
    Somebody,
}

impl UnitFile {
    /// Whether the unit, or an instance of it, can be enabled.
    pub fn has_install_section(self) -> bool {
        self.template.contains("\n[Install]\n")
    }

    /// Whether an install enables the unit. Users enable instances of templates themselves.
    pub fn is_enabled(self) -> bool {
        self.has_install_section() && !self.is_template()
    }

    /// Whether the name is that of a template, `name@.service`.
    pub fn is_template(self) -> bool {
        self.name.contains("@.")
    }

    pub fn is_supervisor(self) -> bool {
        self.name == "forge-spawn@.service"
    }

    /// Whether the file is a drop-in for units of other programs, `unit.d/name.conf`.
    pub fn is_drop_in(self) -> bool {
        self.name.contains('/')
    }

    /// The file for a forge at that path.
    ///
    /// # Errors
    /// `Kind::Failed` if a unit file cannot contain the path.
    pub fn render(self, forge: &Path) -> Result<String> {
        let path = forge.to_string_lossy();
        if !forge.is_absolute() || path.contains(['\n', '"', '\\', '\'']) || path.contains('\u{fffd}') {
            return Err(Error::failed(format!(
                "a unit file cannot contain the path of forge: {}",
                path.escape_debug()
            ))
            .hint("install forge in a directory whose path has no quotes, backslashes or line breaks"));
        }
        // % starts a specifier, $ a variable (systemd.unit(5), systemd.service(5)).
        let path = path.replace('%', "%%").replace('$', "$$");
        let path = if path.contains(char::is_whitespace) { format!("\"{path}\"") } else { path };
        Ok(self.template.replace(PROGRAM, &path))
    }

    /// The file as `forge units install` writes it, with the marking line.
    ///
    /// # Errors
    /// As for [`UnitFile::render`].
    pub fn marked(self, forge: &Path) -> Result<String> {
        let text = self.render(forge)?;
        Ok(format!("{MARK}{}\n{text}", digest(&text)))
    }

    /// The unit's dependencies: pairs of a key and one unit.
    pub fn edges(self) -> Vec<(&'static str, &'static str)> {
        const KEYS: [&str; 6] = ["Before", "After", "Wants", "Requires", "OnFailure", "WantedBy"];
        self.template
            .lines()
            .filter_map(|line| line.split_once('='))
            .filter_map(|(key, units)| Some((*KEYS.iter().find(|known| **known == key)?, units)))
            .flat_map(|(key, units)| units.split_whitespace().map(move |unit| (key, unit)))
            .collect()
    }
}

/// Whether a unit belongs to forge: a unit of a session or a guarded command, or one of these files. The names
/// of other units may begin with the same letters.
pub fn is_of_forge(name: &str) -> bool {
    let is_a_sessions = unit::session_of_scope(name).is_some()
        || unit::session_of_slice(name).is_some()
        || unit::session_of_service(name).is_some()
        || unit::guard_of(name).is_some()
        || unit::guard_of_slice(name).is_some();
    is_a_sessions
        || USER.iter().any(|file| match file.name.split_once("@.") {
            Some((template, _)) => name.split_once('@').is_some_and(|(of, _)| of == template),
            None => file.name == name,
        })
}

fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

/// The author of a unit file with this text.
pub fn author(text: &str) -> Author {
    let Some((first, rest)) = text.split_once('\n') else { return Author::Somebody };
    match first.strip_prefix(MARK) {
        None => Author::Somebody,
        Some(written) if written == digest(rest) => Author::Forge,
        Some(_) => Author::ForgeAndSomebody,
    }
}

/// The change that an install or uninstall makes to one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileChange {
    Unchanged,
    /// Write the file; it does not exist.
    Write(String),
    /// Overwrite an older file of forge.
    Update(String),
    /// A package has installed the unit; write nothing.
    Packaged,
    /// A package has installed the unit, and a copy of the user hides it; remove the copy.
    Unhide,
    Remove,
    /// The file does not exist, as intended.
    Absent,
    /// Leave the file alone, for this reason.
    Refuse(&'static str),
}

/// The object at the path of a unit file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum There {
    Nothing,
    Text(String),
    /// A link, or something that is not a file; forge did not create it.
    Other,
}

const EDITED: &str =
    "somebody changed it since forge wrote it: move the changes into a drop-in and remove the file";
const FOREIGN: &str = "forge did not write it: remove or rename it if you do not need it";
const LINK: &str = "it is a link or not a regular file, so forge did not write it (is the unit masked? 'systemctl --user unmask')";

/// The change that an install makes. `wanted` is the file to write; `packaged` says whether a package has
/// installed the unit.
pub fn to_install(there: &There, wanted: &str, packaged: bool) -> FileChange {
    match there {
        There::Nothing if packaged => FileChange::Packaged,
        There::Nothing => FileChange::Write(wanted.to_owned()),
        There::Other => FileChange::Refuse(LINK),
        There::Text(text) => match author(text) {
            Author::Forge if packaged => FileChange::Unhide,
            Author::Forge if text == wanted => FileChange::Unchanged,
            Author::Forge => FileChange::Update(wanted.to_owned()),
            Author::ForgeAndSomebody => FileChange::Refuse(EDITED),
            Author::Somebody => FileChange::Refuse(FOREIGN),
        },
    }
}

/// The change that an uninstall makes.
pub fn to_uninstall(there: &There) -> FileChange {
    match there {
        There::Nothing => FileChange::Absent,
        There::Other => FileChange::Refuse(LINK),
        There::Text(text) => match author(text) {
            Author::Forge => FileChange::Remove,
            Author::ForgeAndSomebody => FileChange::Refuse(EDITED),
            Author::Somebody => FileChange::Refuse(FOREIGN),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SWEEP: &str = "forge-tmux-socket-sweep.service";

    fn user(name: &str) -> UnitFile {
        USER.into_iter().find(|file| file.name == name).unwrap()
    }

    #[test]
    fn every_file_in_units_is_listed() {
        for (folder, known) in [("user", &USER[..]), ("system", &SYSTEM[..])] {
            let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("units").join(folder);
            let mut names: Vec<String> = std::fs::read_dir(dir)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            // For a drop-in: its directory.
            let first = |name: &'static str| name.split('/').next().unwrap_or(name);
            let mut here: Vec<&str> = known.iter().map(|file| first(file.name)).collect();
            here.sort_unstable();
            assert_eq!(names, here);
        }
    }

    #[test]
    fn the_manual_names_every_unit() {
        let manual = include_str!("../../../packaging/man/forge-units.7").replace("\\-", "-");
        for file in USER.iter().chain(&SYSTEM) {
            assert!(manual.contains(file.name), "{}", file.name);
        }
    }

    #[test]
    fn the_package_has_this_version() {
        let changelog = include_str!("../../../packaging/debian/changelog");
        assert!(changelog.starts_with(concat!("forge (", env!("CARGO_PKG_VERSION"), ") ")), "{changelog}");
    }

    #[test]
    fn the_packages_enable_what_an_install_enables() {
        let rules = include_str!("../../../packaging/debian/rules").replace("\\\n", "");
        let line = rules.lines().find_map(|line| line.strip_prefix("ENABLED = ")).unwrap();
        let nix = include_str!("../../../nix/settings.nix");
        let mut enabled: Vec<&str> =
            USER.into_iter().filter(|file| file.is_enabled()).map(|file| file.name).collect();
        enabled.sort_unstable();
        let words = |text: &'static str| text.split('"').filter(|word| word.starts_with("forge-"));
        let mut wanted: Vec<&str> = words(nix.split("wants = {").nth(1).unwrap()).collect();
        wanted.sort_unstable();
        assert_eq!(line.split_whitespace().collect::<Vec<_>>(), enabled);
        assert_eq!(wanted, enabled);
    }

    #[test]
    fn the_path_is_escaped_for_systemd() {
        let sweep = user(SWEEP);
        assert!(
            sweep
                .render(Path::new("/usr/bin/forge"))
                .unwrap()
                .contains("\nExecStart=/usr/bin/forge --quiet sweep\n")
        );
        let odd = sweep.render(Path::new("/opt/my tools/100%/forge")).unwrap();
        assert!(odd.contains("ExecStart=\"/opt/my tools/100%%/forge\" --quiet"), "{odd}");
        assert!(sweep.render(Path::new("forge")).is_err() && sweep.render(Path::new("/a\"b")).is_err());
        for file in USER.iter().chain(&SYSTEM) {
            assert!(!file.render(Path::new("/x/forge")).unwrap().contains(PROGRAM), "{}", file.name);
        }
    }

    #[test]
    fn the_author_of_a_file_is_recognised() {
        let text = user("forge.slice").marked(Path::new("/usr/bin/forge")).unwrap();
        assert_eq!(author(&text), Author::Forge);
        assert_eq!(author(&text.replace("Sessions", "My sessions")), Author::ForgeAndSomebody);
        assert_eq!(author("[Unit]\n"), Author::Somebody);
        assert_eq!(author(""), Author::Somebody);
    }

    #[test]
    fn an_install_changes_only_files_of_forge() {
        let old = user(SWEEP).marked(Path::new("/old/forge")).unwrap();
        let new = user(SWEEP).marked(Path::new("/new/forge")).unwrap();
        let text = |text: &str| There::Text(text.to_owned());
        let edited = old.replace("Nice=10", "Nice=11");
        for (there, packaged, change) in [
            (There::Nothing, false, FileChange::Write(new.clone())),
            (There::Nothing, true, FileChange::Packaged),
            (text(&new), false, FileChange::Unchanged),
            (text(&old), false, FileChange::Update(new.clone())),
            (text(&old), true, FileChange::Unhide),
            (text(&edited), false, FileChange::Refuse(EDITED)),
            (text("mine"), true, FileChange::Refuse(FOREIGN)),
            (There::Other, false, FileChange::Refuse(LINK)),
        ] {
            assert_eq!(to_install(&there, &new, packaged), change, "{there:?}");
        }
        assert_eq!(to_uninstall(&text(&old)), FileChange::Remove);
        assert_eq!(to_uninstall(&text(&edited)), FileChange::Refuse(EDITED));
        assert_eq!(to_uninstall(&text("mine")), FileChange::Refuse(FOREIGN));
        assert_eq!(to_uninstall(&There::Nothing), FileChange::Absent);
    }

    #[test]
    fn units_of_others_are_not_of_forge() {
        for own in [
            "forge.slice",
            "forge-spawn-a.scope",
            "forge-a.slice",
            "forge-failure-notify@x.service",
            SWEEP_TIMER,
            SAVE,
        ] {
            assert!(is_of_forge(own), "{own}");
        }
        for other in ["forgejo.service", "forge-x.service", "forge-failure-notifyd.service"] {
            assert!(!is_of_forge(other), "{other}");
        }
    }

    #[test]
    fn dependencies_are_read_from_the_files() {
        let post_boot = user("forge-post-boot-sessions.service");
        assert!(post_boot.edges().contains(&("After", "forge-tmux-socket-sweep.service")));
        assert!(post_boot.edges().contains(&("Wants", "forge-tmux-socket-sweep.service")));
        assert!(post_boot.edges().contains(&("WantedBy", "default.target")));
        // A user manager has no such unit: it accepts and enables the dependency, and never starts the unit.
        for file in USER {
            for (_, unit) in file.edges() {
                assert!(
                    !["network.target", "network-online.target", "multi-user.target"].contains(&unit),
                    "{} names {unit}",
                    file.name
                );
            }
        }
    }
}
