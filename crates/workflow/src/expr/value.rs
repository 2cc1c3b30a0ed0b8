//! Values of JSON as expressions see them, and back.

use jaq_json::{Map, Num, Val};
use serde_json::{Number, Value};

/// What an expression may give: so many bytes of JSON, about.
const MOST: usize = 1024 * 1024;

/// How deeply it may be nested: as deep as JSON can be read again.
const DEEPEST: usize = 100;

/// A value for an expression.
pub(super) fn to(value: &Value) -> Val {
    match value {
        Value::Null => Val::Null,
        Value::Bool(value) => Val::Bool(*value),
        Value::Number(number) => Val::Num(match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Num::from_integral(number),
            (None, Some(number)) => Num::from_integral(number),
            (None, None) => Num::Float(number.as_f64().unwrap_or(f64::NAN)),
        }),
        Value::String(text) => Val::utf8_str(text.clone()),
        Value::Array(values) => values.iter().map(to).collect(),
        Value::Object(pairs) => {
            let pairs = pairs.iter().map(|(key, value)| (Val::utf8_str(key.clone()), to(value)));
            Val::obj(pairs.collect::<Map>())
        }
    }
}

/// What an expression gave.
pub(super) fn from(value: &Val) -> Result<Value, String> {
    let mut left = MOST;
    convert(value, 0, &mut left)
}

fn convert(value: &Val, depth: usize, left: &mut usize) -> Result<Value, String> {
    if depth > DEEPEST {
        return Err(format!("it gives a value that is nested more than {DEEPEST} deep"));
    }
    spend(left, 2)?;
    Ok(match value {
        Val::Null => Value::Null,
        Val::Bool(value) => Value::Bool(*value),
        Val::Num(_) => number(value, left)?,
        Val::TStr(_) | Val::BStr(_) => Value::String(text(value, left)?),
        Val::Arr(values) => {
            let values = values.iter().map(|value| convert(value, depth + 1, left));
            Value::Array(values.collect::<Result<_, _>>()?)
        }
        Val::Obj(pairs) => {
            let pairs = pairs.iter().map(|(key, value)| {
                let (Val::TStr(_) | Val::BStr(_)) = key else {
                    return Err("it gives an object with a key that is no text".to_owned());
                };
                Ok((text(key, left)?, convert(value, depth + 1, left)?))
            });
            Value::Object(pairs.collect::<Result<_, _>>()?)
        }
    })
}

fn spend(left: &mut usize, bytes: usize) -> Result<(), String> {
    *left = left.checked_sub(bytes).ok_or_else(|| format!("it gives more than {MOST} bytes"))?;
    Ok(())
}

fn text(value: &Val, left: &mut usize) -> Result<String, String> {
    let (Val::TStr(bytes) | Val::BStr(bytes)) = value else { return Ok(String::new()) };
    spend(left, bytes.len())?;
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

/// JSON has no infinite numbers and none that are not numbers; like jq, the first become the largest there are, the second null.
fn number(value: &Val, left: &mut usize) -> Result<Value, String> {
    let Val::Num(number) = value else { return Ok(Value::Null) };
    let float = match number {
        Num::Int(number) => return Ok(Value::from(*number)),
        Num::Float(float) => *float,
        Num::BigInt(_) | Num::Dec(_) => {
            let digits = number.to_string();
            spend(left, digits.len())?;
            if let Ok(number) = digits.parse::<u64>() {
                return Ok(Value::from(number));
            }
            digits.parse().unwrap_or(f64::NAN)
        }
    };
    if float.is_infinite() {
        return Ok(Value::from(f64::MAX.copysign(float)));
    }
    Ok(Number::from_f64(float).map_or(Value::Null, Value::Number))
}
