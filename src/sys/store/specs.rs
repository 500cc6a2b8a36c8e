//! The specifications of sessions: `STATE/sessions/ID.json`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Store, ids_in};
use crate::model::error::{Error, Result, Trying};
use crate::model::session::name::SessionId;
use crate::model::session::restore::Kept;
use crate::model::session::spec::{Spec, VERSION};
use crate::sys::files;

impl Store {
    fn spec_path(&self, id: &SessionId) -> PathBuf {
        self.specs.join(format!("{id}.json"))
    }

    /// # Errors
    /// `Failed` if the file cannot be written.
    pub fn write_spec(&self, spec: &Spec) -> Result<()> {
        let _turn = self.spec_turn(&spec.session);
        files::write_json(&self.spec_path(&spec.session), spec)
    }

    /// Changes a specification, unless it differs from `read` by now: forge must not bring back one that
    /// another process has removed, nor undo one that another process has replaced. Returns whether
    /// forge changed it.
    ///
    /// # Errors
    /// `Failed` if the file cannot be read or written.
    pub fn change_spec(&self, read: &Spec, change: impl FnOnce(&mut Spec)) -> Result<bool> {
        let _turn = self.spec_turn(&read.session);
        let Some(mut spec) = self.spec(&read.session)?.filter(|spec| spec == read) else { return Ok(false) };
        change(&mut spec);
        files::write_json(&self.spec_path(&spec.session), &spec)?;
        Ok(true)
    }

    /// Stores the conversation id that a session's program has reported. Does nothing if the session has no
    /// specification: `forge stop` has removed it.
    ///
    /// # Errors
    /// `Failed` if the file cannot be read or written.
    pub fn set_reported_id(&self, id: &SessionId, conversation: &str) -> Result<()> {
        let _turn = self.spec_turn(id);
        let Some(mut spec) = self.spec(id)? else { return Ok(()) };
        if spec.reported_id() == Some(conversation) {
            return Ok(());
        }
        spec.saved_id = Some(conversation.to_owned());
        spec.reported_id.clone_from(&spec.saved_id);
        files::write_json(&self.spec_path(id), &spec)
    }

    /// The specification of a session; `None` if there is no file.
    ///
    /// # Errors
    /// `Failed` if there is a file and it cannot be read.
    pub fn spec(&self, id: &SessionId) -> Result<Option<Spec>> {
        let path = self.spec_path(id);
        let Some(bytes) = files::read_own(&path)? else { return Ok(None) };
        match parse_spec(id, &bytes) {
            Kept::Spec(spec) => Ok(Some(*spec)),
            Kept::Broken(why) => Err(Error::failed(format!("cannot read {}: {why}", path.display()))),
            Kept::Unusable(why) => Err(Error::failed(format!("{}: {why}", path.display()))
                .hint("upgrade forge, or start the session again")),
        }
    }

    /// All specifications, including unreadable ones.
    ///
    /// # Errors
    /// `Failed` if the directory cannot be read.
    pub fn specs(&self) -> Result<BTreeMap<SessionId, Kept>> {
        let mut specs = BTreeMap::new();
        for id in ids_in(&self.specs)? {
            let kept = match files::read_own(&self.spec_path(&id)) {
                // Another process has just removed the file.
                Ok(None) => continue,
                Ok(Some(bytes)) => parse_spec(&id, &bytes),
                // The file may be valid although forge cannot read it now.
                Err(error) => Kept::Unusable(error.message),
            };
            specs.insert(id, kept);
        }
        Ok(specs)
    }

    /// Removes the temporary files of writers that were killed half-way.
    pub fn clear_leftovers(&self) {
        for directory in [&self.specs, &self.records] {
            files::clear_leftovers(directory, "", files::LEFT_OVER);
        }
    }

    /// Moves an unreadable specification to `STATE/set-aside`. Returns its new path.
    ///
    /// # Errors
    /// `Failed` if the file cannot be moved.
    pub fn set_aside(&self, id: &SessionId) -> Result<PathBuf> {
        files::private_dir(&self.set_aside)?;
        let to = self.set_aside.join(format!("{id}.json"));
        std::fs::rename(self.spec_path(id), &to).trying(format!("cannot set the file of {id} aside"))?;
        Ok(to)
    }

    /// Removes a session's specification.
    ///
    /// # Errors
    /// `Failed` if the file cannot be removed.
    pub fn remove_spec(&self, id: &SessionId) -> Result<()> {
        let _turn = self.spec_turn(id);
        files::remove(&self.spec_path(id))
    }

    /// Removes a session's specification, unless another run has replaced it.
    ///
    /// # Errors
    /// `Failed` if the file cannot be read or removed.
    pub fn remove_that_spec(&self, read: &Spec) -> Result<()> {
        let _turn = self.spec_turn(&read.session);
        match self.spec(&read.session)? {
            Some(spec) if spec == *read => files::remove(&self.spec_path(&read.session)),
            _ => Ok(()),
        }
    }
}

/// The version number of a file whose other contents this forge may not understand.
#[derive(serde::Deserialize)]
struct Versioned {
    version: u32,
}

fn parse_spec(id: &SessionId, bytes: &[u8]) -> Kept {
    let newer = || Kept::Unusable("it was written by a newer forge".to_owned());
    match serde_json::from_slice::<Spec>(bytes) {
        Ok(spec) if spec.version > VERSION => newer(),
        Ok(spec) if spec.session != *id => Kept::Broken(format!("it is of {}", spec.session)),
        Ok(spec) => Kept::Spec(Box::new(spec)),
        // This forge may not understand the file of a newer one at all.
        Err(error) => match serde_json::from_slice::<Versioned>(bytes) {
            Ok(file) if file.version > VERSION => newer(),
            _ => Kept::Broken(error.to_string()),
        },
    }
}
