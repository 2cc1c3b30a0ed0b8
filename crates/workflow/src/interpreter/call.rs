//! From what a workflow says of a call to what is sent.

use super::Run;
use super::scope::Break;
use crate::engine::{AgentRequest, Engine, HttpRequest, Outcome};
use crate::fault::Fault;
use crate::model::{AgentCall, Endpoint, HttpCall};
use crate::template::as_text;
use serde_json::Value;
use std::fmt::Write as _;

impl<E: Engine> Run<'_, E> {
    pub(super) fn http(&mut self, call: &HttpCall, input: &Value, path: &str) -> Result<Value, Break> {
        let request = self.request(call, input)?;
        let outcome = self.engine.http(path, &request, self.deadline())?;
        self.settled(outcome)
    }

    pub(super) fn agent(&mut self, call: &AgentCall, input: &Value, path: &str) -> Result<Value, Break> {
        let agent = as_text(&self.evaluate(&call.agent, input)?);
        stigmer_protocol::check_name(&agent).map_err(Fault::validation)?;
        let message = as_text(&self.evaluate(&call.message, input)?);
        if message.trim().is_empty() {
            return Err(Fault::validation("the message for the agent is empty").into());
        }
        let session = match &call.session {
            Some(session) => Some(as_text(&self.evaluate(session, input)?)).filter(|name| !name.is_empty()),
            None => None,
        };
        let request = AgentRequest { agent, message, session };
        let outcome = self.engine.agent(path, &request, self.deadline())?;
        self.settled(outcome)
    }

    fn settled(&self, outcome: Outcome) -> Result<Value, Break> {
        match outcome {
            Outcome::Done(value) => Ok(value),
            Outcome::Failed(fault) => Err(fault.into()),
            Outcome::TimedOut => self.timed_out(),
        }
    }

    fn request(&self, call: &HttpCall, input: &Value) -> Result<HttpRequest, Break> {
        let mut uri = match &call.endpoint {
            Endpoint::Uri(template) => expanded(template, input)?,
            Endpoint::Template(template) => as_text(&self.evaluate(template, input)?),
        };
        if !uri.starts_with("http://") && !uri.starts_with("https://") {
            return Err(
                Fault::validation("the endpoint is no address: it begins with http:// or https://").into()
            );
        }
        if let Some(query) = &call.query {
            for (key, value) in pairs("query", self.evaluate(query, input)?)? {
                uri.push(if uri.contains('?') { '&' } else { '?' });
                let _ = write!(uri, "{}={}", encoded(&key), encoded(&value));
            }
        }
        let mut headers = match &call.headers {
            Some(headers) => pairs("headers", self.evaluate(headers, input)?)?,
            None => Vec::new(),
        };
        let mut body = None;
        if let Some(template) = &call.body {
            let value = self.evaluate(template, input)?;
            let (kind, bytes) = match value {
                Value::String(text) => ("text/plain; charset=utf-8", text.into_bytes()),
                other => ("application/json", other.to_string().into_bytes()),
            };
            if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
                headers.push(("content-type".to_owned(), kind.to_owned()));
            }
            body = Some(bytes);
        }
        let (method, output, redirect) = (call.method.clone(), call.output, call.redirect);
        Ok(HttpRequest { method, uri, headers, body, output, redirect })
    }
}

fn pairs(what: &str, value: Value) -> Result<Vec<(String, String)>, Break> {
    let Value::Object(map) = value else {
        return Err(Fault::validation(format!("`{what}` of a request is an object")).into());
    };
    // A value that is not there is not sent.
    let map = map.into_iter().filter(|(_, value)| !value.is_null());
    Ok(map.map(|(key, value)| (key, as_text(&value))).collect())
}

/// An address in which `{name}` stands for a value of the input (simple string expansion of RFC 6570).
fn expanded(template: &str, input: &Value) -> Result<String, Break> {
    let mut uri = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        uri.push_str(before);
        let Some((name, after)) = after.split_once('}') else {
            return Err(Fault::validation(format!("`{template}` has a `{{` without its `}}`")).into());
        };
        let value = input.get(name).unwrap_or(&Value::Null);
        if value.is_array() || value.is_object() {
            let words = format!("`{{{name}}}` in an address stands for a text or a number");
            return Err(Fault::expression(words).into());
        }
        uri.push_str(&encoded(&as_text(value)));
        rest = after;
    }
    uri.push_str(rest);
    Ok(uri)
}

/// Text as part of an address: everything but the unreserved characters of RFC 3986 in its percent form.
fn encoded(text: &str) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn addresses_take_values_of_the_input() {
        let input = json!({"id": 7, "name": "a b/ü", "nothing": null, "list": []});
        let uri = |template| expanded(template, &input).ok();
        assert_eq!(
            uri("http://x/{id}/{name}?{nothing}{more}").as_deref(),
            Some("http://x/7/a%20b%2F%C3%BC?")
        );
        assert_eq!(uri("http://x/{list}"), None);
        assert_eq!(uri("http://x/{id"), None);
    }
}
