//! The terminal of a pane, from its program's side: how the kernel passes on typed input.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::libc;
use nix::sys::termios::{LocalFlags, SpecialCharacterIndices, tcgetattr};
use nix::unistd::getuid;

use crate::model::error::{Error, Result, Trying};

/// A terminal's settings for typed input, and the amount of unread input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode {
    /// The kernel collects whole lines (`ICANON` of termios(3)).
    pub canonical: bool,
    /// The kernel shows what is typed (`ECHO`).
    pub echo: bool,
    /// The key with which the kernel drops the line that it collects (`VKILL`).
    pub kill: u8,
    /// Bytes that the program has not read.
    pub unread: u64,
}

impl Mode {
    /// Whether the program reads a secret: complete lines that the kernel does not echo. Programs that echo typed
    /// input themselves read single keys.
    pub fn is_secret(self) -> bool {
        self.canonical && !self.echo
    }
}

/// The terminal's mode now. forge opens the terminal for this call only: while any process keeps it open, tmux does
/// not see the end of its program.
///
/// # Errors
/// `Failed` if the file is not a terminal of this user's, or is gone.
pub fn mode(path: &Path) -> Result<Mode> {
    let doing = || format!("cannot look at the terminal {}", path.display());
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK | libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(path)
        .trying(doing())?;
    let metadata = file.metadata().trying(doing())?;
    if !metadata.file_type().is_char_device() || metadata.uid() != getuid().as_raw() {
        return Err(Error::failed(format!("{} is not a terminal of yours", path.display())));
    }
    let settings = tcgetattr(file.as_fd()).trying(doing())?;
    Ok(Mode {
        canonical: settings.local_flags.contains(LocalFlags::ICANON),
        echo: settings.local_flags.contains(LocalFlags::ECHO),
        kill: settings.control_chars[SpecialCharacterIndices::VKILL as usize],
        unread: rustix::io::ioctl_fionread(&file).trying(doing())?,
    })
}
