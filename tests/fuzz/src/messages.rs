//! Lines between `pinfold` and `pinfold-xen`. What is read is written and read again as the same.

use protocol::{Call, Hello, Order, Outcome, Said};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) fn run(bytes: &[u8]) {
    there_and_back::<Hello>(bytes);
    there_and_back::<Call>(bytes);
    there_and_back::<Said>(bytes);
    there_and_back::<Order>(bytes);
    there_and_back::<Outcome>(bytes);
}

fn there_and_back<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    let Ok(read) = serde_json::from_slice::<T>(bytes) else { return };
    let written = serde_json::to_vec(&read).expect("what was read can be written");
    let again: T = serde_json::from_slice(&written).expect("what was written can be read");
    assert_eq!(read, again);
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let hello = r#"{"protocol":1,"worker":"0.1.0","built_for":"4.17","running":"4.17"}"#;
    let mut seeds = vec![hello.as_bytes().to_vec(), br#"{"id":7,"ask":"observe"}"#.to_vec(), b"\"woken\"".to_vec()];
    for moment in crate::inventories::MOMENTS.iter() {
        if let Some(observation) = moment.observed["xen"].get("known") {
            let said = serde_json::json!({"answer": {"id": 1, "answer": {"Ok": observation}}});
            assert!(serde_json::from_value::<Said>(said.clone()).is_ok(), "a seed is a message");
            seeds.push(said.to_string().into_bytes());
        }
        for under_way in moment.observed["operations"].as_array().into_iter().flatten() {
            let request = &under_way["request"];
            let operation = &under_way["id"];
            let order = serde_json::json!({
                "protocol": 1, "operation": operation, "locks": "/l", "outcome": "/o", "request": request
            });
            let failure = serde_json::json!({
                "kind": "refused", "call": "libxl", "rc": -3, "errno": null, "message": "no"
            });
            let outcome = serde_json::json!({
                "operation": operation, "request": request, "result": {"Err": failure}, "log": ["a"], "took": null
            });
            assert!(serde_json::from_value::<Outcome>(outcome.clone()).is_ok(), "a seed is a message");
            seeds.extend([order.to_string().into_bytes(), outcome.to_string().into_bytes()]);
        }
    }
    seeds
}
