//! The two forms of an option's list, as keys and values in their order.

use super::Problem;

/// `value,key=value,…`, where the first value is of the key `implied`. Splits at single commas; a double one is a comma of the value.
pub(super) fn from_list(implied: &str, text: &str) -> Result<Vec<(String, String)>, Problem> {
    let mut items = vec![String::new()];
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character == ',' && characters.next_if_eq(&',').is_none() {
            items.push(String::new());
        } else if let Some(item) = items.last_mut() {
            item.push(character);
        }
    }
    let mut entries = Vec::with_capacity(items.len());
    for (at, item) in items.into_iter().enumerate() {
        match item.split_once('=') {
            Some(("", _)) => return Err(Problem::NoKey),
            Some((key, value)) => entries.push((key.to_owned(), value.to_owned())),
            None if item.is_empty() => return Err(Problem::NoKey),
            None if at == 0 => entries.push((implied.to_owned(), item)),
            None => return Err(Problem::NoValue(item)),
        }
    }
    Ok(entries)
}

/// A JSON object, its nested ones as dotted keys.
pub(super) fn from_json(text: &str) -> Result<Vec<(String, String)>, Problem> {
    let value = serde_json::from_str(text).map_err(|error| Problem::Json(error.to_string()))?;
    let mut entries = Vec::new();
    flatten(String::new(), value, &mut entries)?;
    Ok(entries)
}

fn flatten(
    key: String,
    value: serde_json::Value,
    into: &mut Vec<(String, String)>,
) -> Result<(), Problem> {
    use serde_json::Value;
    let value = match value {
        Value::Object(members) => {
            for (name, value) in members {
                let key = if key.is_empty() {
                    name
                } else {
                    format!("{key}.{name}")
                };
                flatten(key, value, into)?;
            }
            return Ok(());
        }
        Value::String(text) => text,
        Value::Bool(true) => "on".to_owned(),
        Value::Bool(false) => "off".to_owned(),
        Value::Number(number) => number.to_string(),
        // No backing image.
        Value::Null if key == "backing" || key.ends_with(".backing") => String::new(),
        Value::Null | Value::Array(_) => {
            return Err(Problem::Json(format!("'{key}' is null or a list")));
        }
    };
    into.push((key, value));
    Ok(())
}
