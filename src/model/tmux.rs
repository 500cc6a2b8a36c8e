//! What tmux prints, read. Texts and versions are those measured on 3.3a and 3.5a.

use unicode_width::UnicodeWidthStr;

use super::screen::{Client, Screen};
use super::session::End;

/// The ids that `new-session -P` prints when, and only when, a session was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ids {
    /// The server.
    pub server_pid: u32,
    /// The pane: `%0`.
    pub pane: String,
    /// The process in the pane.
    pub pane_pid: u32,
    /// The socket, as the server itself knows it.
    pub socket: String,
}

/// The format that [`Ids::parse`] reads. The socket is last: it may hold any character.
pub const IDS_FORMAT: &str = "forge #{pid} #{pane_id} #{pane_pid} #{socket_path}";

impl Ids {
    /// Finds the line of [`IDS_FORMAT`]; `None` where tmux printed none, which means that there
    /// is no session, whatever its exit status was.
    pub fn parse(output: &str) -> Option<Self> {
        output.lines().find_map(|line| {
            let mut fields = line.strip_prefix("forge ")?.splitn(4, ' ');
            Some(Self {
                server_pid: fields.next()?.parse().ok().filter(|pid| *pid > 1)?,
                pane: fields.next().filter(|pane| is_pane(pane))?.to_owned(),
                pane_pid: fields.next()?.parse().ok().filter(|pid| *pid > 1)?,
                socket: fields.next().filter(|socket| socket.starts_with('/'))?.to_owned(),
            })
        })
    }
}

/// Whether the text is a pane id.
pub fn is_pane(text: &str) -> bool {
    text.strip_prefix('%')
        .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether what tmux printed speaks of its socket or of a server that went away: what a sweep
/// and one more attempt may mend.
pub fn is_socket_error(text: &str) -> bool {
    const TEXTS: [&str; 10] = [
        "address already in use",
        "error creating",
        "error connecting to",
        "no server running on",
        "lost server",
        "server exited",
        "connection refused",
        "couldn't create socket",
        "can't create socket",
        "socket already exists",
    ];
    let text = text.to_lowercase();
    TEXTS.iter().any(|known| text.contains(known))
}

/// Whether the server is there and is of another version than the client.
pub fn is_version_mismatch(text: &str) -> bool {
    text.contains("protocol version mismatch")
}

/// Where tmux's own text names a line of a configuration file: `/home/u/.tmux.conf:3: …`.
pub fn config_error(text: &str) -> Option<&str> {
    text.lines().find(|line| {
        line.starts_with(['/', '~', '.'])
            && line
                .split(':')
                .nth(1)
                .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
    })
}

/// The format that [`pane`] reads.
pub const PANE_FORMAT: &str =
    "#{pane_dead} #{pane_in_mode} #{session_attached} #{pane_dead_status}/#{pane_dead_signal}";

/// What tmux knows of a pane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pane {
    /// Its program ended.
    pub dead: bool,
    /// It is in copy mode or another mode, and keys go there.
    pub in_mode: bool,
    /// Terminals attached to its session.
    pub attached: u32,
    /// Its exit status, once it is dead.
    pub status: Option<i32>,
    /// The signal that ended it, once it is dead.
    pub signal: Option<i32>,
}

/// Reads one line of [`PANE_FORMAT`].
pub fn pane(line: &str) -> Option<Pane> {
    let mut fields = line.trim_end().split(' ');
    let dead = fields.next()? == "1";
    let in_mode = fields.next()? != "0";
    let attached = fields.next()?.parse().ok()?;
    let (status, signal) = fields.next()?.split_once('/')?;
    Some(Pane { dead, in_mode, attached, status: status.parse().ok(), signal: signal.parse().ok() })
}

impl Pane {
    /// Whether its program ended and tmux knows how. A pane may be dead before that.
    pub fn has_result(&self) -> bool {
        self.dead && (self.status.is_some() || self.signal.is_some())
    }

    /// How the program ended.
    pub fn end(&self, since_us: u64, at_us: u64) -> End {
        End {
            since_us,
            at_us,
            status: self.status.filter(|_| self.signal.is_none()),
            signal: self.signal,
            over: true,
            cause: None,
        }
    }
}

/// The format of the line of [`look`] that says how a pane is. `bracket_paste_flag` is empty before tmux 3.7.
pub const LOOK_FORMAT: &str = "pane #{pane_id} #{pane_dead} #{pane_in_mode} #{cursor_x} #{cursor_y} \
    #{history_size} #{pane_height} b#{bracket_paste_flag} #{pane_tty}";

/// The format of a line of [`look`] that names an attached terminal.
pub const CLIENT_FORMAT: &str = "client #{client_activity} #{client_tty}";

/// The line of [`look`] behind which the pane's rows are, and behind those its joined lines.
pub const LOOK_SCREEN: &str = "screen";

/// Reads a look at a pane: lines of [`LOOK_FORMAT`], lines of [`CLIENT_FORMAT`], [`LOOK_SCREEN`], and two
/// captures. `None` where the pane is not among those listed.
pub fn look(pane: &str, printed: &str) -> Option<Screen> {
    let (facts, screen) = printed.split_once(&format!("{LOOK_SCREEN}\n"))?;
    let mut look = Screen::default();
    let mut height = None;
    for line in facts.lines() {
        if let Some(rest) = line.strip_prefix("client ") {
            let (typed_at, terminal) = rest.split_once(' ')?;
            look.clients.push(Client { terminal: terminal.to_owned(), typed_at_s: typed_at.parse().ok()? });
        } else if let Some(rest) =
            line.strip_prefix("pane ").and_then(|line| line.strip_prefix(pane)?.strip_prefix(' '))
        {
            let mut fields = rest.splitn(8, ' ');
            look.dead = fields.next()? == "1";
            look.in_mode = fields.next()? != "0";
            look.column = fields.next()?.parse().ok()?;
            look.row = fields.next()?.parse().ok()?;
            look.scrolled = fields.next()?.parse().ok()?;
            height = Some(fields.next()?.parse::<usize>().ok()?);
            look.bracketed = match fields.next()? {
                "b1" => Some(true),
                "b0" => Some(false),
                _ => None,
            };
            fields.next()?.clone_into(&mut look.terminal);
        }
    }
    let mut rows = screen.split_inclusive('\n');
    look.rows = rows.by_ref().take(height?).map(|row| row.trim_end_matches('\n').to_owned()).collect();
    let joined: String = rows.collect();
    look.text = padded(joined.trim_end_matches('\n'), &look);
    Some(look)
}

/// The joined lines, of which the cursor's has as many blanks at its end as there are before the cursor. Where a
/// program has cleared the rest of its input line, tmux captures no space behind the prompt, or with `-J` a space
/// for each cell that was cleared.
fn padded(joined: &str, look: &Screen) -> String {
    // A no-break space is no blank of tmux's: Claude Code writes one behind its prompt sign.
    let row = look.rows.get(look.row).map_or("", |row| row.trim_end_matches(' '));
    let blanks = look.column.saturating_sub(row.width());
    let mut lines: Vec<String> = joined.split('\n').map(str::to_owned).collect();
    if let Some(line) =
        lines.iter_mut().rev().find(|line| !row.is_empty() && line.trim_end_matches(' ').ends_with(row))
    {
        line.truncate(line.trim_end_matches(' ').len());
        line.extend(std::iter::repeat_n(' ', blanks));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_before_the_cursor_are_part_of_the_text() {
        let look = |column| Screen { row: 0, column, rows: vec!["$".to_owned()], ..Screen::default() };
        assert_eq!(padded("$", &look(2)), "$ ");
        assert_eq!(padded("$ ", &look(2)), "$ ");
        assert_eq!(padded("$     ", &look(2)), "$ ");
        assert_eq!(padded("$ ", &look(1)), "$");
        assert_eq!(padded("x\n$\nbelow", &look(2)), "x\n$ \nbelow");
        let box_of_claude = Screen { column: 2, rows: vec!["❯\u{a0}".to_owned()], ..Screen::default() };
        assert_eq!(padded("❯\u{a0}  ", &box_of_claude), "❯\u{a0}");
    }

    #[test]
    fn a_look_is_read_whole() {
        let printed = "pane %1 0 0 9 9 0 3 b /dev/pts/9\npane %0 0 1 2 1 7 3 b1 /dev/pts/8\n\
                       client 1700000000 /dev/pts/3\nscreen\nscreen\n> x\n\nscreen\n> x\n";
        let seen = look("%0", printed).unwrap();
        assert_eq!((seen.column, seen.row, seen.scrolled, seen.in_mode), (2, 1, 7, true));
        assert_eq!((seen.bracketed, seen.terminal.as_str()), (Some(true), "/dev/pts/8"));
        assert_eq!(seen.clients[0].terminal, "/dev/pts/3");
        assert_eq!(
            (seen.rows, seen.text.as_str()),
            (["screen", "> x", ""].map(Into::into).into(), "screen\n> x")
        );
        assert_eq!(look("%1", printed).unwrap().bracketed, None);
        assert_eq!(look("%2", printed), None);
        assert_eq!(look("%0", ""), None);
    }

    #[test]
    fn ids_are_demanded_whole() {
        let ids = Ids::parse("noise\nforge 68 %0 70 /tmp/tmux-1000/spawn a\n").unwrap();
        assert_eq!((ids.server_pid, ids.pane_pid, ids.socket.as_str()), (68, 70, "/tmp/tmux-1000/spawn a"));
        for bad in [
            "",
            "forge",
            "forge 68 %0",
            "forge 68 0 70 /x",
            "forge 1 %0 70 /x",
            "forge x %0 70 /x",
            "forge 6 %0 7 x",
        ] {
            assert_eq!(Ids::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_measured_socket_error_is_known() {
        for text in [
            "error creating /tmp/tmux-1000/default (Address already in use)",
            "error connecting to /tmp/tmux-1000/x (No such file or directory)",
            "no server running on /tmp/tmux-1000/default",
            "lost server",
            "server exited unexpectedly",
            "server exited",
            "error connecting to /tmp/tmux-1000/x (Connection refused)",
        ] {
            assert!(is_socket_error(text), "{text}");
        }
        assert!(!is_socket_error("duplicate session: demo"));
        assert!(!is_socket_error("/home/u/.tmux.conf:3: unknown command: foo"));
    }

    #[test]
    fn an_error_of_the_configuration_names_its_line() {
        let text = "/home/u/.tmux.conf:2: unknown command: foo";
        assert_eq!(config_error(text), Some(text));
        assert_eq!(config_error("lost server"), None);
        assert_eq!(config_error("/tmp/x: not found"), None);
    }

    #[test]
    fn a_pane_is_read() {
        let alive = pane("0 0 1 /\n").unwrap();
        assert!(!alive.dead && alive.attached == 1 && alive.status.is_none());
        let dead = pane("1 0 0 127/").unwrap();
        assert_eq!(dead.end(1, 2).status, Some(127));
        let killed = pane("1 0 0 0/9").unwrap();
        assert_eq!((killed.end(1, 2).status, killed.end(1, 2).signal), (None, Some(9)));
        assert_eq!(pane(""), None);
    }
}
