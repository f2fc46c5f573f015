//! Keys and values as a script gives them.

use std::fmt::Write as _;

use rquickjs::atom::PredefinedAtom;
use rquickjs::convert::Coerced;
use rquickjs::{Ctx, Exception, FromJs as _, Result, Type, Value};

/// Appends a string as it is, and another value as JSON writes it. Throws for what is not JSON.
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
        Type::Promise => return Err(no_json("a promise")),
        Type::Exception => return Err(no_json("an error")),
        _ => {
            if let Some(what) = without_json(value)? {
                return Err(no_json(&what));
            }
            match ctx.json_stringify(value.clone())? {
                Some(json) => out.push_str(&json.to_string()?),
                None => return Err(no_json("a function")),
            }
        }
    }
    Ok(())
}

/// What an object is that JSON writes as `{}`, or as one by number, whatever is in it.
fn without_json(value: &Value<'_>) -> Result<Option<String>> {
    let Some(object) = value.as_object() else { return Ok(None) };
    let tag: Value<'_> = object.get(PredefinedAtom::SymbolToStringTag)?;
    let Some(tag) = tag.as_string().and_then(|tag| tag.to_string().ok()) else { return Ok(None) };
    let is_known = KINDS.contains(&tag.as_str())
        || ["Iterator", "Array", "ArrayBuffer", "Generator"].iter().any(|kind| tag.ends_with(kind));
    if !is_known || object.get::<_, Value<'_>>("toJSON")?.is_function() {
        return Ok(None);
    }
    Ok(Some(format!("a value of the type {tag}, of which JSON holds nothing")))
}

const KINDS: [&str; 6] = ["Map", "Set", "WeakMap", "WeakSet", "DataView", "Promise"];
