//! A virtual machine, for tests that a container cannot run, above all of enforced limits.
//!
//! QEMU emulates the processor, too: many machines that run tests are virtual themselves and do not offer
//! nested virtualisation. So the machine boots in half a minute, and everything in it is slow.
//!
//! The host sends orders through a port that is QEMU's standard input and output; `agent`, in the machine,
//! executes them.

use crate::enter;
use crate::host::Run;
use crate::image;
use crate::machine::{self, USER};
use crate::ran::{self, Ran};
use crate::suite::Debian;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

/// How long a boot may take; it takes half a minute if nothing else runs.
const BOOT: Duration = Duration::from_secs(600);

/// The host waits this much longer for an answer than the machine's own limit.
const GRACE: Duration = Duration::from_secs(30);

/// The port, as udev names it in the machine.
const PORT: &str = "/dev/virtio-ports/forge";

/// The file through which users set the machine's clock: an argument of date(1).
pub(crate) const SET_CLOCK: &str = "/run/set-clock";

/// An order to the machine: one line.
#[derive(Serialize, Deserialize)]
struct Order {
    number: u64,
    argv: Vec<String>,
    limit: Duration,
}

/// An answer from the machine: one line. Without `in_time`, the program exceeded its limit and was killed.
#[derive(Serialize, Deserialize)]
struct Answer {
    number: u64,
    in_time: bool,
    ran: Ran,
}

pub(crate) struct Vm {
    name: String,
    /// The directory of the console log.
    dir: PathBuf,
    qemu: Child,
    answers: Receiver<Answer>,
    orders: u64,
}

impl Vm {
    /// Boots a new machine and waits until the user manager is up.
    pub(crate) fn new(debian: Debian, run: &Run) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let name = format!("virtual-{}-{}", debian.name(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = run.dir.join(&name);
        fs::create_dir_all(&dir).expect("the machine's folder");
        let console = File::create(dir.join("console")).expect("a console");
        let image = image::disk(debian);
        let drive =
            |options: &str, file: &Path| format!("if=virtio,format=raw,{options},file={}", file.display());
        let mut qemu = Command::new("qemu-system-x86_64")
            .args(["-accel", "tcg,thread=multi", "-smp", "2", "-m", "1024"])
            .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
            .arg("-kernel")
            .arg(image.join("vmlinuz"))
            .arg("-initrd")
            .arg(image.join("initrd.img"))
            .arg("-append")
            // A kernel that panics ends the machine. Without mitigations, which protect nobody here, the
            // emulation is faster.
            .arg(format!("root=/dev/vda rw console=ttyS0 panic=1 mitigations=off systemd.hostname={name}"))
            // Writes to the disk are discarded with the machine.
            .args(["-drive", &drive("snapshot=on", &image.join("disk"))])
            .args(["-drive", &drive("readonly=on", &programs(run))])
            .args(["-chardev", "stdio,id=port,signal=off", "-device", "virtio-serial"])
            .args(["-device", "virtserialport,chardev=port,name=forge"])
            .arg("-serial")
            .arg(format!("file:{}", dir.join("console").display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(console)
            .spawn()
            .expect("qemu-system-x86_64");
        let (sender, answers) = channel();
        let lines = BufReader::new(qemu.stdout.take().expect("QEMU's output")).lines();
        std::thread::spawn(move || {
            let answers = lines.map_while(Result::ok).filter_map(|line| serde_json::from_str(&line).ok());
            // Reads until QEMU ends or nobody waits.
            answers.map(|answer| sender.send(answer)).take_while(Result::is_ok).count()
        });
        let mut machine = Self { name, dir, qemu, answers, orders: 0 };
        let up = r"systemctl --wait is-system-running
            until systemctl is-active user@1000.service; do sleep 1; done";
        machine.run("root", &["sh", "-c", up], BOOT).ok();
        machine.run(USER, &["busctl", "--user", "status"], BOOT).ok();
        let clock = format!(
            "systemctl stop -q systemd-timesyncd; mkfifo -m 666 {SET_CLOCK}
            systemd-run -q sh -c 'while :; do read time <{SET_CLOCK} && date -s \"$time\"; done'"
        );
        machine.run("root", &["sh", "-c", &clock], BOOT).ok();
        machine
    }

    /// Runs `argv` to its end as that user, in a fresh login session.
    #[track_caller]
    pub(crate) fn run(&mut self, user: &str, argv: &[&str], limit: Duration) -> Ran {
        self.try_run(user, argv, limit).unwrap_or_else(|why| panic!("{why}"))
    }

    fn try_run(&mut self, user: &str, argv: &[&str], limit: Duration) -> Result<Ran, String> {
        self.orders += 1;
        let login = enter::login(user, argv).into_iter().map(ToOwned::to_owned).collect();
        let order = Order { number: self.orders, argv: login, limit };
        let mut line = serde_json::to_vec(&order).expect("an order");
        line.push(b'\n');
        // If QEMU has ended, there is no answer either.
        let _ = self.qemu.stdin.as_mut().expect("QEMU's input").write_all(&line);
        let line = argv.join(" ");
        let end = Instant::now() + limit + GRACE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.answers.recv_timeout(left) {
                Ok(answer) if answer.number != self.orders => {}
                Ok(Answer { in_time: true, ran, .. }) => return Ok(Ran { argv: line, ..ran }),
                Ok(Answer { ran, .. }) => {
                    return Err(format!("no end after {} s, so it was killed:\n{ran}", limit.as_secs()));
                }
                Err(_) => return Err(format!("the machine did not answer to: {line}\n{}", self.console())),
            }
        }
    }

    fn console(&self) -> String {
        machine::console(&self.name, &self.dir)
    }

    /// Describes the machine after a failure.
    pub(crate) fn last_words(&mut self) -> String {
        let journal = ["journalctl", "-n", "60", "--no-pager", "-o", "short-precise"];
        match self.try_run("root", &journal, Duration::from_secs(60)) {
            Ok(ran) => format!("--- the end of {}'s journal:\n{}", self.name, ran.stdout),
            Err(_) => self.console(),
        }
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        ran::kill_tree(self.qemu.id());
        let _ = self.qemu.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// The programs under test, as the contents of a disk: a bare archive.
fn programs(run: &Run) -> PathBuf {
    static ARCHIVE: OnceLock<PathBuf> = OnceLock::new();
    let make = || {
        let archive = run.dir.join("programs.tar");
        let program = |path| run.layer().join(path);
        let programs = ["usr/bin/forge", "usr/lib/forge-tests/machine"].map(program);
        // Without debug information they shrink to a sixth. If stripping fails, copying takes longer.
        let _ = Command::new("strip").arg("--strip-debug").args(programs).status();
        let mut tar = Command::new("tar");
        tar.arg("-cf").arg(&archive).arg("-C").arg(run.layer()).arg("usr");
        ran::run(tar, "tar", Duration::from_secs(60)).ok();
        archive
    };
    ARCHIVE.get_or_init(make).clone()
}

/// In the machine, as root: executes orders, each in its own thread.
pub(crate) fn agent() -> i32 {
    let end = Instant::now() + Duration::from_secs(60);
    while !Path::new(PORT).exists() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
    }
    let port = File::options().read(true).write(true).open(PORT).expect("the port to the host");
    let answers = Arc::new(Mutex::new(port.try_clone().expect("the port to the host")));
    for line in BufReader::new(port).lines() {
        let order: Order = serde_json::from_str(&line.expect("a line")).expect("an order");
        let answers = Arc::clone(&answers);
        std::thread::spawn(move || {
            let mut command = Command::new(&order.argv[0]);
            command.args(&order.argv[1..]);
            let (in_time, ran) = ran::start(command, &order.argv[0]).end(order.limit);
            let answer = Answer { number: order.number, in_time, ran };
            let mut line = serde_json::to_vec(&answer).expect("an answer");
            line.push(b'\n');
            answers.lock().expect("the port").write_all(&line).expect("the port takes it");
        });
    }
    0
}
