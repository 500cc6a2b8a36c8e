//! The runtime of forge's D-Bus connections: the calling thread runs them, and only during calls.
//!
//! By default zbus runs connections between calls, too, on a thread of its own. In a command of a few milliseconds,
//! handing the connection to and fro took one of them (measured: zbus starts the thread after the first call, and
//! wakes it around each later call), and zbus panics if it cannot start a thread.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::pin::Pin;
use std::process::{Command, ExitStatus, Stdio};
use std::task::{Context, Poll};
use std::time::Duration;

use zbus::runtime::traits::{self, PollIo, TaskHandle};
use zbus::runtime::{Interest, IoSource};
use zruntime::net::{TcpStream, unix::UnixStream};
use zruntime::{Shared, SharedRuntime, Sleep};

use crate::model::error::{Error, Kind, Result, Trying};
use crate::sys::clock::Deadline;

/// Runs the connections of one thread.
#[derive(Debug, Clone)]
pub(super) struct Runtime(SharedRuntime);

impl Runtime {
    pub(super) fn new() -> Result<Self> {
        SharedRuntime::new().map(Self).trying("cannot wait for several things at once (epoll)")
    }

    /// Runs a future to its end, and its connections meanwhile. Only one thread at a time may call this.
    pub(super) fn run<F: Future>(&self, future: F) -> F::Output {
        self.0.block_on(async {
            let output = future.await;
            // Dropped streams may still have to cancel their subscriptions on the bus. Send that now: there may be
            // no later call.
            let mut has_waited = false;
            std::future::poll_fn(|context| {
                if std::mem::replace(&mut has_waited, true) {
                    return Poll::Ready(());
                }
                context.waker().wake_by_ref();
                Poll::Pending
            })
            .await;
            output
        })
    }

    /// Runs a future with a deadline.
    pub(super) async fn deadlined<T>(
        &self,
        deadline: Deadline,
        doing: &str,
        future: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let late = || {
            Error::new(Kind::Deadline, format!("{doing} took too long"))
                .hint("see 'systemctl --user status' and 'systemctl --user list-jobs'")
        };
        self.0.timeout(deadline.left(), future).await.unwrap_or_else(|_| Err(late()))
    }
}

impl traits::Runtime for Runtime {
    type RegisteredIoSource = Registration;
    type Sleep = Sleep<Shared>;
    type Task<T>
        = Task<T>
    where
        T: Send + 'static;

    fn register_io_source(&self, source: IoSource) -> io::Result<Registration> {
        self.0.register(source).map(Registration)
    }

    fn sleep(&self, duration: Duration) -> Sleep<Shared> {
        self.0.sleep(duration)
    }

    fn spawn<T: Send + 'static>(
        &self,
        name: &str,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Task<T> {
        Task(self.0.spawn(name.to_owned(), future))
    }

    async fn connect_tcp(&self, address: SocketAddr) -> io::Result<IoSource> {
        let stream = TcpStream::<Shared>::connect(&self.0, address).await?;
        Ok(OwnedFd::from(stream.into_std()).into())
    }

    async fn connect_unix(&self, path: &Path) -> io::Result<IoSource> {
        use std::os::unix::net::SocketAddr;
        let address = match path.as_os_str().as_bytes().strip_prefix(b"\0") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(path)?,
        };
        let stream = UnixStream::<Shared>::connect_addr(&self.0, &address).await?;
        Ok(OwnedFd::from(stream.into_std()).into())
    }

    /// For buses behind a program (`unixexec:`), which forge's build of zbus does not support.
    fn spawn_process(
        &self,
        _: Command,
        _: Stdio,
        _: Stdio,
        _: Stdio,
    ) -> io::Result<Pin<Box<dyn Future<Output = io::Result<ExitStatus>> + Send + 'static>>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// A socket that is waited on.
pub(super) struct Registration(zruntime::Registration<Shared>);

impl PollIo for Registration {
    fn poll_io<T>(
        &self,
        context: &mut Context<'_>,
        interest: Interest,
        operation: impl FnMut() -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        let interest = match interest {
            Interest::Readable => zruntime::Interest::Readable,
            _ => zruntime::Interest::Writable,
        };
        self.0.poll_io(context, interest, operation)
    }
}

/// Work that runs beside a call: reading from the connection.
pub(super) struct Task<T>(zruntime::Task<T, Shared>);

impl<T> Future for Task<T> {
    type Output = io::Result<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.get_mut().0).poll(context)
    }
}

impl<T: Send + 'static> TaskHandle<T> for Task<T> {
    fn detach(self) {
        self.0.detach();
    }
}
