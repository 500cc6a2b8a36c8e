//! The extended attributes that forge sets on the control group of a session's slice. Since Linux 5.7 the owner of
//! a group may set attributes of the `user.` class. Each attribute is written in one step: of two writers, the last
//! one wins. Other users of the machine can read attributes, so they hold nothing private.

use rustix::fs::{XattrFlags, getxattr, setxattr};
use rustix::io::Errno;
use serde::de::DeserializeOwned;

use super::Cgroup;
use crate::model::error::{Error, Kind, Result, Trying};
use crate::model::notice::NoticeKind;
use crate::model::session::Mark;
use crate::model::session::activity::ActivityReport;
use crate::sys::clock::boot_us;
use crate::sys::inotify::FileWatch;

/// The attribute with forge's mark.
const MARK: &str = "user.forge.session";

/// The attribute with the time of a session's last sign of life.
const BEAT: &str = "user.forge.beat";

/// The attribute with the last report of a session's hooks.
const ACTIVITY: &str = "user.forge.activity";

/// The attribute with the time of the last notice of a kind.
fn notice(kind: NoticeKind) -> String {
    format!("user.forge.notice.{}", kind.word())
}

impl Cgroup {
    /// Records the current time as the last sign of life.
    ///
    /// # Errors
    /// `Failed` if the group is gone, or the kernel refuses.
    pub fn beat(&self) -> Result<()> {
        self.set_time(BEAT)
    }

    /// The last sign of life, in microseconds since the boot.
    pub fn last_beat(&self) -> Option<u64> {
        self.attribute(BEAT)
    }

    /// forge's mark; `None` if the group has no mark or is gone.
    pub fn mark(&self) -> Option<Mark> {
        self.attribute(MARK)
    }

    /// Sets the mark, atomically.
    ///
    /// # Errors
    /// `Missing` if the file system does not support extended attributes; `Failed` if the kernel refuses for
    /// another reason.
    pub fn set_mark(&self, mark: &Mark) -> Result<()> {
        let bytes = serde_json::to_vec(mark).trying("cannot write a session's mark")?;
        setxattr(&self.path, MARK, &bytes, XattrFlags::empty()).map_err(|error| {
            let error_text = format!("cannot mark the control group {}: {error}", self.path.display());
            if error == Errno::NOTSUP {
                Error::new(Kind::Missing, error_text).hint("this needs Linux 5.7 and the version 2 hierarchy")
            } else {
                Error::failed(error_text)
            }
        })
    }

    /// The last report of the hooks in this run of the session.
    pub fn report(&self, mark: &Mark) -> Option<ActivityReport> {
        self.attribute(ACTIVITY).filter(|report: &ActivityReport| report.run == mark.since_us)
    }

    /// Records a report of a hook.
    ///
    /// # Errors
    /// `Failed` if the group is gone, or the kernel refuses.
    pub fn set_report(&self, report: &ActivityReport) -> Result<()> {
        let bytes = serde_json::to_vec(report).trying("cannot write a report")?;
        setxattr(&self.path, ACTIVITY, &bytes, XattrFlags::empty())
            .trying(format!("cannot record a report on {}", self.path.display()))
    }

    /// When the last notice of this kind was sent about the session, in microseconds since the boot.
    pub fn last_notice(&self, kind: NoticeKind) -> Option<u64> {
        self.attribute(&notice(kind))
    }

    /// Records the current time as that of the last notice of this kind.
    ///
    /// # Errors
    /// `Failed` if the group is gone, or the kernel refuses.
    pub fn set_last_notice(&self, kind: NoticeKind) -> Result<()> {
        self.set_time(&notice(kind))
    }

    /// Watches the group for changes of its attributes: a report or a beat. The kernel allows few such watches for
    /// each user (`fs.inotify.max_user_instances`, usually 128).
    ///
    /// # Errors
    /// `Failed` if the kernel refuses.
    pub fn watch_reports(&self) -> Result<FileWatch> {
        FileWatch::of_attributes(&self.path)
    }

    fn set_time(&self, name: &str) -> Result<()> {
        setxattr(&self.path, name, boot_us().to_string().as_bytes(), XattrFlags::empty())
            .trying(format!("cannot set {name} on {}", self.path.display()))
    }

    fn attribute<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let mut buffer = [0; 8192];
        let length = getxattr(&self.path, name, &mut buffer[..]).ok()?;
        serde_json::from_slice(buffer.get(..length)?).ok()
    }
}
