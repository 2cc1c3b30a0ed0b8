//! Effects as values: what a workflow wants done outside of itself.
//!
//! An effect can be serialized and sent to another process. It never holds a secret, only references: a field whose expressions name
//! secrets is evaluated where the effect is performed ([`Effect::resolve`]).

use super::evaluation::{Evaluation, Variables, named};
use super::expr::{NOW, VARIABLES};
use super::fault::Fault;
use super::model::HttpOutput;
use super::template::{Expr, Template, as_text};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

/// Values of secrets, by name.
pub type Secrets = BTreeMap<String, String>;

/// Something that a workflow wants done outside of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Send an HTTP request.
    Http(Box<HttpEffect>),
    /// Ask an agent.
    Agent(AgentRequest),
}

/// An effect with its secrets in place, ready to be performed. It is never recorded, and has no `Debug` for that reason.
#[derive(Clone)]
pub enum Request {
    /// Send an HTTP request.
    Http(HttpRequest),
    /// Ask an agent.
    Agent(AgentRequest),
}

/// An HTTP request whose secrets are references.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HttpEffect {
    /// Method, in capital letters.
    pub method: String,
    /// URL without `query`.
    pub endpoint: Field,
    /// Object of query parameters that are appended to the URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<Field>,
    /// Object of headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<Field>,
    /// Body: text as it is, any other value as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Field>,
    /// Part of the response that is returned.
    pub output: HttpOutput,
    /// Whether redirects are followed.
    pub redirect: bool,
}

/// An HTTP request that can be sent.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// Method, in capital letters.
    pub method: String,
    /// URL with its query.
    pub uri: String,
    /// Names and values of the headers.
    pub headers: Vec<(String, String)>,
    /// Body, if the request has one.
    pub body: Option<Vec<u8>>,
    /// Part of the response that is returned.
    pub output: HttpOutput,
    /// Whether redirects are followed.
    pub redirect: bool,
}

/// A message to an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentRequest {
    /// Name of the agent.
    pub agent: String,
    /// Text of the message.
    pub message: String,
    /// Conversation that the message belongs to; a new one if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

/// Part of an effect: a value, or an expression that names secrets.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// Value without secrets.
    Value(Value),
    /// Value that depends on secrets and is computed where the effect is performed.
    Secret(SecretField),
}

/// A template that names secrets, with everything else it depends on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SecretField {
    /// Template in the form in which workflows are written.
    template: Value,
    input: Value,
    variables: Variables,
    /// Names of the secrets.
    secrets: BTreeSet<String>,
    /// Template as it was read; after deserialization it is read again.
    #[serde(skip)]
    read: Option<Template>,
}

impl Effect {
    /// Whether the effect may be performed twice. An HTTP method promises it (RFC 9110, section 9.2.2); an agent is asked under the
    /// path of its task, and a second question under the same path joins the first.
    pub fn is_repeatable(&self) -> bool {
        match self {
            Self::Http(effect) => !matches!(effect.method.as_str(), "POST" | "PATCH"),
            Self::Agent(_) => true,
        }
    }

    /// What the journal records before the effect is performed. `None` if performing it again under the same path joins the first
    /// attempt, so that no record is needed.
    pub fn attempt(&self) -> Option<&str> {
        match self {
            Self::Http(effect) => Some(&effect.method),
            Self::Agent(_) => None,
        }
    }

    /// Whether [`Effect::resolve`] evaluates expressions, which may take seconds and needs a deep stack.
    pub fn names_secrets(&self) -> bool {
        match self {
            Self::Http(http) => {
                let optional = [&http.query, &http.headers, &http.body].into_iter().flatten();
                optional.chain([&http.endpoint]).any(|field| matches!(field, Field::Secret(_)))
            }
            Self::Agent(_) => false,
        }
    }

    /// Puts secrets in place. To be called on a stack of [`crate::evaluation::STACK_BYTES`] if the effect names secrets.
    ///
    /// # Errors
    /// A secret is not available, an expression fails, or the result is no valid request. The fault may quote secrets.
    pub fn resolve(&self, secrets: &Secrets) -> Result<Request, Fault> {
        Ok(match self {
            Self::Http(effect) => Request::Http(effect.resolve(secrets)?),
            Self::Agent(request) => Request::Agent(request.clone()),
        })
    }
}

impl HttpEffect {
    fn resolve(&self, secrets: &Secrets) -> Result<HttpRequest, Fault> {
        let mut uri = as_text(&self.endpoint.resolve(secrets)?);
        if !uri.starts_with("http://") && !uri.starts_with("https://") {
            return Err(Fault::validation(
                "invalid endpoint: expected a URL that begins with http:// or https://",
            ));
        }
        if let Some(query) = &self.query {
            for (key, value) in pairs("query", query.resolve(secrets)?)? {
                uri.push(if uri.contains('?') { '&' } else { '?' });
                let _ = write!(uri, "{}={}", encoded(&key), encoded(&value));
            }
        }
        let mut headers = match &self.headers {
            Some(headers) => pairs("headers", headers.resolve(secrets)?)?,
            None => Vec::new(),
        };
        let mut body = None;
        if let Some(field) = &self.body {
            let (kind, bytes) = match field.resolve(secrets)? {
                Value::String(text) => ("text/plain; charset=utf-8", text.into_bytes()),
                other => ("application/json", other.to_string().into_bytes()),
            };
            if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
                headers.push(("content-type".to_owned(), kind.to_owned()));
            }
            body = Some(bytes);
        }
        let (method, output, redirect) = (self.method.clone(), self.output, self.redirect);
        Ok(HttpRequest { method, uri, headers, body, output, redirect })
    }
}

impl Field {
    fn resolve(&self, secrets: &Secrets) -> Result<Value, Fault> {
        match self {
            Self::Value(value) => Ok(value.clone()),
            Self::Secret(field) => field.resolve(secrets),
        }
    }
}

impl SecretField {
    /// Keeps a template and what it needs besides secrets. `None` if it names no secret.
    pub(crate) fn new(template: &Template, input: &Value, variables: &Variables) -> Option<Self> {
        let expressions: Vec<Expr> = template.expressions().into_iter().cloned().collect();
        let secrets = expressions.iter().flat_map(|expression| expression.program.secrets());
        let secrets: BTreeSet<String> = secrets.map(str::to_owned).collect();
        (!secrets.is_empty()).then(|| Self {
            template: template.source(),
            input: input.clone(),
            variables: named(&expressions, variables),
            secrets,
            read: Some(template.clone()),
        })
    }

    fn resolve(&self, secrets: &Secrets) -> Result<Value, Fault> {
        for name in &self.secrets {
            if !secrets.contains_key(name) {
                return Err(Fault::authorization(format!(
                    "secret `{name}` is not available to the workflow runner: list it in `[workflow-runner] environment` of config.toml and restart the server with it set"
                )));
            }
        }
        let template = match &self.read {
            Some(template) => template.clone(),
            None => self.read_again()?,
        };
        let values: Value = self.secrets.iter().map(|name| (name.clone(), json!(secrets[name]))).collect();
        let mut variables = self.variables.clone();
        variables.insert("$secrets".to_owned(), Arc::new(values));
        let expressions = template.expressions().into_iter().cloned().collect();
        let evaluation = Evaluation::with_all(expressions, self.input.clone(), variables);
        let values = evaluation.run_here().map_err(Fault::expression)?;
        Ok(template.filled(&mut values.into_iter()))
    }

    fn read_again(&self) -> Result<Template, Fault> {
        let is_local = |name: &&String| !VARIABLES.contains(&name.as_str()) && *name != NOW;
        let locals = self.variables.keys().filter(is_local).cloned().collect();
        crate::read::secret_template(&self.template, locals, self.secrets.iter().cloned().collect()).map_err(
            |problems| {
                let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
                Fault::runtime(format!("cannot read an effect: {}", problems.join("; ")))
            },
        )
    }
}

fn pairs(what: &str, value: Value) -> Result<Vec<(String, String)>, Fault> {
    let Value::Object(map) = value else {
        return Err(Fault::validation(format!("invalid `{what}` of a request: expected an object")));
    };
    // A null stands for a parameter that is not set.
    let map = map.into_iter().filter(|(_, value)| !value.is_null());
    Ok(map.map(|(key, value)| (key, as_text(&value))).collect())
}

/// Percent-encodes everything but the unreserved characters of RFC 3986.
pub(crate) fn encoded(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            safe.push(char::from(byte));
        } else {
            let _ = write!(safe, "%{byte:02X}");
        }
    }
    safe
}
