//! Decodes keys from bytes, as a terminal program does.

/// One key, or one paste.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Character(char),
    Enter,
    /// A bracketed paste, with its line breaks as `\n`.
    Paste(String),
    /// Any other key, by tmux's name if it has one.
    Named(String),
}

impl Key {
    pub(super) fn name(&self) -> String {
        match self {
            Self::Character(c) => c.to_string(),
            Self::Enter => "Enter".to_owned(),
            Self::Paste(text) => format!("Paste of {} bytes", text.len()),
            Self::Named(name) => name.clone(),
        }
    }
}

const PASTE_BEGINS: &[u8] = b"\x1b[200~";
const PASTE_ENDS: &[u8] = b"\x1b[201~";

/// Takes bytes one by one.
#[derive(Default)]
pub(super) struct Decoder {
    /// An unfinished character or escape sequence.
    bytes: Vec<u8>,
    /// An unfinished paste.
    paste: Option<Vec<u8>>,
    /// Whether the program asked for bracketed paste.
    bracketed: bool,
}

impl Decoder {
    pub(super) fn new(bracketed: bool) -> Self {
        Self { bracketed, ..Self::default() }
    }

    pub(super) fn push(&mut self, byte: u8) -> Option<Key> {
        if let Some(paste) = &mut self.paste {
            paste.push(byte);
            let text = paste.strip_suffix(PASTE_ENDS)?;
            let text = String::from_utf8_lossy(text).replace("\r\n", "\n").replace('\r', "\n");
            self.paste = None;
            return Some(Key::Paste(text));
        }
        self.bytes.push(byte);
        if self.bracketed && self.bytes == PASTE_BEGINS {
            self.bytes.clear();
            self.paste = Some(Vec::new());
            return None;
        }
        let key = complete(&self.bytes)?;
        self.bytes.clear();
        Some(key)
    }

    /// An ESC without a successor is the key Escape.
    pub(super) fn quiet(&mut self) -> Option<Key> {
        (self.bytes == [0x1b]).then(|| {
            self.bytes.clear();
            Key::Named("Escape".to_owned())
        })
    }
}

/// The key that these bytes form, if they are complete.
fn complete(bytes: &[u8]) -> Option<Key> {
    let named = |name: &str| Some(Key::Named(name.to_owned()));
    match *bytes {
        [b'\r'] => Some(Key::Enter),
        [0x1b] | [0x1b, b'[' | b'O'] => None,
        [0x1b, b'[' | b'O', .., last] => match last {
            b'A' => named("Up"),
            b'B' => named("Down"),
            b'C' => named("Right"),
            b'D' => named("Left"),
            b'Z' => named("BTab"),
            b'P' if bytes[1] == b'O' => named("F1"),
            0x40..=0x7e => named(&format!("^[{}", String::from_utf8_lossy(&bytes[1..]))),
            _ => None,
        },
        [0x1b, byte] => named(&format!("M-{}", char::from(byte))),
        [b'\t'] => named("Tab"),
        [0x7f] => named("BSpace"),
        [byte @ 0..0x20] => named(&format!("C-{}", char::from(byte + 0x40).to_ascii_lowercase())),
        _ => match std::str::from_utf8(bytes) {
            Ok(text) => text.chars().next().map(Key::Character),
            Err(error) if error.error_len().is_none() => None,
            Err(_) => Some(Key::Named(format!("no UTF-8: {bytes:02x?}"))),
        },
    }
}
