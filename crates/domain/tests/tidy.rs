//! The shape of the workspace, checked by reading it: who may depend on whom, what the core may touch, how long a file
//! may be. Each finding says what to do about it.

#![allow(clippy::unwrap_used, reason = "a test may unwrap, also in what its cases share")]
#![allow(
    clippy::disallowed_methods,
    reason = "this test reads the sources; the core it checks does not read"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A file longer than this has a noun in it that wants to get out (about 500 is comfortable).
const LINE_COUNT_MAX: usize = 600;

/// What the core may depend on.
const CORE_DEPENDENCIES: &[&str] = &["jiff", "sha2", "thiserror"];

/// Crates of the workspace that each crate may name, tests included.
const LAYERS: &[(&str, &[&str])] = &[
    ("crates/domain", &[]),
    ("crates/replay", &["trunkline-domain"]),
    ("proto", &["trunkline-domain"]),
    ("crates/runtime", &["trunkline-domain", "trunkline-proto"]),
    ("services/agent-state", BELOW_SERVICES),
    ("services/billing", BELOW_SERVICES),
    ("services/directory", BELOW_SERVICES),
    ("services/gateway", BELOW_SERVICES),
    ("services/media", BELOW_SERVICES),
    ("services/reporting", BELOW_SERVICES),
    ("services/routing", BELOW_SERVICES),
];
const BELOW_SERVICES: &[&str] = &["trunkline-domain", "trunkline-proto", "trunkline-runtime"];

/// The end of the line, and the tools beside it: these may name everybody.
const TOP: &[&str] = &[
    "services/trunkline",
    "chaos",
    "chaos/linear",
    "chaos/rounds",
    "chaos/sim",
    "loadtest",
    "loadtest/routing",
];

/// Inside the core: a module may use these and itself. `directory` is the one fold that everybody keeps.
const EDGES: &[(&str, &[&str])] = &[
    ("kernel", &["vocabulary"]),
    ("vocabulary", &[]),
    ("facts", &["vocabulary"]),
    ("directory", &["kernel", "vocabulary", "facts"]),
    ("agent_state", CORE),
    ("billing", CORE),
    ("media", CORE),
    ("reporting", CORE),
    ("routing", CORE),
];
const CORE: &[&str] = &["kernel", "vocabulary", "facts", "directory"];

/// What the core never touches; `clippy.toml` bans the calls, this bans the paths.
const IMPURE: &[&str] = &[
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::process",
    "std::thread",
    "std::sync::Mutex",
    "std::time::Instant",
    "std::time::SystemTime",
];

/// Modules whose rules are a state machine, drawn in a LIFECYCLE.md beside them.
const STATE_MACHINES: &[&str] = &["agent_state", "media", "routing"];

#[test]
fn dependencies_run_one_way() {
    let mut findings = Vec::new();
    for (name, text) in named(&["toml"]) {
        let Some(folder) = name.strip_suffix("/Cargo.toml") else { continue };
        let allowed = LAYERS.iter().find(|(layer, _)| *layer == folder).map(|(_, allowed)| *allowed);
        if allowed.is_none() && !TOP.contains(&folder) {
            findings.push(format!("{name}: a new crate takes its place in LAYERS or TOP of this test"));
        }
        for (dependency, rest) in dependencies(&text) {
            // A crate's own tests may switch on its features by naming itself.
            if rest.contains("path = \".\"") && folder.ends_with(dependency.trim_start_matches("trunkline-"))
            {
                continue;
            }
            let ours = dependency.starts_with("trunkline");
            if ours && allowed.is_some_and(|it| !it.contains(&dependency.as_str())) {
                findings.push(format!("{name}: {folder} may not name {dependency}; services meet in proto"));
            }
            if !rest.contains("workspace = true") {
                findings.push(format!("{name}: {dependency} takes its version from the workspace's table"));
            }
        }
    }
    none(findings);
}

#[test]
fn the_core_depends_on_almost_nothing() {
    let manifest = fs::read_to_string(root().join("crates/domain/Cargo.toml")).unwrap();
    let shipped = manifest.split("[dev-dependencies]").next().unwrap();
    let named: BTreeSet<String> = dependencies(shipped).into_iter().map(|(name, _)| name).collect();
    let allowed: BTreeSet<String> = CORE_DEPENDENCIES.iter().map(|it| (*it).to_owned()).collect();
    let extra: Vec<&String> = named.difference(&allowed).collect();
    assert!(extra.is_empty(), "crates/domain may use {CORE_DEPENDENCIES:?} only, it also names {extra:?}");
}

#[test]
fn a_module_of_the_core_uses_the_shared_ones_and_itself() {
    let mut findings = Vec::new();
    for (name, text) in named(&["rs"]) {
        let Some(inside) = name.strip_prefix("crates/domain/src/") else { continue };
        let module = inside.split(['/', '.']).next().unwrap();
        if module == "lib" {
            continue;
        }
        let Some((_, allowed)) = EDGES.iter().find(|(it, _)| *it == module) else {
            findings.push(format!("{name}: a new module takes its place in EDGES of this test"));
            continue;
        };
        for (at, statement) in statements(&text) {
            for used in behind(&statement, "crate") {
                let known = EDGES.iter().any(|(it, _)| *it == used);
                if known && used != module && !allowed.contains(&used) {
                    findings
                        .push(format!("{name}:{at}: {module} may not use {used}; take its facts and ids"));
                }
            }
        }
    }
    none(findings);
}

#[test]
fn the_core_touches_no_clock_file_socket_thread_or_environment() {
    let mut findings = Vec::new();
    for (name, text) in named(&["rs"]).into_iter().filter(|(name, _)| name.starts_with("crates/domain/src/"))
    {
        for (at, statement) in statements(&text) {
            for path in impure(&statement) {
                findings.push(format!("{name}:{at}: {path} belongs to a shell"));
            }
        }
    }
    none(findings);
}

#[test]
fn no_file_is_too_long() {
    let long = |(name, text): (String, String)| {
        let count = text.lines().count();
        (count > LINE_COUNT_MAX).then(|| {
            format!("{name} has {count} lines, {LINE_COUNT_MAX} at most: which noun is trying to get out?")
        })
    };
    none(named(&["rs"]).into_iter().filter_map(long).collect());
}

#[test]
fn a_state_machine_has_its_lifecycle_beside_it() {
    let missing = |module: &&str| {
        let path = format!("crates/domain/src/{module}/LIFECYCLE.md");
        let text = fs::read_to_string(root().join(&path)).unwrap_or_default();
        (text.lines().count() < 10).then(|| {
            format!("{path}: draw the states, the edges, and on each edge the fact and the wire message")
        })
    };
    none(STATE_MACHINES.iter().filter_map(missing).collect());
}

#[test]
fn the_lexicon_has_every_word_once_and_a_word_for_every_id() {
    let lexicon = fs::read_to_string(root().join("docs/LEXICON.md")).unwrap();
    let mut words = BTreeSet::new();
    let mut findings = Vec::new();
    let rows = lexicon.lines().filter(|it| it.starts_with("| ") && !it.starts_with("| word "));
    for word in rows.flat_map(|row| row.split('|').nth(1).unwrap_or("").split(',')).map(str::trim) {
        if !words.insert(word) {
            findings.push(format!("docs/LEXICON.md has `{word}` twice"));
        }
    }
    let registry = fs::read_to_string(root().join("crates/domain/src/vocabulary/ids.rs")).unwrap();
    let mut kind_count = 0;
    for prefix in registry.lines().filter_map(|it| it.trim().strip_suffix("\";")?.split_once(" \"")) {
        kind_count += 1;
        let marked = format!("[`{}_`]", prefix.1);
        if !lexicon.contains(&marked) {
            findings.push(format!("docs/LEXICON.md has no word for {} {marked}", prefix.0));
        }
    }
    assert!(kind_count > 10, "the registry of ids is read wrongly: {kind_count} kinds");
    none(findings);
}

#[test]
fn no_test_is_switched_off() {
    let mark = concat!("#[", "ignore");
    let off = named(&["rs"]).into_iter().flat_map(|(name, text)| {
        let lines: Vec<usize> =
            code(&text).filter(|(_, line)| line.contains(mark)).map(|(at, _)| at).collect();
        lines.into_iter().map(move |at| format!("{name}:{at}: a test runs or goes"))
    });
    none(off.collect());
}

#[test]
fn nothing_names_a_folder_of_one_machine() {
    let folders =
        [concat!("/wo", "rk/"), concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/Use", "rs/")];
    let kinds = ["rs", "toml", "md", "proto", "yaml", "yml", "json", "sh", "xml", "html", "txt"];
    let mut findings = Vec::new();
    for (name, text) in named(&kinds) {
        for (at, line) in text.lines().enumerate() {
            if let Some(folder) = folders.iter().find(|it| line.contains(*it)) {
                findings.push(format!("{name}:{}: {folder} is a folder of one machine", at + 1));
            }
        }
    }
    none(findings);
}

/// What is asleep on the way from a caller who waits to the INVITE of an agent, and why it may be: it waits for what has failed,
/// or for a time that somebody set. Nothing looks every so often whether there is something to do.
const ASLEEP: &[(&str, usize, &str)] = &[
    ("services/routing/src/effects.rs", 3, "agent-state or media did not answer: asked again"),
    ("services/routing/src/owner.rs", 1, "until the router's next time"),
    ("services/media/src/contact_task.rs", 1, "until the contact's next time"),
    ("services/media/src/legs.rs", 1, "until a phone has been silent for too long"),
    (
        "services/agent-state/src/raft/propose.rs",
        2,
        "a command that may ride with another; a lease that is doubted",
    ),
    ("crates/runtime/src/event_log/embedded/read_only.rs", 2, "another process's log, for tools"),
    ("crates/runtime/src/event_log/kafka/client.rs", 1, "a broker that does not answer yet"),
    ("crates/runtime/src/event_log/kafka/mod.rs", 1, "a broker that failed: asked again"),
    ("crates/runtime/src/event_log/kafka/topics.rs", 1, "topics that are being made"),
];

#[test]
fn nothing_on_the_way_of_an_offer_waits_for_a_tick() {
    let way = [
        "services/routing/src/",
        "services/media/src/arrival.rs",
        "services/media/src/contact_task.rs",
        "services/media/src/effects.rs",
        "services/media/src/legs.rs",
        "services/media/src/rpc.rs",
        "services/agent-state/src/door.rs",
        "services/agent-state/src/outbox/",
        "services/agent-state/src/raft/propose.rs",
        "crates/runtime/src/event_log/",
        "crates/domain/src/",
    ];
    let mut findings = Vec::new();
    let mut seen = BTreeSet::new();
    for (path, text) in
        named(&["rs"]).into_iter().filter(|(path, _)| way.iter().any(|it| path.starts_with(it)))
    {
        let asleep = code(&text).filter(|(_, line)| line.contains("sleep") || line.contains("interval("));
        let count = asleep.filter(|(_, line)| line.contains('(') && !line.contains("fn ")).count();
        let known = ASLEEP.iter().find(|(file, ..)| *file == path).map_or(0, |(_, count, _)| *count);
        seen.insert(path.clone());
        if count != known {
            findings.push(format!(
                "{path}: {count} places sleep, {known} are known: say why in ASLEEP, or wait for an event"
            ));
        }
    }
    findings.extend(
        ASLEEP
            .iter()
            .filter(|(file, ..)| !seen.contains(*file))
            .map(|(file, ..)| format!("{file} is not there")),
    );
    none(findings);
}

#[test]
fn a_name_is_a_noun_of_the_field() {
    let vague = ["Manager", "Helper", "Helpers", "Util", "Utils", "Impl", "Handler2"];
    let files = ["util", "utils", "helper", "helpers", "misc"];
    let mut findings = Vec::new();
    for (name, text) in named(&["rs"]) {
        let stem = Path::new(&name).file_stem().unwrap().to_string_lossy().into_owned();
        if files.contains(&stem.as_str()) {
            findings.push(format!("{name}: name the noun it is about"));
        }
        for (at, line) in code(&text) {
            let words: Vec<&str> = line.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
            for pair in words.windows(2).filter(|it| ["struct", "enum", "trait"].contains(&it[0])) {
                if vague.iter().any(|it| pair[1].ends_with(it)) {
                    findings
                        .push(format!("{name}:{at}: {} says nothing; name the noun it is about", pair[1]));
                }
            }
        }
    }
    none(findings);
}

#[test]
fn these_tests_see_what_they_look_for() {
    assert_eq!(behind("use crate::billing::Ledger;", "crate"), ["billing"]);
    let braces = behind("use crate::{facts::{A, B}, routing::Turn, kernel};", "crate");
    assert_eq!(braces, ["facts", "routing", "kernel"]);
    assert_eq!(behind("let it = crate::media::X::new(crate::facts::Y);", "crate"), ["media", "facts"]);
    assert_eq!(behind("$crate::convert::X and some_crate::y", "crate"), [""; 0]);
    let joined =
        statements("use std::{\n    collections::BTreeMap,\n    fs,\n};\nlet a = 1;\n// use std::net;\n");
    assert_eq!(joined.len(), 2);
    assert_eq!(impure(&joined[0].1), ["std::fs"]);
    assert_eq!(impure("let now = std::time::Instant::now();"), ["std::time::Instant"]);
    assert_eq!(impure("use std::time::{Duration, SystemTime};"), ["std::time::SystemTime"]);
    assert_eq!(impure("use std::fmt;"), [""; 0]);
    let manifest = "[package]\nname = \"x\"\n[dependencies]\na.workspace = true\nb = { path = \"../b\" }\n[lints]\nc = 1\n";
    let names: Vec<String> = dependencies(manifest).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["a", "b"]);
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Every file under `folder`, by name, without what tools made.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let made = ["target", "node_modules", "data"].contains(&name.as_str());
        if path.is_dir() && !made && !name.starts_with('.') {
            found.extend(files(&path));
        } else if path.is_file() {
            found.push(path);
        }
    }
    found
}

/// Name and text of every file with one of these extensions.
fn named(extensions: &[&str]) -> Vec<(String, String)> {
    let root = root();
    let wanted = |path: &Path| path.extension().is_some_and(|it| extensions.iter().any(|ext| it == *ext));
    let read = |path: PathBuf| {
        let name = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
        // A file that goes away while this test reads is nobody's finding.
        let text = fs::read(&path).unwrap_or_default();
        (name, String::from_utf8_lossy(&text).into_owned())
    };
    files(&root).into_iter().filter(|path| wanted(path)).map(read).collect()
}

#[track_caller]
fn none(findings: Vec<String>) {
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}

/// The lines of code: comments are prose and may name what they like.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let numbered = text.lines().enumerate().map(|(at, line)| (at + 1, line));
    numbered.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// The dependencies a manifest names, as name and rest of the line.
fn dependencies(manifest: &str) -> Vec<(String, String)> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in manifest.lines().map(str::trim).filter(|it| !it.is_empty() && !it.starts_with('#')) {
        if let Some(section) = line.strip_prefix('[') {
            inside = section.trim_end_matches(']').ends_with("dependencies");
        } else if inside {
            let end = line.find(['.', '=', ' ']).unwrap_or(line.len());
            found.push((line[..end].to_owned(), line[end..].to_owned()));
        }
    }
    found
}

/// The names that stand behind `prefix::`, also in braces: `crate::{a::B, c}` gives `a` and `c`.
fn behind<'a>(line: &'a str, prefix: &str) -> Vec<&'a str> {
    fn head(text: &str) -> &str {
        text.trim().split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or("")
    }
    let mut found = Vec::new();
    for (at, _) in line.match_indices(prefix) {
        let whole = !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$' || c == ':');
        let Some(rest) = line[at + prefix.len()..].strip_prefix("::").filter(|_| whole) else { continue };
        let Some(list) = rest.strip_prefix('{') else {
            found.push(head(rest));
            continue;
        };
        let (mut depth, mut start) = (0_usize, 0);
        for (end, letter) in list.char_indices() {
            match letter {
                '{' => depth += 1,
                ',' if depth == 0 => {
                    found.push(head(&list[start..end]));
                    start = end + 1;
                }
                '}' if depth == 0 => {
                    found.push(head(&list[start..end]));
                    break;
                }
                '}' => depth -= 1,
                _ => {}
            }
        }
    }
    found.retain(|it| !it.is_empty());
    found
}

/// The lines of code, a `use` over several of them joined so that its braces are seen whole.
fn statements(text: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (at, line) in code(text) {
        match found.last_mut() {
            Some((_, statement)) if open => statement.push_str(line),
            _ => found.push((at, line.to_owned())),
        }
        let statement = found.last().map_or("", |(_, it)| it.trim_start());
        open =
            (statement.starts_with("use ") || statement.starts_with("pub use ")) && !statement.contains(';');
    }
    found
}

/// The paths of [`IMPURE`] that a statement uses.
fn impure(statement: &str) -> Vec<&'static str> {
    let used = |path: &&&str| {
        path.rsplit_once("::").is_some_and(|(parent, last)| behind(statement, parent).contains(&last))
    };
    IMPURE.iter().filter(used).copied().collect()
}
