//! What may differ between a recorded plan and today's: fields that are new, texts for people, and what a version changed on purpose.

use crate::recording::Recorded;
use planner::Plan;
use serde_json::Value;

/// Fields of items that older versions did not write, as paths within an item with `*` for every index and every variant's name, and the
/// value that a plan of theirs means: anything else in such a field is another plan. `*`: it is only noted, and changes nothing that is done.
pub const NEW: &[(&str, &str)] = &[
    // A domain that was made was let run.
    ("/operation/work/xen/stays_paused", "false"),
    // Who is behind it, for people.
    ("/trail", "*"),
    ("/operation/*/*/vm/here/stopping/approved", "*"),
    ("/operation/*/*/grants/removed/*/approved", "*"),
    ("/operation/*/*/grants/removed/*/author", "*"),
    // How long the host was up: an older version did not observe it.
    ("/operation/*/*/vm/here/stopping/up", "null"),
    // Since when drift is seen, for people.
    ("/drift", "*"),
    // What a guest was asked for, so that one that ignores it is told of.
    ("/operation/on_success/*/vm/here/asked", "*"),
];

/// Recorded moments, by version, recording and moment, that are planned differently on purpose, and why. A moment without items has no
/// place here: what was at rest stays at rest.
pub const CHANGED: &[(&str, &str, &str, &str)] = &[];

/// Sentences for people: they may be said better.
const TEXTS: &[&str] = &[
    "/reason",
    "/disposition/held/until",
    "/disposition/waiting/on",
    "/operation/*/*/vm/here/backoff/message",
    "/operation/*/*/vm/here/stopping/why",
];

/// The first thing in which today's plan differs from the recorded one.
pub fn difference(recorded: &Recorded, plan: &Plan) -> Option<String> {
    let items: Vec<Value> = plan.items.iter().map(|item| serde_json::to_value(item).unwrap()).collect();
    if recorded.due != plan.due {
        return Some(format!("due was {:?}, is {:?}", recorded.due, plan.due));
    }
    if recorded.items.len() != items.len() {
        let shown = |items: &[Value]| {
            let of = |item: &Value| format!("{} {} {}", item["object"]["name"], item["action"], item["disposition"]);
            items.iter().map(of).collect::<Vec<_>>().join("; ")
        };
        return Some(format!("items were [{}], are [{}]", shown(&recorded.items), shown(&items)));
    }
    recorded.items.iter().zip(&items).find_map(|(was, is)| compare("", was, is))
}

fn compare(path: &str, was: &Value, is: &Value) -> Option<String> {
    match (was, is) {
        (Value::Object(was), Value::Object(is)) => {
            let gone = was.keys().find(|key| !is.contains_key(*key)).map(|key| format!("{path}/{key} is gone"));
            gone.or_else(|| {
                is.iter().find_map(|(key, is)| {
                    let path = format!("{path}/{key}");
                    match was.get(key) {
                        Some(was) => compare(&path, was, is),
                        None => new(&path, is),
                    }
                })
            })
        }
        (Value::Array(was), Value::Array(is)) => {
            let length = (was.len() != is.len()).then(|| format!("{path} had {} entries, has {}", was.len(), is.len()));
            length.or_else(|| was.iter().zip(is).find_map(|(was, is)| compare(&format!("{path}/*"), was, is)))
        }
        _ if was == is || TEXTS.iter().any(|text| matches(text, path)) => None,
        _ => Some(format!("{path} was {was}, is {is}")),
    }
}

/// A field that was not recorded.
fn new(path: &str, is: &Value) -> Option<String> {
    match NEW.iter().find(|(pattern, _)| matches(pattern, path)) {
        Some((_, "*")) => None,
        Some((_, means)) if serde_json::from_str::<Value>(means).unwrap() == *is => None,
        Some((_, means)) => Some(format!("{path} is new and {is}; what an older version wrote means {means}")),
        None => {
            Some(format!("{path} is new and {is}: list it in NEW, with the value that means what it meant without"))
        }
    }
}

/// `*` in a pattern stands for one step of a path.
fn matches(pattern: &str, path: &str) -> bool {
    let (pattern, path): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.split('/').collect());
    pattern.len() == path.len() && pattern.iter().zip(&path).all(|(pattern, step)| *pattern == "*" || pattern == step)
}
