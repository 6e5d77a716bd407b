//! What `pinfold status -o json` says, as far as tests ask.

use anyhow::{Context, Result};
use serde_json::Value;

/// The daemon's status.
pub struct Status(Value);

impl Status {
    /// Reads the JSON document.
    pub fn read(text: &str) -> Result<Self> {
        Ok(Self(serde_json::from_str(text).with_context(|| format!("not JSON: {text}"))?))
    }

    /// The document.
    pub fn json(&self) -> &Value {
        &self.0
    }

    /// The accepted commit.
    pub fn commit(&self) -> Option<&str> {
        self.0["commit"]["id"].as_str()
    }

    /// Whether every object is ready and nothing runs.
    pub fn all_ready(&self) -> bool {
        let objects = self.0["objects"].as_array().map_or(&[][..], Vec::as_slice);
        let declared = objects.iter().filter(|object| {
            matches!(object["object"]["kind"].as_str(), Some("host" | "core-partition" | "virtual-machine"))
        });
        let ready = |object: &Value| condition(object, "Ready").is_some_and(|ready| ready["status"] == "True");
        declared.clone().next().is_some()
            && declared.clone().all(ready)
            && self.0["operations"].as_array().is_some_and(Vec::is_empty)
    }

    /// One object.
    pub fn object(&self, kind: &str, name: &str) -> Option<&Value> {
        let objects = self.0["objects"].as_array()?;
        objects.iter().find(|object| object["object"]["kind"] == kind && object["object"]["name"] == name)
    }

    /// A fact of a VM, such as its `domid`.
    pub fn vm_fact(&self, name: &str, fact: &str) -> Option<String> {
        let facts = self.object("virtual-machine", name)?["facts"].as_array()?;
        let pair = facts.iter().find(|pair| pair[0] == fact)?;
        Some(pair[1].as_str()?.to_owned())
    }

    /// A condition of a VM as `status reason: message`, when the VM has it.
    pub fn vm_condition(&self, name: &str, kind: &str) -> Option<String> {
        self.condition("virtual-machine", name, kind)
    }

    /// A condition of an object as `status reason: message`, when the object has it.
    pub fn condition(&self, object: &str, name: &str, kind: &str) -> Option<String> {
        let found = condition(self.object(object, name)?, kind)?;
        let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
        Some(format!("{} {}: {}", text("status"), text("reason"), text("message")))
    }
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind || condition["kind"] == kind)
}
