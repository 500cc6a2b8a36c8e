//! logind, on the system bus: lingering, logouts, shutdowns.

use std::future::poll_fn;
use std::os::fd::OwnedFd;
use std::pin::Pin;

use zbus::connection::Builder;
use zbus::export::futures_core::Stream;

use super::proxy::{LoginInterfaceProxy, LoginUserInterfaceProxy, PrepareForShutdownStream, asking};
use super::runtime::Runtime;
use super::{CALL, bus, reason};
use crate::model::error::{Error, Kind, Result};
use crate::sys::clock::Deadline;

/// The connection to logind.
#[derive(Debug)]
pub struct Login {
    runtime: Runtime,
    connection: zbus::Connection,
    proxy: LoginInterfaceProxy<'static>,
}

/// A delay lock: while it exists, logind delays a shutdown, for at most `InhibitDelayMaxSec=` of logind.conf(5),
/// by default 5 s.
#[derive(Debug)]
pub struct Inhibitor {
    _delay: OwnedFd,
}

impl Login {
    /// # Errors
    /// `Missing` if there is no system bus; `Deadline` after 20 seconds; `Failed` if logind refuses.
    pub fn connect() -> Result<Self> {
        let runtime = Runtime::new()?;
        let connect = async {
            let connection = bus(Builder::system(), &runtime).await?;
            let proxy = asking::<LoginInterfaceProxy<'_>>(&connection).build().await?;
            Ok::<_, zbus::Error>((connection, proxy))
        };
        let late = async { connect.await.map_err(|error| asked(&error, "cannot reach logind")) };
        let connect = runtime.deadlined(Deadline::after(CALL), "connecting to the system bus", late);
        let (connection, proxy) = runtime.run(connect)?;
        Ok(Self { runtime, connection, proxy })
    }

    /// Whether the user's manager runs without a login.
    ///
    /// # Errors
    /// `Failed` if logind does not answer.
    pub fn lingers(&self, uid: u32) -> Result<bool> {
        let ask = async {
            let user = match self.proxy.get_user(uid).await {
                Ok(path) => {
                    asking::<LoginUserInterfaceProxy<'_>>(&self.connection).path(path).build().await?
                }
                // The user is neither logged in nor lingering.
                Err(error) if super::is_named(&error, "org.freedesktop.login1.NoSuchUser") => {
                    return Ok(false);
                }
                Err(error) => return Err(error),
            };
            user.linger().await
        };
        self.runtime.run(ask).map_err(|error| asked(&error, "cannot ask whether lingering is on"))
    }

    /// Turns lingering on. Without polkit only root may.
    ///
    /// # Errors
    /// `Failed` if logind refuses.
    pub fn turn_lingering_on(&self, uid: u32) -> Result<()> {
        self.runtime.run(self.proxy.set_user_linger(uid, true, false)).map_err(|error| {
            asked(&error, "cannot turn lingering on").hint(format!("sudo loginctl enable-linger {uid}"))
        })
    }

    /// Whether a logout kills all processes of the user, including scopes.
    ///
    /// # Errors
    /// `Failed` if logind does not answer.
    pub fn kills_at_logout(&self) -> Result<bool> {
        self.runtime
            .run(self.proxy.kill_user_processes())
            .map_err(|error| asked(&error, "cannot ask what a logout does"))
    }

    /// Takes a delay lock for the next shutdown. `None` if logind refuses, as it does without polkit.
    pub fn delay_shutdown(&self, why: &str) -> Option<Inhibitor> {
        match self.runtime.run(self.proxy.inhibit("shutdown", "forge", why, "delay")) {
            Ok(fd) => Some(Inhibitor { _delay: fd.into() }),
            Err(error) => {
                tracing::debug!("no delay of a shutdown: {}", reason(&error));
                None
            }
        }
    }

    /// Subscribes to announcements of shutdowns.
    ///
    /// # Errors
    /// `Failed` if the bus refuses.
    pub fn shutdowns(&self) -> Result<Shutdowns> {
        self.runtime
            .run(self.proxy.receive_prepare_for_shutdown())
            .map(|stream| Shutdowns { runtime: self.runtime.clone(), stream })
            .map_err(|error| asked(&error, "cannot wait for a shutdown"))
    }
}

/// logind's announcements of shutdowns, as a stream.
#[derive(Debug)]
pub struct Shutdowns {
    runtime: Runtime,
    stream: PrepareForShutdownStream,
}

impl Shutdowns {
    /// Waits for the next announcement, without a deadline. Returns false if a shutdown is cancelled.
    ///
    /// # Errors
    /// `Failed` if the connection is lost.
    pub fn wait(&mut self) -> Result<bool> {
        let next = self.runtime.run(poll_fn(|context| Pin::new(&mut self.stream).poll_next(context)));
        let lost = || Error::failed("the connection to logind was lost");
        let announced = next.ok_or_else(lost)?;
        Ok(announced.args().map_err(|error| asked(&error, "logind said something else"))?.start)
    }
}

fn asked(error: &zbus::Error, doing: &str) -> Error {
    let kind = match error {
        zbus::Error::Connection(..) | zbus::Error::Handshake(_) => Kind::Missing,
        _ => Kind::Failed,
    };
    Error::new(kind, format!("{doing}: {}", reason(error)))
}
