//! Keys and values as a script gives them.

use std::fmt::Write as _;

use rquickjs::convert::Coerced;
use rquickjs::{Ctx, Exception, FromJs as _, Result, Type, Value};

/// Appends a string as it is, and another value as JSON writes it. Throws for what is no JSON.
pub(super) fn push<'js>(ctx: &Ctx<'js>, value: &Value<'js>, what: &str, out: &mut String) -> Result<()> {
    let no_json = |shown: &str| {
        let message = format!("a {what} is a text, a number or another JSON value, not {shown}");
        Exception::throw_type(ctx, &message)
    };
    match value.type_of() {
        Type::String => match value.as_string().map(rquickjs::String::to_string) {
            Some(Ok(text)) => out.push_str(&text),
            _ => return Err(no_json("one with half a character")),
        },
        Type::Int => {
            // Writing to a string can't fail.
            let _ = write!(out, "{}", value.as_int().unwrap_or_default());
        }
        Type::Float => match value.as_float().filter(|number| number.is_finite()) {
            Some(number) => out.push_str(ryu_js::Buffer::new().format_finite(number)),
            None => return Err(no_json(&Coerced::<String>::from_js(ctx, value.clone())?)),
        },
        Type::BigInt => out.push_str(&Coerced::<String>::from_js(ctx, value.clone())?),
        Type::Bool => out.push_str(if value.as_bool() == Some(true) { "true" } else { "false" }),
        Type::Null => out.push_str("null"),
        Type::Undefined | Type::Uninitialized => return Err(no_json("undefined")),
        Type::Symbol => return Err(no_json("a symbol")),
        _ => match ctx.json_stringify(value.clone())? {
            Some(json) => out.push_str(&json.to_string()?),
            None => return Err(no_json("a function")),
        },
    }
    Ok(())
}
