//! Reads a struct from values, and puts every refusal where its value is.

use std::fmt;

use serde::de::value::StringDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, Expected, IntoDeserializer, MapAccess, SeqAccess, Unexpected,
    Visitor,
};
use serde::forward_to_deserialize_any;

use super::ConfigError;
use super::value::{Node, Value, secret};

/// A refusal on its way up: without a place until it passes the value it is about.
#[derive(Debug)]
pub(super) enum Refusal {
    Unplaced { reason: String, shows_value: bool },
    Placed(ConfigError),
}

impl Refusal {
    pub(super) fn into_config_error(self, section: &str) -> ConfigError {
        match self {
            Refusal::Placed(error) => error,
            Refusal::Unplaced { reason, .. } => {
                ConfigError(format!("could not use section {section}: {reason}"))
            }
        }
    }

    fn plain(reason: impl Into<String>) -> Self {
        Refusal::Unplaced { reason: reason.into(), shows_value: false }
    }

    fn at(self, path: &str, node: &Node) -> Self {
        match self {
            Refusal::Placed(_) => self,
            Refusal::Unplaced { shows_value: true, .. } if secret(path) => {
                Refusal::Placed(node.refuse(path, "it is not of the expected form"))
            }
            Refusal::Unplaced { reason, .. } => Refusal::Placed(node.refuse(path, &reason)),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Unplaced { reason, .. } => f.write_str(reason),
            Refusal::Placed(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Refusal {}

/// The refusals never repeat the value: the sentence around them shows it, or hides it.
impl de::Error for Refusal {
    fn custom<T: fmt::Display>(reason: T) -> Self {
        Refusal::Unplaced { reason: reason.to_string(), shows_value: true }
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Refusal::plain(wants(expected))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Refusal::plain(wants(expected))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Refusal::plain(format!("expected one of {}", expected.join(", ")))
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        Refusal::plain(format!("no such setting, expected one of {}", expected.join(", ")))
    }
}

fn wants(expected: &dyn Expected) -> String {
    let text = expected.to_string();
    match text.as_str() {
        "u8" => "expected a whole number from 0 to 255".to_owned(),
        "u16" => "expected a whole number from 0 to 65535".to_owned(),
        "u32" => "expected a whole number from 0 to 4294967295".to_owned(),
        "u64" | "usize" => "expected a whole number, not negative".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "expected a whole number".to_owned(),
        "f32" | "f64" => "expected a number".to_owned(),
        "a boolean" => "expected true or false".to_owned(),
        _ if text.starts_with("struct ") => "expected a table of settings".to_owned(),
        _ => format!("expected {text}"),
    }
}

/// A value with its path, as a source for serde.
pub(super) struct Reader<'a> {
    node: &'a Node,
    path: String,
}

impl<'a> Reader<'a> {
    pub(super) fn new(node: &'a Node, path: impl Into<String>) -> Self {
        Self { node, path: path.into() }
    }

    fn any<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match &self.node.value {
            Value::Table(table) => {
                visitor.visit_map(Entries { left: table.iter(), value: None, path: &self.path })
            }
            Value::Array(nodes) => {
                visitor.visit_seq(Items { left: nodes.iter().enumerate(), path: &self.path })
            }
            Value::String(text) | Value::Text(text) => visitor.visit_str(text),
            Value::Integer(number) => visitor.visit_i64(*number),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Boolean(value) => visitor.visit_bool(*value),
        }
    }

    /// Gives the refusal of `read` its place.
    fn placed<T>(self, read: impl FnOnce(Self) -> Result<T, Refusal>) -> Result<T, Refusal> {
        let (node, path) = (self.node, self.path.clone());
        read(self).map_err(|refusal| refusal.at(&path, node))
    }
}

/// Text from the environment or a flag is read as the number or truth value that is wanted.
macro_rules! scalars {
    ($($method:ident $visit:ident $kind:ty;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
            self.placed(|reader| match &reader.node.value {
                Value::Text(text) => match text.trim().parse::<$kind>() {
                    Ok(value) => visitor.$visit(value),
                    Err(_) => Err(Refusal::plain(wants(&visitor))),
                },
                _ => reader.any(visitor),
            })
        }
    )*};
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Refusal;

    scalars! {
        deserialize_bool visit_bool bool;
        deserialize_u8 visit_u64 u64;
        deserialize_u16 visit_u64 u64;
        deserialize_u32 visit_u64 u64;
        deserialize_u64 visit_u64 u64;
        deserialize_i8 visit_i64 i64;
        deserialize_i16 visit_i64 i64;
        deserialize_i32 visit_i64 i64;
        deserialize_i64 visit_i64 i64;
        deserialize_f32 visit_f64 f64;
        deserialize_f64 visit_f64 f64;
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.placed(|reader| reader.any(visitor))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match &self.node.value {
            Value::Text(text) if text.is_empty() => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        let (node, path) = (self.node, self.path.clone());
        visitor.visit_newtype_struct(self).map_err(|refusal| refusal.at(&path, node))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.placed(|reader| match &reader.node.value {
            Value::Text(text) => {
                let origin = reader.node.origin.clone();
                let split = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                let nodes =
                    split.map(|part| Node { value: Value::Text(part.to_owned()), origin: origin.clone() });
                let nodes: Vec<Node> = nodes.collect();
                visitor.visit_seq(Items { left: nodes.iter().enumerate(), path: &reader.path })
            }
            _ => reader.any(visitor),
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.placed(|reader| match &reader.node.value {
            Value::String(text) | Value::Text(text) => {
                let text: StringDeserializer<Refusal> = text.clone().into_deserializer();
                visitor.visit_enum(text)
            }
            _ => Err(Refusal::plain("expected a word")),
        })
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct tuple tuple_struct map struct identifier
    }
}

/// The entries of a table.
struct Entries<'a> {
    left: std::collections::btree_map::Iter<'a, String, Node>,
    /// The value whose key was given out.
    value: Option<(&'a String, &'a Node)>,
    path: &'a str,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Refusal;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Refusal> {
        let Some((key, node)) = self.left.next() else { return Ok(None) };
        self.value = Some((key, node));
        let name: StringDeserializer<Refusal> = key.clone().into_deserializer();
        // An unknown key is refused here, and the sentence is about it, not about the section.
        seed.deserialize(name).map(Some).map_err(|refusal| refusal.at(&format!("{}.{key}", self.path), node))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Refusal> {
        let Some((key, node)) = self.value.take() else {
            return Err(Refusal::plain("a value was asked for before its key"));
        };
        let path = format!("{}.{key}", self.path);
        seed.deserialize(Reader::new(node, path.clone())).map_err(|refusal| refusal.at(&path, node))
    }
}

/// The items of a list.
struct Items<'a> {
    left: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
    path: &'a str,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Refusal;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Refusal> {
        let Some((place, node)) = self.left.next() else { return Ok(None) };
        let path = format!("{}[{place}]", self.path);
        seed.deserialize(Reader::new(node, path.clone())).map(Some).map_err(|refusal| refusal.at(&path, node))
    }
}
