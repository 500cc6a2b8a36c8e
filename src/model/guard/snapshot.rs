//! A file with the state of the guarded units, for work in several steps.

use serde::{Deserialize, Serialize};

use super::unit_state::{Guarded, UnitState};
use crate::model::error::{Error, Result};

/// The version of the file format.
pub const VERSION: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    pub version: u32,
    /// The machine's id as hashed for forge (machine-id(5) asks not to give the id itself away).
    pub machine: String,
    /// The boot id.
    pub boot: String,
    /// Microseconds since 1970.
    pub at_us: u64,
    pub units: Vec<SnapshotUnit>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotUnit {
    #[serde(flatten)]
    pub unit: Guarded,
    #[serde(rename = "witness")]
    pub state: UnitState,
}

impl Snapshot {
    /// Whether the snapshot is of this boot of this machine.
    ///
    /// # Errors
    /// `Kind::Failed` if it is of another version of forge or of another machine.
    pub fn is_of(&self, machine: &str, boot: &str) -> Result<bool> {
        if self.version != VERSION {
            let message =
                format!("the snapshot has version {}, and this forge reads version {VERSION}", self.version);
            return Err(Error::failed(message).hint("take and check the snapshot with the same forge"));
        }
        if self.machine != machine {
            return Err(Error::failed("the snapshot is of another machine")
                .hint("check the snapshot on the machine where it was taken"));
        }
        Ok(self.boot == boot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::guard::unit_state::ManagerKind;

    #[test]
    fn a_snapshot_is_of_one_boot_of_one_machine() {
        let unit = Guarded::parse(ManagerKind::System, "web").unwrap();
        let units = vec![SnapshotUnit { unit, state: UnitState::default() }];
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
            serde_json::from_str::<Snapshot>(&other)
                .unwrap_err()
                .to_string()
                .contains("'../*' is not a valid unit name")
        );
    }
}
