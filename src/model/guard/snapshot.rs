//! How the guarded units were, kept in a file between the steps of a longer piece of work.

use serde::{Deserialize, Serialize};

use super::unit_state::{Guarded, UnitState};
use crate::model::error::{Error, Result};

/// The version of the file.
pub const VERSION: u32 = 1;

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// [`VERSION`].
    pub version: u32,
    /// The machine, by an id of it that is forge's own (machine-id(5) asks for that).
    pub machine: String,
    /// The boot.
    pub boot: String,
    /// When, in microseconds since 1970.
    pub at_us: u64,
    /// The units.
    pub units: Vec<SnapshotUnit>,
}

/// One unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotUnit {
    /// Which.
    #[serde(flatten)]
    pub unit: Guarded,
    /// How it was.
    pub witness: UnitState,
}

impl Snapshot {
    /// Whether it can be compared with this machine as it is: `false` when the machine has booted
    /// since.
    ///
    /// # Errors
    /// When it is of a newer forge, or of another machine.
    pub fn is_of(&self, machine: &str, boot: &str) -> Result<bool> {
        if self.version != VERSION {
            let message =
                format!("the snapshot is of version {}, and this forge reads {VERSION}", self.version);
            return Err(Error::failed(message).hint("take it and check it with the same forge"));
        }
        if self.machine != machine {
            return Err(Error::failed("the snapshot is of another machine")
                .hint("check it on the machine where it was taken"));
        }
        Ok(self.boot == boot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::guard::unit_state::ManagerKind;

    #[test]
    fn it_is_of_one_boot_of_one_machine() {
        let unit = Guarded::parse(ManagerKind::System, "web").unwrap();
        let units = vec![SnapshotUnit { unit, witness: UnitState::default() }];
        let snapshot = Snapshot { version: VERSION, machine: "m".into(), boot: "b".into(), at_us: 1, units };
        assert!(snapshot.is_of("m", "b").unwrap());
        assert!(!snapshot.is_of("m", "c").unwrap());
        assert!(snapshot.is_of("n", "b").is_err());
        assert!(Snapshot { version: 2, ..snapshot.clone() }.is_of("m", "b").is_err());
        let text = serde_json::to_string(&snapshot).unwrap();
        assert_eq!(serde_json::from_str::<Snapshot>(&text).unwrap(), snapshot);
        assert!(text.contains(r#""manager":"system","unit":"web.service""#), "{text}");
        let other = text.replace("web.service", "../*");
        assert!(
            serde_json::from_str::<Snapshot>(&other).unwrap_err().to_string().contains("'../*' is no name")
        );
    }
}
