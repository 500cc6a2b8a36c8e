//! Arguments of the command line: sizes, percentages, variables, commands, text to type.

use std::ffi::{OsStr, OsString};

use forge::model::screen::prompts::{PatternKey, Prompts, QUESTION_CHARS, QUESTION_LINES, ScreenPattern};
use forge::model::session::command::Argv;
use forge::model::session::environment::{
    Assignment, FORGE_SESSION, check_name, for_session, without_values,
};
use forge::model::session::limits::{Limits, Percent, Size};
use forge::model::session::resume::{check_id, needs_id, with_id};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use crate::{id, properties, text};

fn variable() -> impl Strategy<Value = String> {
    "[A-Za-z_][A-Za-z0-9_]{0,9}".prop_filter("forge sets it itself", |name| check_name(name).is_ok())
}

pub(crate) fn limits() -> impl Strategy<Value = Limits> {
    let number = || option::of(1..1_000_000u64);
    let weight = || option::of(1..=10_000u64);
    (number(), number(), weight(), number(), weight(), number()).prop_map(
        |(memory_max, memory_high, cpu_weight, cpu_quota, io_weight, tasks_max)| Limits {
            memory_max: memory_max.map(Size),
            memory_high: memory_high.map(Size),
            cpu_weight,
            cpu_quota: cpu_quota.map(Percent),
            io_weight,
            tasks_max,
        },
    )
}

pub(crate) fn argv() -> impl Strategy<Value = Argv> {
    proptest::collection::vec(text(), 1..5).prop_filter_map("no command", |words| Argv::new(words).ok())
}

/// One or two words of a command line for `spawn`, the words that remain without values, and the removed variable.
type Part = (Vec<String>, Vec<String>, Option<(String, String)>);

fn part() -> impl Strategy<Value = Part> {
    let same = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        (words.clone(), words, None)
    };
    let value = "[ -~é=]{0,12}";
    prop_oneof![
        select(vec![
            same(&["--json"]),
            same(&["-q"]),
            same(&["--ready", "env"]),
            same(&["--cwd=--env"]),
            same(&["--port", "80"]),
        ]),
        (variable(), value, any::<bool>()).prop_map(|(name, value, two)| {
            let given = format!("{name}={value}");
            let words = if two { vec!["--env".to_owned(), given] } else { vec![format!("--env={given}")] };
            (words, vec![format!("--env={name}")], Some((name, value)))
        }),
        variable().prop_map(|name| {
            (vec!["--env".to_owned(), name.clone()], vec![format!("--env={name}")], None)
        }),
    ]
}

/// An option before the command's name.
fn global() -> impl Strategy<Value = Vec<String>> {
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    select(vec![
        words(&["--config", "forge.toml"]),
        words(&["--config", "run"]),
        words(&["--config=x"]),
        words(&["-v"]),
    ])
}

/// Expressions that match on one line, over several lines, at the ends of lines, and nowhere.
const EXPRESSIONS: &[&str] =
    &["a", r"\?", r"a[ ?]*\n?[ab]", "[ab]$", "(?s:a.*b)", r"\bb", r"b\z", "^ +", r"\n", "a{300}", "z"];

properties! {
    #[test]
    fn a_size_is_its_number_times_its_unit(number: u64, unit in 0..6usize, lower: bool) {
        let name = ["", "B", "K", "M", "G", "T"][unit];
        let name = if lower { name.to_lowercase() } else { name.to_owned() };
        let whole = u128::from(number) << (10 * unit.saturating_sub(1));
        let read = format!("{number}{name}").parse::<Size>().ok().map(|size| u128::from(size.0));
        prop_assert_eq!(read, Some(whole).filter(|whole| *whole <= u128::from(u64::MAX)));
    }

    #[test]
    fn an_invalid_size_or_percentage_is_named_with_the_accepted_forms(text in text()) {
        for (error, example) in [(text.parse::<Size>().map(drop), "512M"), (text.parse::<Percent>().map(drop), "50%")] {
            let Err(error) = error else { continue };
            prop_assert!(error.message.contains(&*text.trim().escape_debug().to_string()), "{}", error);
            prop_assert!(error.message.contains(example), "{}", error);
        }
        if let Ok(share) = text.parse::<Percent>() {
            prop_assert_eq!(format!("{}%", share.0).parse::<Percent>().unwrap(), share);
        }
    }

    #[test]
    fn limits_are_read_back_and_override_the_defaults(own in limits(), defaults in limits()) {
        own.check().unwrap();
        let json = serde_json::to_string(&own).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Limits>(&json).unwrap(), &own);
        let both = own.clone().or(&defaults);
        let of = |limits: &Limits, name: &str| limits.properties().into_iter().find(|known| known.0 == name);
        for (name, _) in both.properties() {
            prop_assert_eq!(of(&both, name), of(&own, name).or(of(&defaults, name)));
        }
        prop_assert_eq!(own.clone().or(&own), own);
    }

    #[test]
    fn an_error_never_repeats_a_value(name in text(), value in "[a-z]{30}") {
        match format!("{name}={value}").parse::<Assignment>() {
            Ok(given) => prop_assert_eq!(format!("{}={}", given.name, given.value.unwrap()), format!("{name}={value}")),
            Err(error) => prop_assert!(!error.message.contains(&value)),
        }
    }

    #[test]
    fn no_value_stays_on_a_command_line(
        globals in proptest::collection::vec(global(), 0..3),
        verb in select(vec!["spawn", "run"]),
        parts in proptest::collection::vec(part(), 0..6),
        program in option::of(proptest::collection::vec("(--env|--env=A=1|A=1|--|[a-z]{1,3})", 0..4)),
    ) {
        let (mut line, mut left) = (globals.concat(), globals.concat());
        line.extend([verb.to_owned(), "demo".to_owned()]);
        left.extend([verb.to_owned(), "demo".to_owned()]);
        let mut values = Vec::new();
        for (words, rest, value) in parts {
            line.extend(words);
            left.extend(rest);
            values.extend(value);
        }
        // The words after -- belong to the program.
        for line in [&mut line, &mut left] {
            line.extend(program.iter().flat_map(|words| ["--".to_owned()].into_iter().chain(words.clone())));
        }
        let os = |line: &[String]| line.iter().map(OsString::from).collect::<Vec<_>>();
        let expected = Some((os(&left), values)).filter(|(_, values)| !values.is_empty());
        prop_assert_eq!(without_values(&os(&line)), expected);
    }

    #[test]
    fn any_command_line_stays_or_gets_shorter(words in proptest::collection::vec(text(), 0..8)) {
        let line: Vec<OsString> = words.iter().map(OsString::from).collect();
        if let Some((rest, values)) = without_values(&line) {
            prop_assert!(!values.is_empty() && rest.len() <= line.len());
            // A second run changes nothing.
            prop_assert_eq!(without_values(&rest), None);
        }
    }

    #[test]
    fn a_program_inherits_the_environment_without_the_callers_own_variables(
        callers in proptest::collection::btree_map(
            prop_oneof![variable(), "(TMUX|TMUX_PANE|LISTEN_[A-Z]{1,3}|FORGE_[A-Z]{1,9}|NOTIFY_SOCKET|PATH)"],
            "[a-z:/]{0,9}", 0..6,
        ),
        path in option::of("[a-z:/]{1,9}"),
        given in proptest::collection::vec((variable(), "[a-z]{0,3}"), 0..4),
        id in id(),
    ) {
        let os = |map: &std::collections::BTreeMap<String, String>| {
            map.iter().map(|(name, value)| (name.into(), value.into())).collect::<Vec<(OsString, OsString)>>()
        };
        let kept: Vec<(String, String)> = path.iter().map(|path| ("PATH".to_owned(), path.clone())).collect();
        let environment = for_session(os(&callers), &kept, &given, &id);
        let value = |name: &str| {
            let mut found = environment.iter().filter(|(known, _)| known == OsStr::new(name));
            let value = found.next().map(|(_, value)| value.to_str().unwrap().to_owned());
            assert!(found.next().is_none(), "{name} is there twice");
            value
        };
        prop_assert_eq!(value(FORGE_SESSION), Some(id.to_string()));
        for (name, _) in &given {
            let last = given.iter().rfind(|(known, _)| known == name).unwrap();
            prop_assert_eq!(value(name), Some(last.1.clone()));
        }
        let is_given = |name: &str| given.iter().any(|(known, _)| known == name);
        for (name, _) in &environment {
            let name = name.to_str().unwrap();
            let is_place = name.starts_with("TMUX") || name.starts_with("LISTEN_") || name == "NOTIFY_SOCKET";
            prop_assert!(!is_place || is_given(name), "{}", name);
            prop_assert!(!name.starts_with("FORGE_") || name == FORGE_SESSION);
        }
        if !is_given("PATH") {
            let found = value("PATH").unwrap_or_default();
            for dir in path.iter().chain(callers.get("PATH")).flat_map(|path| path.split(':')) {
                prop_assert!(found.split(':').any(|known| known == dir), "{} is not in {}", dir, found);
            }
        }
    }

    #[test]
    fn a_command_is_read_back(argv in argv(), line in text()) {
        let json = serde_json::to_string(&argv).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Argv>(&json).unwrap(), &argv);
        let words = argv.as_slice().iter().map(String::as_str);
        let quoted = serde_json::to_string(&shlex::try_join(words).unwrap()).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Argv>(&quoted).unwrap(), &argv);
        if let Ok(argv) = serde_json::from_str::<Argv>(&serde_json::to_string(&line).unwrap()) {
            prop_assert!(!argv.program().is_empty());
        }
    }

    #[test]
    fn a_valid_pattern_does_not_match_an_empty_screen(pattern in text(), screen in text()) {
        if let Ok(ready) = ScreenPattern::parse(PatternKey::Ready, &pattern) {
            prop_assert!(!ready.matches(""));
            ready.matches(&screen);
            let json = serde_json::to_string(&ready).unwrap();
            let mut reader = serde_json::Deserializer::from_str(&json);
            prop_assert_eq!(forge::model::screen::prompts::ready(&mut reader).unwrap(), Some(ready));
        }
    }

    #[test]
    fn a_session_that_asks_is_not_ready_and_shows_lines_of_its_screen(
        patterns in proptest::array::uniform3(option::of(select(EXPRESSIONS))),
        screen in "[ab? \n]{0,40}|[ab]{250,350}",
    ) {
        let parse = |key, at: usize| patterns[at].as_ref().and_then(|text| ScreenPattern::parse(key, text).ok());
        let prompts = Prompts {
            ready: parse(PatternKey::Ready, 0),
            not_ready: parse(PatternKey::NotReady, 1),
            asking: parse(PatternKey::Asking, 2),
            working: None,
        };
        let matches = |pattern: &Option<ScreenPattern>| pattern.as_ref().is_some_and(|one| one.matches(&screen));
        let [ready, not_ready, asking] = [&prompts.ready, &prompts.not_ready, &prompts.asking].map(matches);
        prop_assert_eq!(prompts.is_ready(&screen), ready && !not_ready && !asking);
        prop_assert_eq!(prompts.blocking(&screen).is_some(), not_ready || asking);
        prop_assert_eq!(prompts.is_asking(&screen), asking);
        let question = prompts.question(&screen);
        prop_assert_eq!(question.is_some(), asking);
        let question = question.unwrap_or_default();
        prop_assert!(question.lines().count() <= QUESTION_LINES && question.chars().count() <= QUESTION_CHARS);
        for line in question.lines() {
            let shown = line.trim_end_matches('…');
            prop_assert!(screen.lines().any(|there| there.trim().starts_with(shown)), "{}", line);
        }
    }

    #[test]
    fn a_valid_id_is_one_argument_and_not_an_option(id in text(), argv in argv()) {
        if check_id(&id).is_ok() {
            prop_assert!(!id.is_empty() && !id.starts_with('-') && !id.contains(char::is_whitespace));
            prop_assert!(!crate::has_control(&id) && !id.contains('\0'));
            let with = Argv::new([argv.as_slice(), &["{resume_id}".to_owned()]].concat()).unwrap();
            let filled = with_id(&with, &id).unwrap();
            prop_assert!(needs_id(&with) && filled.as_slice().last() == Some(&id));
            prop_assert_eq!(filled.as_slice().len(), with.as_slice().len());
        }
    }

    #[test]
    fn a_text_is_typed_completely_or_refused(text in text()) {
        let has_key = |text: &str| text.contains(|c: char| c.is_control() && c != '\n' && c != '\t');
        match forge::model::screen::typing::text(&text) {
            Ok(typed) => {
                prop_assert!(!has_key(&typed) && !typed.ends_with('\n'));
                let whole = text.replace("\r\n", "\n");
                prop_assert_eq!(whole.trim_end_matches(['\n', '\r']), typed.as_str());
                prop_assert_eq!(forge::model::screen::typing::text(&typed).unwrap(), typed.clone());
            }
            Err(error) => prop_assert!(has_key(&text.replace("\r\n", "\n")), "{error}"),
        }
    }

    #[test]
    fn a_key_is_known_to_tmux_or_refused(name in "([CMSX]-){0,3}[A-Za-z0-9;-]{0,8}|.{0,6}") {
        if let Ok(key) = forge::model::screen::typing::key(&name) {
            let plain = key.replace("\\;", ";");
            prop_assert!(plain.eq_ignore_ascii_case(&name), "{} is not {}", key, name);
            prop_assert!(!key.contains(char::is_control));
        }
    }

    #[test]
    fn any_screen_is_parsed(
        rows in proptest::collection::vec(".{0,30}", 1..8),
        (row, column) in (0..10usize, 0..40usize),
        text in text(),
    ) {
        use forge::model::screen::{After, Screen, TypedText};
        let screen = Screen { row, column, text: rows.join("\n"), rows, ..Screen::default() };
        prop_assert!(screen.before_cursor().len() <= screen.rows.get(row).map_or(0, String::len));
        prop_assert!(screen.input().is_none_or(|text| screen.before_cursor().contains(&text)));
        if let Some(typed) = TypedText::new(&text) {
            prop_assert!(!typed.shows(&screen, &screen), "nothing was typed");
            prop_assert_eq!(typed.after(&screen, &screen) != After::Broken, true);
            prop_assert!(typed.token(&screen).is_none_or(|word| word.bytes().all(|b| b.is_ascii_alphanumeric())));
        }
    }
}
