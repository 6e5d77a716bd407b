//! Domains of other toolstacks that a commit may declare, and a person may have taken over.

use crate::draw::Draw;
use sim::{Event, ForeignDomain};
use uuid::Uuid;

/// A name that no other VM gets, and the UUID that goes with it.
pub fn one(draw: &mut Draw) -> (String, Uuid) {
    let name = format!("theirs{}", draw.number(1, 2));
    let uuid = Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes());
    (name, uuid)
}

/// Whether this is the name of one.
pub fn is_one(name: &str) -> bool {
    name.starts_with("theirs")
}

/// One of them is made.
pub fn made(draw: &mut Draw) -> Event {
    let (name, uuid) = one(draw);
    let domain = ForeignDomain {
        uuid: Some(uuid),
        vcpus: draw.number(1, 2),
        cap: u16::try_from(draw.number(0, 1) * 50).unwrap(),
        disks: if draw.chance(30) { vec![format!("/srv/disk{}.img", draw.number(0, 39))] } else { Vec::new() },
        paused: draw.chance(20),
        ..stranger(name)
    };
    Event::Create { domain: domain.into(), raced: false }
}

/// A small domain that nobody declares.
pub fn stranger(name: String) -> ForeignDomain {
    ForeignDomain { memory_kib: 32 * 1024, ..ForeignDomain::named(name) }
}
