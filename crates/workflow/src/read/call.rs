//! Calls: requests, and questions to agents.

use super::Reader;
use super::node::Node;
use crate::model::{AgentCall, Endpoint, HttpCall, HttpOutput, TaskKind};
use crate::template::Template;

/// The methods a request may have.
const METHODS: [&str; 7] = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"];

/// What else the language can call.
const REFUSED: [&str; 5] = ["asyncapi", "grpc", "openapi", "a2a", "mcp"];

impl Reader {
    pub(super) fn call(&mut self, node: &Node<'_>) -> Option<TaskKind> {
        let function = self.text(node, "call", true)?;
        if !["http", "agent"].contains(&function) {
            let words = if REFUSED.contains(&function) {
                format!("`call: {function}` is not supported; there are `http` and `agent`")
            } else {
                format!("there is no function `{function}`; there are `http` and `agent`")
            };
            self.wrong(node.below("call"), words);
            return None;
        }
        let Some(with) = node.get("with") else {
            self.wrong(&node.path, "`with` is missing: what to call it with");
            return None;
        };
        if function == "agent" {
            return self.agent(&with).map(TaskKind::Agent);
        }
        self.may_name_secrets = true;
        let call = self.http(&with);
        self.may_name_secrets = false;
        call.map(|call| TaskKind::Http(Box::new(call)))
    }

    fn http(&mut self, node: &Node<'_>) -> Option<HttpCall> {
        let known = ["method", "endpoint", "headers", "query", "body", "output", "redirect"];
        self.object(node, "`with` of `call: http`", &known, &[])?;
        let method = self.text(node, "method", true).map(str::to_ascii_uppercase);
        if method.as_ref().is_some_and(|method| !METHODS.contains(&method.as_str())) {
            self.wrong(node.below("method"), format!("the methods are {}", METHODS.join(", ")));
        }
        let endpoint = self.needed(node, "endpoint", "`endpoint` is missing: where the request goes");
        let endpoint = endpoint.and_then(|endpoint| self.endpoint(&endpoint));
        let headers = self.map_of(node, "headers");
        let query = self.map_of(node, "query");
        let body = node.get("body").and_then(|body| self.template(&body));
        let output = match self.text(node, "output", false) {
            None | Some("content") => HttpOutput::Content,
            Some("raw") => HttpOutput::Raw,
            Some("response") => HttpOutput::Response,
            Some(_) => {
                self.wrong(node.below("output"), "there are `content`, `raw` and `response`");
                HttpOutput::Content
            }
        };
        let redirect = node.get("redirect").is_some_and(|redirect| {
            let value = redirect.value.as_bool();
            if value.is_none() {
                self.wrong(&redirect.path, "`redirect` is true or false");
            }
            value.unwrap_or(false)
        });
        Some(HttpCall { method: method?, endpoint: endpoint?, headers, query, body, output, redirect })
    }

    fn endpoint(&mut self, node: &Node<'_>) -> Option<Endpoint> {
        let uri = if node.value.is_object() {
            const AUTHENTICATION: &str = "set the header `Authorization`, with `$secrets` if need be";
            self.object(node, "an endpoint", &["uri"], &[("authentication", AUTHENTICATION)])?;
            self.needed(node, "uri", "`uri` is missing")?
        } else {
            node.clone()
        };
        let Some(text) = uri.value.as_str() else {
            self.wrong(&uri.path, "an endpoint is an address");
            return None;
        };
        match self.template(&uri)? {
            Template::Literal(_) => {
                if !is_address(text) {
                    self.wrong(
                        &uri.path,
                        format!("`{text}` is no address: it begins with http:// or https://"),
                    );
                }
                if text.matches('{').count() != text.matches('}').count() {
                    self.wrong(
                        &uri.path,
                        "`{` and `}` come in pairs in an address, around the name of a value",
                    );
                }
                Some(Endpoint::Uri(text.to_owned()))
            }
            template => Some(Endpoint::Template(template)),
        }
    }

    /// An object with expressions, or an expression that gives one.
    fn map_of(&mut self, node: &Node<'_>, key: &str) -> Option<Template> {
        let found = node.get(key)?;
        let template = self.template(&found)?;
        if !found.value.is_object() && !matches!(template, Template::Expr(_)) {
            self.wrong(&found.path, format!("`{key}` is an object"));
            return None;
        }
        Some(template)
    }

    fn agent(&mut self, node: &Node<'_>) -> Option<AgentCall> {
        self.object(node, "`with` of `call: agent`", &["agent", "message", "session"], &[])?;
        let mut part = |key: &str, is_needed: bool| {
            self.text(node, key, is_needed)?;
            let found = node.get(key)?;
            self.template(&found)
        };
        let (agent, message, session) = (part("agent", true), part("message", true), part("session", false));
        if let Some(Template::Literal(name)) = &agent
            && let Err(error) = stigmer_protocol::check_name(name.as_str().unwrap_or_default())
        {
            self.wrong(node.below("agent"), error);
        }
        Some(AgentCall { agent: agent?, message: message?, session })
    }
}

/// Whether requests can be sent there.
fn is_address(text: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| text.len() > scheme.len() && text.starts_with(scheme))
}
