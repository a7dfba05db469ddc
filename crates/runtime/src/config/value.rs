//! A value and where it came from.

use std::collections::BTreeMap;
use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::ConfigError;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    Default,
    File { name: String, line: usize },
    Environment(String),
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("the defaults"),
            Origin::File { name, line } => write!(f, "file {name} line {line}"),
            Origin::Environment(name) => write!(f, "environment variable {name}"),
            Origin::Flag => f.write_str("flag --set"),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Table(BTreeMap<String, Node>),
    Array(Vec<Node>),
    String(String),
    /// From the environment or a flag: what it means is for the reader to say.
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

impl Node {
    pub(super) fn empty_table() -> Self {
        Node { value: Value::Table(BTreeMap::new()), origin: Origin::Default }
    }

    /// The one sentence.
    pub(super) fn refuse(&self, path: &str, reason: &str) -> ConfigError {
        let shown = self.shown(path).map_or(String::new(), |value| format!(" = {value}"));
        ConfigError(format!("could not use {path}{shown} from {}: {reason}", self.origin))
    }

    /// The node at a dotted path below this one.
    pub(super) fn find(&self, path: &str) -> Option<&Node> {
        path.split('.').try_fold(self, |node, key| match &node.value {
            Value::Table(table) => table.get(key),
            _ => None,
        })
    }

    /// The first value that is not a table, with its path; the node itself when it is an empty table.
    pub(super) fn first_leaf(&self, path: &str) -> (String, &Node) {
        match &self.value {
            Value::Table(table) => match table.iter().next() {
                Some((key, node)) => node.first_leaf(&format!("{path}.{key}")),
                None => (path.to_owned(), self),
            },
            _ => (path.to_owned(), self),
        }
    }

    pub(super) fn print(&self, path: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Value::Table(table) => {
                table.iter().try_for_each(|(key, node)| node.print(&format!("{path}.{key}"), f))
            }
            _ => writeln!(f, "{path} = {} from {}", self.shown(path).unwrap_or_default(), self.origin),
        }
    }

    /// How the value is printed; `None` for a table.
    fn shown(&self, path: &str) -> Option<String> {
        if matches!(self.value, Value::Table(_)) {
            return None;
        }
        if secret(path) {
            return Some("…".to_owned());
        }
        Some(match &self.value {
            Value::Table(_) => return None,
            Value::Array(nodes) => {
                let shown: Vec<String> = nodes.iter().filter_map(|node| node.shown(path)).collect();
                format!("[{}]", shown.join(", "))
            }
            Value::String(text) | Value::Text(text) => format!("{text:?}"),
            Value::Integer(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            Value::Boolean(value) => value.to_string(),
        })
    }
}

/// Whether the value under this path is never shown.
pub(super) fn secret(path: &str) -> bool {
    let key = path.rsplit('.').next().unwrap_or(path);
    let key = key.split('[').next().unwrap_or(key);
    key == "key" || ["password", "secret", "token", "_key", "ha1"].iter().any(|end| key.ends_with(end))
}

/// Puts `node` over what `key` has: tables are merged, everything else is replaced.
pub(super) fn merge(into: &mut BTreeMap<String, Node>, key: String, node: Node) {
    match (into.get_mut(&key), node) {
        (Some(Node { value: Value::Table(below), .. }), Node { value: Value::Table(above), .. }) => {
            for (key, node) in above {
                merge(below, key, node);
            }
        }
        (_, node) => {
            into.insert(key, node);
        }
    }
}

/// Reads a TOML document with the line of every value.
pub(super) fn parse(name: &str, text: &str) -> Result<BTreeMap<String, Node>, ConfigError> {
    let line_at = |offset: usize| 1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count();
    let root = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_at(span.start));
        let reason = error.message().lines().collect::<Vec<_>>().join(", ");
        ConfigError(format!("could not read file {name} line {line}: {reason}"))
    })?;
    table(root.into_inner(), &|offset| Origin::File { name: name.to_owned(), line: line_at(offset) })
}

fn table(
    table: DeTable<'_>,
    origin: &dyn Fn(usize) -> Origin,
) -> Result<BTreeMap<String, Node>, ConfigError> {
    table
        .into_iter()
        .map(|(key, value)| {
            let key = key.into_inner().into_owned();
            let node = node(&key, value, origin)?;
            Ok((key, node))
        })
        .collect()
}

fn node(
    key: &str,
    value: Spanned<DeValue<'_>>,
    origin: &dyn Fn(usize) -> Origin,
) -> Result<Node, ConfigError> {
    let at = origin(value.span().start);
    let refuse =
        |text: &str, reason: &str| ConfigError(format!("could not use {key} = {text} from {at}: {reason}"));
    let value = match value.into_inner() {
        DeValue::String(text) => Value::String(text.into_owned()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::Integer(number),
            Err(_) => return Err(refuse(&number.to_string(), "the number is too large")),
        },
        DeValue::Float(number) => match number.as_str().parse() {
            Ok(number) => Value::Float(number),
            Err(_) => return Err(refuse(&number.to_string(), "it is not a number")),
        },
        DeValue::Boolean(value) => Value::Boolean(value),
        DeValue::Datetime(time) => Value::String(time.to_string()),
        DeValue::Array(values) => {
            Value::Array(values.into_iter().map(|value| node(key, value, origin)).collect::<Result<_, _>>()?)
        }
        DeValue::Table(values) => Value::Table(table(values, origin)?),
    };
    Ok(Node { value, origin: at })
}
