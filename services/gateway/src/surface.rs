//! What can be called: every RPC with a `google.api.http` annotation, read from the schemas.

use std::collections::BTreeMap;

use http::Method;
use http_path_template::{Grammar, PathTemplate, Segment};
use percent_encoding::percent_decode_str;
use prost_reflect::{
    Cardinality, DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor,
};

/// The paths a company's key may use begin with this, and then its own company.
const COMPANY_SCOPE: &str = "/v1/companies/{company_id}/";

/// Why the schemas cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum SurfaceError {
    /// The descriptor set is not one.
    #[error("could not read the descriptors of the schemas")]
    Descriptor(#[from] prost_reflect::DescriptorError),
    /// An annotation asks for something that is not supported, or contradicts its messages.
    #[error("could not serve {rpc}: {reason}")]
    Annotation {
        /// The RPC's full name.
        rpc: String,
        /// What is wrong.
        reason: String,
    },
}

/// Who answers an RPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Service {
    AgentState,
    Billing,
    Directory,
    Reporting,
    Routing,
}

impl Service {
    fn of_package(package: &str) -> Option<Self> {
        match package {
            "trunkline.agent_state.v1" => Some(Service::AgentState),
            "trunkline.billing.v1" => Some(Service::Billing),
            "trunkline.directory.v1" => Some(Service::Directory),
            "trunkline.reporting.v1" => Some(Service::Reporting),
            "trunkline.routing.v1" => Some(Service::Routing),
            _ => None,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Service::AgentState => "agent-state",
            Service::Billing => "billing",
            Service::Directory => "directory",
            Service::Reporting => "reporting",
            Service::Routing => "routing",
        }
    }
}

/// Which part of the request the HTTP body fills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body {
    None,
    Whole,
    Field(FieldDescriptor),
}

/// One annotated RPC.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) method: Method,
    /// As annotated.
    pub(crate) template: String,
    pub(crate) rpc: MethodDescriptor,
    pub(crate) service: Service,
    pub(crate) body: Body,
    parts: Vec<Part>,
    verb: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    /// The name of a field of the request.
    Field(String),
}

/// The values a path binds: field name and text, in order.
pub(crate) type Bound = Vec<(String, String)>;

/// What a path leads to.
pub(crate) enum Found<'a> {
    Route(&'a Route, Bound),
    /// There is something, under these methods.
    OtherMethods(Vec<&'a Route>, Bound),
    Nothing,
}

/// Every annotated RPC of the schemas.
pub struct Surface {
    pub(crate) routes: Vec<Route>,
    by_rpc: BTreeMap<String, usize>,
}

impl Surface {
    /// Reads the schemas this program was built with.
    ///
    /// # Errors
    /// When an annotation cannot be served; a test sees that this does not happen.
    pub fn of_schemas() -> Result<Self, SurfaceError> {
        let pool = DescriptorPool::decode(trunkline_proto::DESCRIPTOR)?;
        Self::of(&pool)
    }

    pub(crate) fn of(pool: &DescriptorPool) -> Result<Self, SurfaceError> {
        let mut surface = Self { routes: Vec::new(), by_rpc: BTreeMap::new() };
        let Some(http) = pool.get_extension_by_name("google.api.http") else { return Ok(surface) };
        for rpc in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
            let options = rpc.options();
            if !options.has_extension(&http) {
                continue;
            }
            let refuse =
                |reason: String| SurfaceError::Annotation { rpc: rpc.full_name().to_owned(), reason };
            let rule = options.get_extension(&http);
            let rule = rule.as_message().ok_or_else(|| refuse("the annotation is no message".to_owned()))?;
            let route = Route::of(&rpc, rule).map_err(refuse)?;
            let path = format!("/{}/{}", rpc.parent_service().full_name(), rpc.name());
            surface.by_rpc.insert(path, surface.routes.len());
            surface.routes.push(route);
        }
        Ok(surface)
    }

    /// The route of a gRPC path, as `/trunkline.billing.v1.BillingService/GetRunningInvoice`.
    pub(crate) fn rpc(&self, path: &str) -> Option<&Route> {
        self.by_rpc.get(path).and_then(|place| self.routes.get(*place))
    }

    /// What the raw path of a request leads to.
    pub(crate) fn find(&self, method: &Method, path: &str) -> Found<'_> {
        let mut others: Vec<(&Route, Bound)> = Vec::new();
        for route in &self.routes {
            match route.bind(path) {
                Some(bound) if route.method == *method => return Found::Route(route, bound),
                Some(bound) => others.push((route, bound)),
                None => {}
            }
        }
        match others.first().map(|(_, bound)| bound.clone()) {
            Some(bound) => Found::OtherMethods(others.into_iter().map(|(route, _)| route).collect(), bound),
            None => Found::Nothing,
        }
    }

    /// Method and template of every route, sorted.
    pub fn paths(&self) -> Vec<(String, String)> {
        let path = |route: &Route| (route.method.to_string(), route.template.clone());
        let mut paths: Vec<_> = self.routes.iter().map(path).collect();
        paths.sort();
        paths
    }
}

impl Route {
    fn of(rpc: &MethodDescriptor, rule: &DynamicMessage) -> Result<Self, String> {
        let text = |field: &str| {
            rule.get_field_by_name(field)
                .and_then(|value| value.as_str().map(str::to_owned))
                .unwrap_or_default()
        };
        let methods = [
            ("get", Method::GET),
            ("put", Method::PUT),
            ("post", Method::POST),
            ("delete", Method::DELETE),
            ("patch", Method::PATCH),
        ];
        let Some((field, method)) = methods.into_iter().find(|(field, _)| rule.has_field_by_name(field))
        else {
            return Err("the annotation names no method and path".to_owned());
        };
        if rpc.is_client_streaming() {
            return Err("streams of requests have no mapping here".to_owned());
        }
        if rpc.is_server_streaming() && method != Method::GET {
            return Err("a stream of answers is asked for by GET".to_owned());
        }
        for unsupported in ["additional_bindings", "response_body", "custom"] {
            if rule.has_field_by_name(unsupported) {
                return Err(format!("{unsupported} is not supported"));
            }
        }
        let package = rpc.parent_service().package_name().to_owned();
        let service =
            Service::of_package(&package).ok_or_else(|| format!("no service answers package {package}"))?;
        let template = text(field);
        let input = rpc.input();
        let parsed = PathTemplate::parse(&template, Grammar::default())
            .map_err(|error| format!("{template}: {error}"))?;
        let mut parts = Vec::new();
        for segment in parsed.segments() {
            parts.push(match segment {
                Segment::Literal(literal) => Part::Literal((*literal).to_owned()),
                Segment::Variable(variable) if variable.segments().eq([Segment::Single]) => {
                    Part::Field(bindable(&input, variable.field_path())?)
                }
                other => return Err(format!("{template}: {other:?} is not supported")),
            });
        }
        let verb = parsed.verb().map(str::to_owned);
        let body = match text("body").as_str() {
            "" => Body::None,
            "*" => Body::Whole,
            name => Body::Field(
                input.get_field_by_name(name).ok_or_else(|| format!("the request has no field {name}"))?,
            ),
        };
        Ok(Self { method, rpc: rpc.clone(), service, body, parts, verb, template })
    }

    /// Whether it answers with a stream: server-sent events over REST.
    pub(crate) fn streams(&self) -> bool {
        self.rpc.is_server_streaming()
    }

    /// Whether a company's key may use it, for its own company.
    pub(crate) fn company_scoped(&self) -> bool {
        self.template.starts_with(COMPANY_SCOPE)
    }

    /// The fields its path binds.
    pub(crate) fn path_fields(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Field(name) => Some(name.as_str()),
            Part::Literal(_) => None,
        })
    }

    /// The values a raw path binds; `None` when it is another path.
    fn bind(&self, path: &str) -> Option<Bound> {
        let mut raw: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        if let Some(verb) = &self.verb {
            // The verb is behind the last colon of the last segment, before anything is decoded.
            let last = raw.pop()?;
            raw.push(last.strip_suffix(verb.as_str())?.strip_suffix(':')?);
        }
        if raw.len() != self.parts.len() {
            return None;
        }
        let mut bound = Vec::new();
        for (part, segment) in self.parts.iter().zip(raw) {
            let text = percent_decode_str(segment).decode_utf8().ok()?;
            match part {
                Part::Literal(literal) if *literal == text => {}
                // An id never holds a colon: what is behind one would be a verb, and that is another route.
                Part::Field(name) if !text.is_empty() && !segment.contains(':') => {
                    bound.push((name.clone(), text.into_owned()));
                }
                Part::Literal(_) | Part::Field(_) => return None,
            }
        }
        Some(bound)
    }
}

/// The name of a field that a path can bind: a single text at the top of the request.
fn bindable(input: &MessageDescriptor, name: &str) -> Result<String, String> {
    let field = input.get_field_by_name(name).ok_or_else(|| format!("the request has no field {name}"))?;
    if field.kind() != Kind::String || field.cardinality() == Cardinality::Repeated {
        return Err(format!("field {name} is no single text, a path cannot bind it"));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: &Method, path: &str) -> String {
        let surface = Surface::of_schemas().unwrap();
        match surface.find(method, path) {
            Found::Route(route, bound) => format!("{} {bound:?}", route.rpc.name()),
            Found::OtherMethods(routes, _) => format!("use {}", routes[0].method),
            Found::Nothing => "nothing".to_owned(),
        }
    }

    #[test]
    fn a_path_leads_to_the_rpc_that_is_annotated_with_it() {
        let cases = [
            (Method::GET, "/v1/queues", "ListQueues []"),
            (Method::POST, "/v1/queues", "use GET"),
            (Method::GET, "/v1/companies/cmp_a/live", r#"GetLiveBoard [("company_id", "cmp_a")]"#),
            (
                Method::GET,
                "/v1/companies/cmp_a/contacts/ctc_b",
                r#"GetContact [("company_id", "cmp_a"), ("contact_id", "ctc_b")]"#,
            ),
            (Method::GET, "/v1/companies/cmp%5Fa/live", r#"GetLiveBoard [("company_id", "cmp_a")]"#),
            (Method::POST, "/v1/agents/agt_a:signIn", r#"SignIn [("agent_id", "agt_a")]"#),
            (Method::POST, "/v1/directory:plan", "PlanDirectory []"),
            (Method::POST, "/v1/directory%3Aplan", "nothing"),
            (Method::POST, "/v1/agents/agt_a:explode", "nothing"),
            (Method::POST, "/v1/agents/agt_a", "nothing"),
            (Method::GET, "/v1/companies//live", "nothing"),
            (Method::GET, "/v1/companies/%ff/live", "nothing"),
            (Method::GET, "/v1/queues/", "nothing"),
            (Method::GET, "/", "nothing"),
            (Method::GET, "", "nothing"),
        ];
        for (method, path, expected) in cases {
            assert_eq!(found(&method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn what_is_not_annotated_cannot_be_called() {
        let surface = Surface::of_schemas().unwrap();
        assert!(surface.rpc("/trunkline.billing.v1.BillingService/GetRunningInvoice").is_some());
        assert!(surface.rpc("/trunkline.agent_state.v1.AgentStateService/ReserveAgents").is_none());
        assert!(surface.rpc("/trunkline.media.v1.MediaService/OfferContact").is_none());
        assert!(surface.routes.iter().all(|route| !route.rpc.full_name().contains("media")));
    }
}
