//! The OpenAPI 3.1 document of the surface, from the same descriptors as the routes.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use crate::surface::{Body, Route, Surface};

/// The document. Paths, parameters and schemas are those of the annotations, descriptions those of the schemas' comments.
pub(crate) fn document(surface: &Surface) -> Value {
    let mut writer =
        Writer { comments: comments(surface), wanted: BTreeSet::new(), schemas: BTreeMap::new() };
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for route in &surface.routes {
        let operation = writer.operation(route);
        let path = paths.entry(route.template.clone()).or_default();
        path.insert(route.method.as_str().to_ascii_lowercase(), operation);
    }
    writer.schemas.insert("Problem".to_owned(), problem());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Trunkline",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "A contact centre's calls, reports and invoices. Times are Unix milliseconds. \
                            64-bit numbers are strings, as in the proto3 JSON mapping. \
                            A key of one company sees /v1/companies/{its id}/… only; all else is 404 for it.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "key": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "key": { "type": "http", "scheme": "bearer", "description": "An API key." } },
            "schemas": writer.schemas,
        },
    })
}

fn problem() -> Value {
    json!({
        "type": "object",
        "description": "What went wrong (RFC 9457).",
        "required": ["type", "title", "status", "detail", "reason"],
        "properties": {
            "type": { "type": "string", "format": "uri-reference" },
            "title": { "type": "string" },
            "status": { "type": "integer", "minimum": 400, "maximum": 599 },
            "detail": { "type": "string", "description": "One sentence for a person." },
            "reason": { "type": "string", "description": "For machines, as `OFFER_EXPIRED`; never changes." },
        },
    })
}

/// The leading comments of every file that has a route.
fn comments(surface: &Surface) -> BTreeMap<String, BTreeMap<Vec<i32>, String>> {
    let mut files = BTreeMap::new();
    for file in surface.routes.iter().map(|route| route.rpc.parent_file()) {
        files.entry(file.name().to_owned()).or_insert_with(|| {
            let places = file.file_descriptor_proto().source_code_info.clone().unwrap_or_default().location;
            let comment = |text: String| {
                let lines: Vec<&str> = text.lines().map(str::trim).collect();
                lines.join("\n").trim().to_owned()
            };
            places
                .into_iter()
                .filter_map(|place| Some((place.path, comment(place.leading_comments?))))
                .collect::<BTreeMap<Vec<i32>, String>>()
        });
    }
    files
}

struct Writer {
    /// By file name: leading comments by path in the file's descriptor.
    comments: BTreeMap<String, BTreeMap<Vec<i32>, String>>,
    /// Schemas begun, so that a message that holds itself ends.
    wanted: BTreeSet<String>,
    schemas: BTreeMap<String, Value>,
}

impl Writer {
    fn operation(&mut self, route: &Route) -> Value {
        let rpc = &route.rpc;
        let input = rpc.input();
        let in_path: Vec<&str> = route.path_fields().collect();
        let mut parameters = Vec::new();
        for field in input.fields().filter(|field| in_path.contains(&field.name())) {
            parameters.push(json!({
                "name": field.name(),
                "in": "path",
                "required": true,
                "description": self.field_comment(&field),
                "schema": self.value(&field),
            }));
        }
        let body_field = match &route.body {
            Body::Field(field) => Some(field.name()),
            Body::None | Body::Whole => None,
        };
        if route.body != Body::Whole {
            let in_query = |field: &FieldDescriptor| {
                !in_path.contains(&field.name())
                    && body_field != Some(field.name())
                    && !matches!(field.kind(), Kind::Message(_))
            };
            for field in input.fields().filter(in_query) {
                parameters.push(json!({
                    "name": field.json_name(),
                    "in": "query",
                    "required": false,
                    "description": self.field_comment(&field),
                    "schema": self.field(&field),
                }));
            }
        }
        let summary = self.comment(rpc.parent_file().name(), rpc.path());
        let problem = json!({
            "description": "What went wrong.",
            "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
        });
        let kind = if route.streams() { "text/event-stream" } else { "application/json" };
        let mut operation = json!({
            "operationId": rpc.name(),
            "tags": [route.service.name()],
            "summary": summary.lines().next().unwrap_or_default(),
            "description": summary,
            "parameters": parameters,
            "responses": {
                "200": {
                    "description": self.comment(rpc.output().parent_file().name(), rpc.output().path()),
                    "content": { kind: { "schema": self.reference(&rpc.output()) } },
                },
                "default": problem,
            },
            "x-trunkline-rpc": rpc.full_name(),
            "x-trunkline-keys": if route.company_scoped() { "company, operator" } else { "operator" },
        });
        let body = match &route.body {
            Body::None => None,
            Body::Whole => Some(self.reference(&input)),
            Body::Field(field) => Some(self.field(field)),
        };
        if let (Some(schema), Some(operation)) = (body, operation.as_object_mut()) {
            let body = json!({ "required": false, "content": { "application/json": { "schema": schema } } });
            operation.insert("requestBody".to_owned(), body);
        }
        operation
    }

    fn reference(&mut self, message: &MessageDescriptor) -> Value {
        let name = message.full_name().to_owned();
        if self.wanted.insert(name.clone()) {
            let mut properties = Map::new();
            for field in message.fields() {
                let mut schema = self.field(&field);
                let comment = self.field_comment(&field);
                if let (Some(schema), false) = (schema.as_object_mut(), comment.is_empty()) {
                    schema.insert("description".to_owned(), Value::String(comment));
                }
                properties.insert(field.json_name().to_owned(), schema);
            }
            let description = self.comment(message.parent_file().name(), message.path());
            let schema = json!({
                "type": "object",
                "description": description,
                "additionalProperties": false,
                "properties": properties,
            });
            self.schemas.insert(name.clone(), schema);
        }
        json!({ "$ref": format!("#/components/schemas/{name}") })
    }

    fn field(&mut self, field: &FieldDescriptor) -> Value {
        if field.is_map() {
            return json!({ "type": "object" });
        }
        let value = self.value(field);
        if field.is_list() { json!({ "type": "array", "items": value }) } else { value }
    }

    /// The JSON of one value of a field, as the proto3 JSON mapping has it.
    fn value(&mut self, field: &FieldDescriptor) -> Value {
        match field.kind() {
            Kind::String => json!({ "type": "string" }),
            Kind::Bytes => json!({ "type": "string", "contentEncoding": "base64" }),
            Kind::Bool => json!({ "type": "boolean" }),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => json!({ "type": "integer", "format": "int32" }),
            Kind::Uint32 | Kind::Fixed32 => json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
                json!({ "type": "string", "format": "int64", "pattern": "^-?[0-9]+$" })
            }
            Kind::Uint64 | Kind::Fixed64 => {
                json!({ "type": "string", "format": "uint64", "pattern": "^[0-9]+$" })
            }
            Kind::Float | Kind::Double => json!({ "type": "number" }),
            Kind::Enum(names) => json!({ "type": "string", "enum": words(&names) }),
            Kind::Message(message) => self.reference(&message),
        }
    }

    fn field_comment(&self, field: &FieldDescriptor) -> String {
        let file = field.parent_message().parent_file();
        self.comment(file.name(), field.path())
    }

    /// The comment in front of what stands at `path` of a file; empty when there is none.
    fn comment(&self, file: &str, path: &[i32]) -> String {
        self.comments.get(file).and_then(|comments| comments.get(path)).cloned().unwrap_or_default()
    }
}

fn words(names: &EnumDescriptor) -> Vec<String> {
    names.values().map(|value| value.name().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_has_exactly_the_annotated_paths() {
        let surface = Surface::of_schemas().unwrap();
        let document = document(&surface);
        let mut paths = Vec::new();
        for (template, operations) in document["paths"].as_object().unwrap() {
            for method in operations.as_object().unwrap().keys() {
                paths.push((method.to_ascii_uppercase(), template.clone()));
            }
        }
        paths.sort();
        assert_eq!(paths, surface.paths());
        // Counted in the schemas' text, by nobody's parser.
        let schemas = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto/trunkline");
        assert_eq!(paths.len(), annotations(&schemas));
    }

    fn annotations(dir: &std::path::Path) -> usize {
        let count = |path: std::path::PathBuf| match path.is_dir() {
            true => annotations(&path),
            false => std::fs::read_to_string(path).unwrap().matches("option (google.api.http)").count(),
        };
        std::fs::read_dir(dir).unwrap().map(|entry| count(entry.unwrap().path())).sum()
    }

    #[test]
    fn every_reference_leads_somewhere_and_everything_is_described() {
        let document = document(&Surface::of_schemas().unwrap());
        let text = document.to_string();
        for name in text.split("#/components/schemas/").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(document["components"]["schemas"][name].is_object(), "{name}");
        }
        for (template, operations) in document["paths"].as_object().unwrap() {
            for operation in operations.as_object().unwrap().values() {
                assert!(!operation["summary"].as_str().unwrap().is_empty(), "{template}");
                let in_path =
                    operation["parameters"].as_array().unwrap().iter().filter(|it| it["in"] == "path");
                assert_eq!(in_path.count(), template.matches('{').count(), "{template}");
            }
        }
    }

    #[test]
    fn sixty_four_bit_numbers_are_strings() {
        let document = document(&Surface::of_schemas().unwrap());
        let schemas = &document["components"]["schemas"];
        let since =
            &schemas["trunkline.reporting.v1.GetLiveBoardResponse"]["properties"]["longestWaitingSinceMs"];
        assert_eq!((&since["type"], &since["format"]), (&json!("string"), &json!("int64")));
    }
}
