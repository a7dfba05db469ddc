//! From path, query and JSON body to a request, and from a response to JSON, as the proto3 JSON mapping has it.

use prost_reflect::{
    DeserializeOptions, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, SerializeOptions,
};
use serde_json::{Map, Value};

use crate::problem::Problem;
use crate::surface::{Body, Bound, Route};

/// How deep a dotted query parameter may go.
const QUERY_DEPTH_MAX: usize = 8;

/// Makes the request of a route. What the path binds cannot be said again elsewhere; what nobody knows is refused.
pub(crate) fn request(
    route: &Route,
    bound: &Bound,
    query: &str,
    body: &[u8],
) -> Result<DynamicMessage, Problem> {
    let input = route.rpc.input();
    let mut object = match &route.body {
        Body::None => Map::new(),
        Body::Whole => whole_body(&input, body)?,
        Body::Field(field) => {
            let value = if body.is_empty() { Value::Null } else { parse(body)? };
            Map::from_iter([(field.json_name().to_owned(), value)])
        }
    };
    if route.body != Body::Whole {
        for (name, text) in form_urlencoded::parse(query.as_bytes()) {
            if route.path_fields().any(|field| is(&input, field, &name)) {
                return Err(Problem::invalid("INVALID_QUERY", format!("{name} is said by the path")));
            }
            put(&mut object, &input, &name, &text, QUERY_DEPTH_MAX)?;
        }
    } else if let Some((name, _)) = form_urlencoded::parse(query.as_bytes()).next() {
        return Err(Problem::invalid(
            "INVALID_QUERY",
            format!("no parameter {name}: the body says everything"),
        ));
    }
    for (name, text) in bound {
        let json_name =
            input.get_field_by_name(name).map_or(name.clone(), |field| field.json_name().to_owned());
        for said in [name.as_str(), json_name.as_str()] {
            match object.remove(said) {
                None | Some(Value::Null) => {}
                Some(Value::String(again)) if again == *text || again.is_empty() => {}
                Some(_) => {
                    let detail = format!("{said} is said by the path, otherwise");
                    return Err(Problem::invalid("INVALID_BODY", detail));
                }
            }
        }
        object.insert(json_name, Value::String(text.clone()));
    }
    message(&input, &object)
        .map_err(|error| Problem::invalid("INVALID_ARGUMENT", blame(&input, &object, &error)))
}

fn message(input: &MessageDescriptor, object: &Map<String, Value>) -> Result<DynamicMessage, String> {
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    DynamicMessage::deserialize_with_options(input.clone(), object, &options)
        .map_err(|error| error.to_string())
}

/// The error with the field it is about: the first that is refused alone.
fn blame(input: &MessageDescriptor, object: &Map<String, Value>, error: &str) -> String {
    let alone = |(name, value): (&String, &Value)| {
        let error = message(input, &Map::from_iter([(name.clone(), value.clone())])).err()?;
        Some(if error.contains(name.as_str()) { error } else { format!("{name}: {error}") })
    };
    object.iter().find_map(alone).unwrap_or_else(|| error.to_owned())
}

/// A response as JSON: camel case, 64-bit numbers as strings, every field present.
pub(crate) fn json(message: &DynamicMessage) -> Result<String, serde_json::Error> {
    let options = SerializeOptions::new().skip_default_fields(false);
    let mut text = Vec::new();
    message.serialize_with_options(&mut serde_json::Serializer::new(&mut text), &options)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn parse(body: &[u8]) -> Result<Value, Problem> {
    serde_json::from_slice(body).map_err(|error| Problem::invalid("INVALID_JSON", error.to_string()))
}

fn whole_body(input: &MessageDescriptor, body: &[u8]) -> Result<Map<String, Value>, Problem> {
    if body.is_empty() {
        return Ok(Map::new());
    }
    match parse(body)? {
        Value::Object(object) => Ok(object),
        _ => Err(Problem::invalid("INVALID_JSON", format!("expected an object, a {}", input.name()))),
    }
}

/// Whether a parameter's name means this field.
fn is(input: &MessageDescriptor, field: &str, name: &str) -> bool {
    name == field || input.get_field_by_name(field).is_some_and(|field| field.json_name() == name)
}

/// Puts one query parameter, whose name may be dotted, into the object.
fn put(
    object: &mut Map<String, Value>,
    message: &MessageDescriptor,
    name: &str,
    text: &str,
    depth: usize,
) -> Result<(), Problem> {
    let unknown = || Problem::invalid("INVALID_QUERY", format!("no parameter {name}"));
    let (first, rest) = name.split_once('.').map_or((name, None), |(first, rest)| (first, Some(rest)));
    let by_json = |name: &str| message.fields().find(|field| field.json_name() == name);
    let field = message.get_field_by_name(first).or_else(|| by_json(first)).ok_or_else(unknown)?;
    let key = field.json_name().to_owned();
    match (rest, field.kind()) {
        (Some(rest), Kind::Message(inner)) if depth > 0 && !field.is_list() && !field.is_map() => {
            let below = object.entry(key).or_insert_with(|| Value::Object(Map::new()));
            let Value::Object(below) = below else { return Err(unknown()) };
            put(below, &inner, rest, text, depth - 1)
        }
        (None, kind) if !matches!(kind, Kind::Message(_)) => {
            let value = scalar(&field, text);
            if field.is_list() {
                let list = object.entry(key).or_insert_with(|| Value::Array(Vec::new()));
                let Value::Array(list) = list else { return Err(unknown()) };
                list.push(value);
                return Ok(());
            }
            match object.insert(key, value) {
                None => Ok(()),
                Some(_) => Err(Problem::invalid("INVALID_QUERY", format!("{name} is said twice"))),
            }
        }
        _ => Err(unknown()),
    }
}

/// The JSON of a parameter's text. Numbers may be strings in proto3 JSON; truth values and enum numbers may not.
fn scalar(field: &FieldDescriptor, text: &str) -> Value {
    match (field.kind(), text) {
        (Kind::Bool, "true") => Value::Bool(true),
        (Kind::Bool, "false") => Value::Bool(false),
        (Kind::Enum(_), text) => match text.parse::<i32>() {
            Ok(number) => Value::from(number),
            Err(_) => Value::String(text.to_owned()),
        },
        _ => Value::String(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use http::Method;

    use super::*;
    use crate::surface::{Found, Surface};

    #[track_caller]
    fn check(method: Method, target: &str, body: &str, expected: Expect) {
        let surface = Surface::of_schemas().unwrap();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let Found::Route(route, bound) = surface.find(&method, path) else { panic!("no route") };
        let outcome = match request(route, &bound, query, body.as_bytes()) {
            Ok(message) => {
                let mut text = Vec::new();
                message.serialize(&mut serde_json::Serializer::new(&mut text)).unwrap();
                String::from_utf8(text).unwrap()
            }
            Err(problem) => format!("{} {}: {}", problem.status.as_u16(), problem.reason, problem.detail),
        };
        expected.assert_eq(&outcome);
    }

    use serde::Serialize;

    #[test]
    fn path_and_query_fill_the_request() {
        check(
            Method::GET,
            "/v1/companies/cmp_a/intervals?from_ms=1&toMs=9007199254740993",
            "",
            expect![[r#"{"companyId":"cmp_a","fromMs":"1","toMs":"9007199254740993"}"#]],
        );
        check(
            Method::GET,
            "/v1/companies/cmp_a/items?month=2026-11&line_id=a%20b+c",
            "",
            expect![[r#"{"companyId":"cmp_a","month":"2026-11","lineId":"a b c"}"#]],
        );
        check(Method::GET, "/v1/queues", "ignored", expect!["{}"]);
    }

    #[test]
    fn a_wrong_query_is_refused() {
        let path = "/v1/companies/cmp_a/intervals";
        let refused = |query: &str, expected| check(Method::GET, &format!("{path}?{query}"), "", expected);
        refused("nothing=1", expect!["400 INVALID_QUERY: no parameter nothing"]);
        refused("from_ms=1&from_ms=2", expect!["400 INVALID_QUERY: from_ms is said twice"]);
        refused("from_ms=1&fromMs=2", expect!["400 INVALID_QUERY: fromMs is said twice"]);
        refused("from_ms.x=1", expect!["400 INVALID_QUERY: no parameter from_ms.x"]);
        refused("company_id=cmp_b", expect!["400 INVALID_QUERY: company_id is said by the path"]);
        refused("companyId=cmp_b", expect!["400 INVALID_QUERY: companyId is said by the path"]);
        refused("from_ms=soon", expect!["400 INVALID_ARGUMENT: fromMs: invalid digit found in string"]);
    }

    #[test]
    fn the_body_fills_what_the_path_does_not() {
        let post = |body: &str, expected| check(Method::POST, "/v1/agents/agt_a:goNotReady", body, expected);
        post(
            r#"{"reason":"lunch","durationMs":"60000"}"#,
            expect![[r#"{"agentId":"agt_a","reason":"lunch","durationMs":"60000"}"#]],
        );
        post(
            r#"{"reason":"lunch","duration_ms":60000,"agent_id":"agt_a"}"#,
            expect![[r#"{"agentId":"agt_a","reason":"lunch","durationMs":"60000"}"#]],
        );
        post("", expect![[r#"{"agentId":"agt_a"}"#]]);
        post(r#"{"agentId":"agt_b"}"#, expect!["400 INVALID_BODY: agentId is said by the path, otherwise"]);
        post(r#"{"agentId":["agt_b"]}"#, expect!["400 INVALID_BODY: agentId is said by the path, otherwise"]);
        post(r#"{"reason":"#, expect!["400 INVALID_JSON: EOF while parsing a value at line 1 column 10"]);
        post("[]", expect!["400 INVALID_JSON: expected an object, a GoNotReadyRequest"]);
        post(r#"{"reasons":"x"}"#, expect!["400 INVALID_ARGUMENT: unrecognized field name 'reasons'"]);
        post(
            r#"{"reason":5}"#,
            expect!["400 INVALID_ARGUMENT: reason: invalid type: integer `5`, expected a string"],
        );
        post(
            r#"{"durationMs":"9223372036854775808"}"#,
            expect!["400 INVALID_ARGUMENT: durationMs: number too large to fit in target type"],
        );
    }

    #[test]
    fn every_field_of_a_response_is_there_and_64_bit_numbers_are_strings() {
        let surface = Surface::of_schemas().unwrap();
        let route = surface.rpc("/trunkline.reporting.v1.ReportingService/GetLiveBoard").unwrap();
        let mut message = DynamicMessage::new(route.rpc.output());
        message
            .set_field_by_name("longest_waiting_since_ms", prost_reflect::Value::I64(9_007_199_254_740_993));
        message.set_field_by_name("waiting_count", prost_reflect::Value::U32(2));
        expect![[r#"{"liveContactCount":0,"waitingCount":2,"talkingCount":0,"longestWaitingSinceMs":"9007199254740993","readyAgentCount":0,"signedInAgentCount":0}"#]]
            .assert_eq(&json(&message).unwrap());
    }
}
