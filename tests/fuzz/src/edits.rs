//! JSON with a few values replaced: what a fuzzer changes in plain text is mostly refused by the parser, and the code behind it sees nothing.

use serde_json::{Value, json};

/// Bytes that one edit takes.
const EDIT: usize = 5;

/// The base with edits: each names a place by number, and what becomes of it.
pub(crate) fn edited(mut base: Value, edits: &[u8]) -> Value {
    for edit in edits.chunks_exact(EDIT) {
        let count = count(&base);
        let number = |at: usize| usize::from(u16::from_le_bytes([edit[at], edit[at + 1]]));
        let other = nth(&mut base, number(3) % count).cloned();
        let Some(place) = nth(&mut base, number(0) % count) else { continue };
        change(place, edit[2], usize::from(edit[3]), other);
    }
    base
}

fn change(place: &mut Value, how: u8, which: usize, other: Option<Value>) {
    *place = match how % 16 {
        0 => json!(0),
        1 => json!(1),
        2 => json!(u64::MAX),
        3 => json!(u32::MAX),
        4 => json!(i64::MIN),
        5 => json!(u64::from(u16::MAX)),
        6 => json!(""),
        7 => Value::Null,
        8 => json!([]),
        9 => json!(which),
        10 => json!(["9999-12-31T23:59:59Z", "-9999-01-01T00:00:00Z", "0-65535", "Pool-0", "../../x"][which % 5]),
        // Something of the right type, from elsewhere.
        11 | 12 => other.unwrap_or_default(),
        13 => match place.take() {
            // Twice, or gone.
            Value::Array(mut list) if !list.is_empty() => {
                let at = which % list.len();
                let again = list[at].clone();
                list.push(again);
                Value::Array(list)
            }
            Value::Object(mut map) if !map.is_empty() => {
                let key = map.keys().nth(which % map.len()).cloned();
                key.and_then(|key| map.remove(&key));
                Value::Object(map)
            }
            value => value,
        },
        14 => match place.take() {
            Value::Array(mut list) if !list.is_empty() => {
                list.remove(which % list.len());
                Value::Array(list)
            }
            Value::Number(number) => json!(number.as_u64().unwrap_or(0).wrapping_add(1)),
            value => value,
        },
        _ => json!({"unknown": {"reason": "Torn", "message": "it is torn"}}),
    };
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(list) => list.iter().map(count).sum(),
        Value::Object(map) => map.values().map(count).sum(),
        _ => 0,
    }
}

/// The n-th value, parents before children.
fn nth(value: &mut Value, n: usize) -> Option<&mut Value> {
    if n == 0 {
        return Some(value);
    }
    let children: Vec<&mut Value> = match value {
        Value::Array(list) => list.iter_mut().collect(),
        Value::Object(map) => map.values_mut().collect(),
        _ => Vec::new(),
    };
    let mut left = n - 1;
    for child in children {
        let size = count(child);
        if left < size {
            return nth(child, left);
        }
        left -= size;
    }
    None
}
