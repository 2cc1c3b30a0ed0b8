//! Tasks with effects: from the settings of a call to the effect, and from its outcome to the task's output.

use super::Run;
use super::scope::Break;
use crate::effect::{AgentRequest, Effect, Field, HttpEffect, SecretField, encoded};
use crate::engine::{Effects, Observer, Outcome};
use crate::fault::Fault;
use crate::model::{AgentCall, Endpoint, HttpCall};
use crate::template::{Template, as_text};
use serde_json::Value;

impl<E: Effects, O: Observer> Run<'_, E, O> {
    pub(super) async fn http(&self, call: &HttpCall, input: &Value, path: &str) -> Result<Value, Break> {
        self.effect(path, async || {
            let endpoint = match &call.endpoint {
                Endpoint::Uri(template) => Field::Value(expanded(template, input)?.into()),
                Endpoint::Template(template) => self.field(template, input).await?,
            };
            let effect = HttpEffect {
                method: call.method.clone(),
                endpoint,
                query: self.optional_field(call.query.as_ref(), input).await?,
                headers: self.optional_field(call.headers.as_ref(), input).await?,
                body: self.optional_field(call.body.as_ref(), input).await?,
                output: call.output,
                redirect: call.redirect,
            };
            Ok(Effect::Http(Box::new(effect)))
        })
        .await
    }

    pub(super) async fn agent(&self, call: &AgentCall, input: &Value, path: &str) -> Result<Value, Break> {
        self.effect(path, async || {
            let agent = as_text(&self.evaluate(&call.agent, input).await?);
            stigmer_protocol::check_name(&agent).map_err(Fault::validation)?;
            let message = as_text(&self.evaluate(&call.message, input).await?);
            if message.trim().is_empty() {
                return Err(Fault::validation("the message for the agent is empty").into());
            }
            let session = match &call.session {
                Some(session) => Some(as_text(&self.evaluate(session, input).await?)),
                None => None,
            };
            let session = session.filter(|name| !name.is_empty());
            Ok(Effect::Agent(AgentRequest { agent, message, session }))
        })
        .await
    }

    /// Performs an effect, unless its outcome is known. Only then is the effect built, and its expressions are evaluated.
    async fn effect(
        &self,
        path: &str,
        build: impl AsyncFnOnce() -> Result<Effect, Break>,
    ) -> Result<Value, Break> {
        let outcome = if let Some(known) = self.shared.effects.known(path) {
            known
        } else {
            let effect = build().await?;
            self.shared.effects.effect(path, &effect, self.deadline()).await?
        };
        match outcome {
            Outcome::Done(value) => Ok(value),
            Outcome::Failed(fault) => Err(fault.into()),
            Outcome::TimedOut => Err(self.late()),
        }
    }

    /// A part of an effect: its value, or what it depends on if it names secrets.
    async fn field(&self, template: &Template, input: &Value) -> Result<Field, Break> {
        match SecretField::new(template, input, &self.names) {
            Some(field) => Ok(Field::Secret(field)),
            None => self.evaluate(template, input).await.map(Field::Value),
        }
    }

    async fn optional_field(
        &self,
        template: Option<&Template>,
        input: &Value,
    ) -> Result<Option<Field>, Break> {
        match template {
            Some(template) => self.field(template, input).await.map(Some),
            None => Ok(None),
        }
    }
}

/// URL in which `{name}` is replaced by a member of the input (simple string expansion of RFC 6570).
fn expanded(template: &str, input: &Value) -> Result<String, Fault> {
    let mut uri = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        uri.push_str(before);
        let Some((name, after)) = after.split_once('}') else {
            return Err(Fault::validation(format!("invalid endpoint `{template}`: `{{` without `}}`")));
        };
        let value = input.get(name).unwrap_or(&Value::Null);
        if value.is_array() || value.is_object() {
            let words = format!("invalid value of `{{{name}}}` in an endpoint: expected text or a number");
            return Err(Fault::expression(words));
        }
        uri.push_str(&encoded(&as_text(value)));
        rest = after;
    }
    uri.push_str(rest);
    Ok(uri)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn endpoints_take_values_of_the_input() {
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
