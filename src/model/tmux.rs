//! Parsers for the output of tmux. Texts were measured on 3.3a and 3.5a.

use unicode_width::UnicodeWidthStr;

use super::screen::{Client, Screen};
use super::session::End;

/// The ids that `new-session -P` prints if, and only if, it created a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ids {
    pub server_pid: u32,
    /// For example `%0`.
    pub pane: String,
    pub pane_pid: u32,
    /// The path of the socket as the server knows it.
    pub socket: String,
}

/// The format that [`Ids::parse`] parses. The socket is last, because it may contain any character.
pub const IDS_FORMAT: &str = "forge #{pid} #{pane_id} #{pane_pid} #{socket_path}";

impl Ids {
    /// Parses the line of [`IDS_FORMAT`]. `None` means that tmux created no session, whatever its exit status.
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

pub fn is_pane(text: &str) -> bool {
    text.strip_prefix('%')
        .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether the error is about the socket or about a server that ended: a sweep and one more attempt may fix it.
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

/// Whether the server runs another version than the client.
pub fn is_version_mismatch(text: &str) -> bool {
    text.contains("protocol version mismatch")
}

/// The line in which tmux names a line of a configuration file: `/home/u/.tmux.conf:3: …`.
pub fn config_error(text: &str) -> Option<&str> {
    text.lines().find(|line| {
        line.starts_with(['/', '~', '.'])
            && line
                .split(':')
                .nth(1)
                .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
    })
}

/// The format that [`pane`] parses.
pub const PANE_FORMAT: &str =
    "#{pane_dead} #{pane_in_mode} #{session_attached} #{pane_dead_status}/#{pane_dead_signal}";

/// The state of a pane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pane {
    /// Whether the pane's program ended.
    pub dead: bool,
    /// Whether the pane is in copy mode or another mode, which receives the keys.
    pub in_mode: bool,
    /// The number of terminals that are attached to its session.
    pub attached: u32,
    /// The program's exit status, once the pane is dead.
    pub status: Option<i32>,
    /// The signal that ended the program, once the pane is dead.
    pub signal: Option<i32>,
}

/// Parses one line of [`PANE_FORMAT`].
pub fn pane(line: &str) -> Option<Pane> {
    let mut fields = line.trim_end().split(' ');
    let dead = fields.next()? == "1";
    let in_mode = fields.next()? != "0";
    let attached = fields.next()?.parse().ok()?;
    let (status, signal) = fields.next()?.split_once('/')?;
    Some(Pane { dead, in_mode, attached, status: status.parse().ok(), signal: signal.parse().ok() })
}

impl Pane {
    /// Whether the program ended and tmux knows how. A pane may be dead before tmux knows.
    pub fn has_result(&self) -> bool {
        self.dead && (self.status.is_some() || self.signal.is_some())
    }

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

/// The format of the line for [`parse_screen`] with the state of a pane. `bracket_paste_flag` is empty before tmux 3.7.
pub const SCREEN_FORMAT: &str = "pane #{pane_id} #{pane_dead} #{pane_in_mode} #{cursor_x} #{cursor_y} \
    #{history_size} #{pane_height} b#{bracket_paste_flag} #{pane_tty}";

/// The format of a line for [`parse_screen`] with an attached terminal.
pub const CLIENT_FORMAT: &str = "client #{client_activity} #{client_tty}";

/// The line before the pane's rows, which its joined lines follow.
pub const SCREEN_MARK: &str = "screen";

/// Parses the screen of a pane: lines of [`SCREEN_FORMAT`], lines of [`CLIENT_FORMAT`], [`SCREEN_MARK`], and two
/// captures. `None` if the pane is not listed.
pub fn parse_screen(pane: &str, printed: &str) -> Option<Screen> {
    let (facts, captures) = printed.split_once(&format!("{SCREEN_MARK}\n"))?;
    let mut screen = Screen::default();
    let mut height = None;
    for line in facts.lines() {
        if let Some(rest) = line.strip_prefix("client ") {
            let (typed_at, terminal) = rest.split_once(' ')?;
            screen.clients.push(Client { terminal: terminal.to_owned(), typed_at_s: typed_at.parse().ok()? });
        } else if let Some(rest) =
            line.strip_prefix("pane ").and_then(|line| line.strip_prefix(pane)?.strip_prefix(' '))
        {
            let mut fields = rest.splitn(8, ' ');
            screen.dead = fields.next()? == "1";
            screen.in_mode = fields.next()? != "0";
            screen.column = fields.next()?.parse().ok()?;
            screen.row = fields.next()?.parse().ok()?;
            screen.scrolled = fields.next()?.parse().ok()?;
            height = Some(fields.next()?.parse::<usize>().ok()?);
            screen.bracketed = match fields.next()? {
                "b1" => Some(true),
                "b0" => Some(false),
                _ => None,
            };
            fields.next()?.clone_into(&mut screen.terminal);
        }
    }
    let mut rows = captures.split_inclusive('\n');
    screen.rows = rows.by_ref().take(height?).map(|row| row.trim_end_matches('\n').to_owned()).collect();
    let joined: String = rows.collect();
    screen.text = padded(joined.trim_end_matches('\n'), &screen);
    Some(screen)
}

/// The joined lines; the cursor's line is padded with spaces up to the cursor. If a program has cleared the rest of
/// its input line, tmux captures no space after the prompt, or with `-J` a space for each cleared cell.
fn padded(joined: &str, screen: &Screen) -> String {
    // tmux does not treat a no-break space as a space; Claude Code writes one after its prompt sign.
    let row = screen.rows.get(screen.row).map_or("", |row| row.trim_end_matches(' '));
    let blanks = screen.column.saturating_sub(row.width());
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
    fn spaces_before_the_cursor_are_part_of_the_text() {
        let at_column = |column| Screen { row: 0, column, rows: vec!["$".to_owned()], ..Screen::default() };
        assert_eq!(padded("$", &at_column(2)), "$ ");
        assert_eq!(padded("$ ", &at_column(2)), "$ ");
        assert_eq!(padded("$     ", &at_column(2)), "$ ");
        assert_eq!(padded("$ ", &at_column(1)), "$");
        assert_eq!(padded("x\n$\nbelow", &at_column(2)), "x\n$ \nbelow");
        let box_of_claude = Screen { column: 2, rows: vec!["❯\u{a0}".to_owned()], ..Screen::default() };
        assert_eq!(padded("❯\u{a0}  ", &box_of_claude), "❯\u{a0}");
    }

    #[test]
    fn a_screen_is_parsed() {
        let printed = "pane %1 0 0 9 9 0 3 b /dev/pts/9\npane %0 0 1 2 1 7 3 b1 /dev/pts/8\n\
                       client 1700000000 /dev/pts/3\nscreen\nscreen\n> x\n\nscreen\n> x\n";
        let seen = parse_screen("%0", printed).unwrap();
        assert_eq!((seen.column, seen.row, seen.scrolled, seen.in_mode), (2, 1, 7, true));
        assert_eq!((seen.bracketed, seen.terminal.as_str()), (Some(true), "/dev/pts/8"));
        assert_eq!(seen.clients[0].terminal, "/dev/pts/3");
        assert_eq!(
            (seen.rows, seen.text.as_str()),
            (["screen", "> x", ""].map(Into::into).into(), "screen\n> x")
        );
        assert_eq!(parse_screen("%1", printed).unwrap().bracketed, None);
        assert_eq!(parse_screen("%2", printed), None);
        assert_eq!(parse_screen("%0", ""), None);
    }

    #[test]
    fn incomplete_ids_are_refused() {
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
    fn a_configuration_error_names_its_line() {
        let text = "/home/u/.tmux.conf:2: unknown command: foo";
        assert_eq!(config_error(text), Some(text));
        assert_eq!(config_error("lost server"), None);
        assert_eq!(config_error("/tmp/x: not found"), None);
    }

    #[test]
    fn the_state_of_a_pane_is_parsed() {
        let alive = pane("0 0 1 /\n").unwrap();
        assert!(!alive.dead && alive.attached == 1 && alive.status.is_none());
        let dead = pane("1 0 0 127/").unwrap();
        assert_eq!(dead.end(1, 2).status, Some(127));
        let killed = pane("1 0 0 0/9").unwrap();
        assert_eq!((killed.end(1, 2).status, killed.end(1, 2).signal), (None, Some(9)));
        assert_eq!(pane(""), None);
    }
}
