//! Finds which module uses which, from the paths in the source text.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A module's path below the crate, such as `["ops", "session", "stop"]`.
pub(crate) type Module = Vec<String>;

/// The text of one module.
pub(crate) struct Source {
    pub(crate) module: Module,
    /// Without comments, unit tests and the text of literals.
    pub(crate) tokens: Vec<Token>,
}

impl Source {
    pub(crate) fn new<'a>(module: impl IntoIterator<Item = &'a str>, text: &str) -> Self {
        let tokens = without_unit_tests(&tokens(text));
        Self { module: module.into_iter().map(str::to_owned).collect(), tokens }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    Word(String),
    /// `::`
    Colons,
    Mark(char),
}

impl Token {
    fn is(&self, word: &str) -> bool {
        matches!(self, Self::Word(it) if it == word)
    }
}

/// A path in the text.
struct Found {
    path: Vec<String>,
    /// The name that a `use` brings into the module, `*` for a glob.
    name: Option<String>,
    /// Whether it is of a `pub use`.
    is_public: bool,
}

/// All modules below a source folder, except the crate's root (`lib.rs` and `main.rs`).
pub(crate) fn read(src: &Path) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut folders = vec![(src.to_owned(), Module::new())];
    while let Some((folder, module)) = folders.pop() {
        let entries =
            std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for entry in entries {
            let path = entry.unwrap_or_else(|error| panic!("{}: {error}", folder.display())).path();
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let inner = [module.clone(), vec![stem.clone()]].concat();
            if path.is_dir() {
                folders.push((path, inner));
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let module = match stem.as_str() {
                    "lib" | "main" if module.is_empty() => continue,
                    "mod" => module.clone(),
                    _ => inner,
                };
                let text = std::fs::read_to_string(&path)
                    .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                sources.push(Source::new(module.iter().map(String::as_str), &text));
            }
        }
    }
    sources
}

/// The pairs of modules of which the first uses an item of the second.
///
/// `use a::b;`, where `b` is a module, is not a use of `b` yet: the paths that begin with `b` are. Nor does a
/// module use an inner one by passing on its items (`pub use inner::Item;`).
pub(crate) fn of(sources: &[Source]) -> BTreeSet<(Module, Module)> {
    let modules: BTreeSet<&[String]> =
        sources.iter().flat_map(|source| (0..=source.module.len()).map(|n| &source.module[..n])).collect();
    let mut imports = BTreeSet::new();
    for source in sources {
        let mut names = BTreeMap::new();
        let mut used = Vec::new();
        read_paths(&source.tokens, &mut |found| {
            if let Some(name) = &found.name {
                names.insert(name.clone(), found.path.clone());
            }
            used.push(found);
        });
        for found in used {
            let is_use = found.name.is_some();
            let Some(path) = resolve(&found.path, &source.module, &names, &modules, is_use) else { continue };
            let is_inner = path.starts_with(&source.module);
            if is_use && modules.contains(path.as_slice()) || found.is_public && is_inner {
                continue;
            }
            let found = (0..=path.len()).rev().map(|n| &path[..n]).find(|path| modules.contains(path));
            if let Some(module) = found
                && !module.is_empty()
                && module != source.module
            {
                imports.insert((source.module.clone(), module.to_vec()));
            }
        }
    }
    imports
}

/// A path from the crate's root; `None` for a path into another crate, or of a local name.
fn resolve(
    path: &[String],
    module: &[String],
    names: &BTreeMap<String, Vec<String>>,
    modules: &BTreeSet<&[String]>,
    is_use: bool,
) -> Option<Module> {
    let (first, rest) = path.split_first()?;
    let parent = || module.split_last().map_or(&[][..], |(_, parent)| parent);
    match first.as_str() {
        "crate" => Some(rest.to_vec()),
        "self" => Some([module, rest].concat()),
        "super" if rest.first().is_some_and(|next| next == "super") => {
            resolve(rest, parent(), names, modules, is_use)
        }
        "super" => Some([parent(), rest].concat()),
        _ => {
            let child = [module, &path[..1]].concat();
            if modules.contains(child.as_slice()) {
                return Some([module, path].concat());
            }
            // A `use` may begin with a name that another one brought, but hardly with its own.
            let name = names.get(first).filter(|target| !is_use || target.first() != Some(first))?;
            let target = resolve(name, module, &BTreeMap::new(), modules, true)?;
            Some([target.as_slice(), rest].concat())
        }
    }
}

/// Gives each path.
fn read_paths(tokens: &[Token], found: &mut impl FnMut(Found)) {
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at].is("use") {
            // `pub use` or `pub(crate) use`
            let is_public = at > 0 && (tokens[at - 1].is("pub") || tokens[at - 1] == Token::Mark(')'));
            at = read_use(tokens, at + 1, &[], &mut |path, name| {
                found(Found { path: path.to_vec(), name: Some(name.to_owned()), is_public });
            });
        } else if let Token::Word(_) = &tokens[at] {
            let (path, next) = read_path(tokens, at);
            if path.len() > 1 {
                found(Found { path, name: None, is_public: false });
            }
            at = next;
        } else {
            at += 1;
        }
    }
}

/// The words that `::` joins, and where they end.
fn read_path(tokens: &[Token], mut at: usize) -> (Vec<String>, usize) {
    let mut path = Vec::new();
    while let Some(Token::Word(word)) = tokens.get(at) {
        path.push(word.clone());
        at += 1;
        if !matches!(tokens.get(at..at + 2), Some([Token::Colons, Token::Word(_)])) {
            break;
        }
        at += 1;
    }
    (path, at)
}

/// One tree of a `use`; gives where it ends.
fn read_use(tokens: &[Token], at: usize, prefix: &[String], found: &mut dyn FnMut(&[String], &str)) -> usize {
    let (path, mut at) = read_path(tokens, at);
    let mut path = [prefix, &path].concat();
    if tokens.get(at) == Some(&Token::Colons) {
        at += 1;
    }
    match tokens.get(at) {
        Some(Token::Mark('*')) => {
            path.push("*".to_owned());
            found(&path, "*");
            at + 1
        }
        Some(Token::Mark('{')) => {
            at += 1;
            while tokens.get(at).is_some_and(|token| *token != Token::Mark('}')) {
                at = read_use(tokens, at, &path, found);
                if tokens.get(at) == Some(&Token::Mark(',')) {
                    at += 1;
                }
            }
            at + 1
        }
        _ => {
            if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
                path.pop();
            }
            let mut name = path.last().cloned().unwrap_or_default();
            // `read_path` stops before `as`, which no `::` joins.
            if tokens.get(at).is_some_and(|token| token.is("as"))
                && let Some(Token::Word(other)) = tokens.get(at + 1)
            {
                name.clone_from(other);
                at += 2;
            }
            found(&path, &name);
            // Whatever stands here that no tree begins with must not hold up its reader.
            if matches!(tokens.get(at), Some(Token::Mark(',' | '}' | ';'))) { at } else { at + 1 }
        }
    }
}

/// The tokens without what `#[cfg(test)]` stands before.
fn without_unit_tests(tokens: &[Token]) -> Vec<Token> {
    let word = |word: &str| Token::Word(word.to_owned());
    let mark = Token::Mark;
    let attribute = [mark('#'), mark('['), word("cfg"), mark('('), word("test"), mark(')'), mark(']')];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if !tokens[at..].starts_with(&attribute) {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        let mut depth = 0;
        for token in &tokens[at + attribute.len()..] {
            at += 1;
            match token {
                Token::Mark('{') => depth += 1,
                Token::Mark('}') => depth -= 1,
                Token::Mark(';') => {}
                _ => continue,
            }
            if depth == 0 {
                break;
            }
        }
        at += attribute.len();
    }
    kept
}

/// Rust's tokens, as far as paths need them: without comments, and without the text of literals.
fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = skipped(rest);
        if skipped > 0 {
            rest = &rest[skipped..];
        } else if first.is_alphanumeric() || first == '_' {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            tokens.push(Token::Word(rest[..end].to_owned()));
            rest = &rest[end..];
        } else if let Some(after) = rest.strip_prefix("::") {
            tokens.push(Token::Colons);
            rest = after;
        } else {
            if !first.is_whitespace() {
                tokens.push(Token::Mark(first));
            }
            rest = &rest[first.len_utf8()..];
        }
    }
    tokens
}

/// The length of the comment, text or character that begins here; 0 if none does.
fn skipped(rest: &str) -> usize {
    let until =
        |start: usize, end: &str| rest[start..].find(end).map_or(rest.len(), |n| start + n + end.len());
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment(rest);
    }
    let prefix = rest.find(|c| !matches!(c, 'b' | 'c' | 'r')).unwrap_or(rest.len());
    let literal = &rest[prefix..];
    if rest[..prefix].ends_with('r') {
        let hashes = literal.len() - literal.trim_start_matches('#').len();
        if literal[hashes..].starts_with('"') {
            return until(prefix + hashes + 1, &format!("\"{}", "#".repeat(hashes)));
        }
    }
    if literal.starts_with('"') {
        return prefix + quoted(literal, '"');
    }
    // A lifetime has no second quote right behind its first character.
    let mut after = literal.strip_prefix('\'').unwrap_or_default().chars();
    match (after.next(), after.next()) {
        (Some('\\'), _) | (Some(_), Some('\'')) => prefix + quoted(literal, '\''),
        _ => 0,
    }
}

/// The length of a literal with both its quotes.
fn quoted(literal: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, c) in literal.char_indices().skip(1) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    literal.len()
}

/// The length of a comment in which others may nest.
fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if text[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}
