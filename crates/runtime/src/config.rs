//! Configuration: defaults, then file, then environment, then flags; complete and checked before any socket opens.
//!
//! Every value keeps where it came from, so that a refusal is one sentence that names the key, the value and its origin:
//! `could not use media.sip_port = "abc" from environment variable TRUNKLINE_MEDIA__SIP_PORT: expected …`.
//!
//! A section is a struct with `#[serde(default, deny_unknown_fields)]`; its `Default` is the first source. Values from
//! the environment and from flags are text and are read as what the struct wants; a list is separated by commas.

mod reader;
mod value;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use reader::Reader;
use value::{Node, Origin, Value};

/// What every environment variable of ours begins with.
const PREFIX: &str = "TRUNKLINE_";

/// Why the configuration is refused, as one sentence. The caller exits with code 64.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

/// A text that is never shown: its `Debug` and `Display` are `…`.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text itself, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// Whether a value is within its bounds, as a section's check says it.
///
/// # Errors
/// `key: expected MIN to MAX`.
pub fn within<T: PartialOrd + fmt::Display>(
    key: &str,
    value: T,
    bounds: std::ops::RangeInclusive<T>,
) -> Result<(), String> {
    if bounds.contains(&value) {
        return Ok(());
    }
    Err(format!("{key}: expected {} to {}", bounds.start(), bounds.end()))
}

/// All sources merged, later over earlier, value by value. Printed, it is one line a value that is not a default,
/// secrets hidden.
#[derive(Default)]
pub struct Settings {
    sections: BTreeMap<String, Node>,
    /// The sections asked for, by name.
    known: Vec<&'static str>,
}

impl Settings {
    /// Defaults only.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a TOML file over what is there.
    ///
    /// # Errors
    /// When the file cannot be read or is not TOML.
    pub fn file(self, path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError(format!("could not read file {}: {error}", path.display())))?;
        self.file_text(&path.display().to_string(), &text)
    }

    /// Adds a TOML document called `name` over what is there.
    ///
    /// # Errors
    /// When it is not TOML, or has values outside sections.
    pub fn file_text(mut self, name: &str, text: &str) -> Result<Self, ConfigError> {
        for (section, node) in value::parse(name, text)? {
            if !matches!(node.value, Value::Table(_)) {
                return Err(node.refuse(&section, "it stands outside a section"));
            }
            value::merge(&mut self.sections, section, node);
        }
        Ok(self)
    }

    /// Adds the variables `TRUNKLINE_<SECTION>__<KEY>` over what is there, as [`std::env::vars_os`] gives them; further
    /// `__` go deeper. Others are not ours.
    ///
    /// # Errors
    /// When a name is not of that form or a value is not UTF-8.
    pub fn environment<T: Into<OsString>>(
        mut self,
        variables: impl IntoIterator<Item = (T, T)>,
    ) -> Result<Self, ConfigError> {
        let named = variables.into_iter().filter_map(|(name, text)| {
            // A name that is not UTF-8 is not one of ours.
            let name = name.into().into_string().ok()?;
            (name.starts_with(PREFIX) && name.contains("__")).then(|| (name, text.into()))
        });
        let ours: BTreeMap<String, OsString> = named.collect();
        for (name, text) in ours {
            let text = text.into_string().map_err(|_| {
                ConfigError(format!("could not use environment variable {name}: its value is not UTF-8"))
            })?;
            let path: Vec<String> = name[PREFIX.len()..].split("__").map(str::to_ascii_lowercase).collect();
            if path.iter().any(String::is_empty) {
                return Err(ConfigError(format!(
                    "could not use environment variable {name}: expected {PREFIX}<SECTION>__<KEY>"
                )));
            }
            self.set(&path, text, Origin::Environment(name));
        }
        Ok(self)
    }

    /// Adds flags of the form `section.key=value` over what is there.
    ///
    /// # Errors
    /// When a flag is not of that form.
    pub fn flags<'a>(mut self, flags: impl IntoIterator<Item = &'a str>) -> Result<Self, ConfigError> {
        for flag in flags {
            let (path, text) = flag.split_once('=').unwrap_or((flag, ""));
            let path: Vec<String> = path.trim().split('.').map(str::to_owned).collect();
            if path.len() < 2 || path.iter().any(String::is_empty) || !flag.contains('=') {
                return Err(ConfigError(format!(
                    "could not use flag --set {flag}: expected section.key=value"
                )));
            }
            self.set(&path, text.to_owned(), Origin::Flag);
        }
        Ok(self)
    }

    /// Reads one section whole and checks it. `check` begins its message with the key it is about and a colon.
    ///
    /// # Errors
    /// The first value that is unknown, of the wrong type or refused by `check`.
    pub fn section<T: DeserializeOwned>(
        &mut self,
        name: &'static str,
        check: impl FnOnce(&T) -> Result<(), String>,
    ) -> Result<T, ConfigError> {
        self.known.push(name);
        let empty = Node::empty_table();
        let node = self.sections.get(name).unwrap_or(&empty);
        let section =
            T::deserialize(Reader::new(node, name)).map_err(|error| error.into_config_error(name))?;
        check(&section).map_err(|message| {
            let (key, reason) = message.split_once(": ").unwrap_or(("", &message));
            match node.find(key) {
                Some(found) => found.refuse(&format!("{name}.{key}"), reason),
                None if !key.is_empty() && !key.contains(' ') => {
                    ConfigError(format!("could not use the default of {name}.{key}: {reason}"))
                }
                None => ConfigError(format!("could not use section {name}: {message}")),
            }
        })?;
        Ok(section)
    }

    /// To be called when every section has been read.
    ///
    /// # Errors
    /// A value in a section that nobody reads.
    pub fn finish(&self) -> Result<(), ConfigError> {
        match self.sections.iter().find(|(name, _)| !self.known.contains(&name.as_str())) {
            None => Ok(()),
            Some((name, node)) => {
                let mut known = self.known.clone();
                known.sort_unstable();
                let (path, node) = node.first_leaf(name);
                let known = known.join(", ");
                Err(node.refuse(&path, &format!("no such section, expected one of {known}")))
            }
        }
    }

    fn set(&mut self, path: &[String], text: String, origin: Origin) {
        let mut node = Node { value: Value::Text(text), origin };
        for key in path.iter().skip(1).rev() {
            let origin = node.origin.clone();
            node = Node { value: Value::Table(BTreeMap::from([(key.clone(), node)])), origin };
        }
        if let Some(section) = path.first() {
            value::merge(&mut self.sections, section.clone(), node);
        }
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.sections.iter().try_for_each(|(name, node)| node.print(name, f))
    }
}
