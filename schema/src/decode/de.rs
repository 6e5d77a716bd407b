//! serde's view of a [`Node`].

use super::fault::{Fault, Problem};
use super::spanned::MARKER;
use crate::node::{Entry, Node, Value};
use serde::de::value::{BoolDeserializer, StrDeserializer, UsizeDeserializer};
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, Error, IntoDeserializer, MapAccess, SeqAccess, Unexpected,
    VariantAccess, Visitor,
};

/// Reads one value. A `null` is never an absent field: nobody writes `host:` to say nothing.
#[derive(Clone, Copy)]
pub(super) struct NodeDeserializer<'n> {
    node: &'n Node,
    is_document: bool,
}

impl<'n> NodeDeserializer<'n> {
    /// Reads a whole document.
    pub(super) fn new(node: &'n Node) -> Self {
        Self { node, is_document: true }
    }

    fn part(node: &'n Node) -> Self {
        Self { node, is_document: false }
    }

    fn place<T>(self, result: Result<T, Fault>) -> Result<T, Fault> {
        result.map_err(|fault| {
            let fault = fault.in_value(self.node);
            if self.is_document { fault.in_document(self.node) } else { fault }
        })
    }

    fn visit<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Null | Value::Taken => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Integer(value) => match (u64::try_from(*value), i64::try_from(*value)) {
                (Ok(value), _) => visitor.visit_u64(value),
                (_, Ok(value)) => visitor.visit_i64(value),
                _ => visitor.visit_i128(*value),
            },
            Value::Float(value) => visitor.visit_f64(*value),
            Value::Text { text, .. } => visitor.visit_str(text),
            Value::List(items) => visitor.visit_seq(Items { items, next: 0 }),
            Value::Mapping(entries) => visitor.visit_map(Entries { entries, next: 0 }),
        }
    }
}

impl<'de> Deserializer<'de> for NodeDeserializer<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.place(self.visit(visitor))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Fault> {
        if name == MARKER {
            visitor.visit_seq(Place { node: self.node, next: 0 })
        } else {
            visitor.visit_newtype_struct(self)
        }
    }

    // A derived struct would also read a list as its fields in order.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_map(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Mapping(_) => self.deserialize_any(visitor),
            _ => self.place(Err(Fault::invalid_type(Unexpected::Unit, &visitor))),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let result = match &self.node.value {
            Value::Text { text, .. } => visitor.visit_enum(Word(text)),
            // `on`, `off` and numbers come as they would to a person: as a word that is none of ours.
            Value::Bool(value) => Err(Fault::unknown_variant(&value.to_string(), known)),
            Value::Integer(value) => Err(Fault::unknown_variant(&value.to_string(), known)),
            _ => Err(Fault::invalid_type(Unexpected::Unit, &OneOf(known))),
        };
        self.place(result)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct seq tuple tuple_struct identifier ignored_any
    }
}

struct OneOf(&'static [&'static str]);

impl de::Expected for OneOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words: Vec<_> = self.0.iter().map(|word| format!("`{word}`")).collect();
        write!(f, "one of {}", words.join(", "))
    }
}

struct Items<'n> {
    items: &'n [Node],
    next: usize,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        while let Some(item) = self.items.get(self.next) {
            let step = self.next;
            self.next += 1;
            if item.value != Value::Taken {
                return seed
                    .deserialize(NodeDeserializer::part(item))
                    .map(Some)
                    .map_err(|fault| fault.in_value(item).in_item(step, item));
            }
        }
        Ok(None)
    }
}

struct Entries<'n> {
    entries: &'n [Entry],
    /// The entry whose key is read next; its value is that of the one before.
    next: usize,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        while let Some(entry) = self.entries.get(self.next) {
            let step = self.next;
            self.next += 1;
            if entry.value.value != Value::Taken {
                let key: StrDeserializer<'_, Fault> = entry.key.as_str().into_deserializer();
                return seed
                    .deserialize(key)
                    .map(Some)
                    .map_err(|fault| fault.in_key(step, &entry.key, entry.key_bytes));
            }
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let step = self.next.saturating_sub(1);
        let Some(entry) = self.entries.get(step) else {
            return Err(Fault::custom("a value was asked for before its key"));
        };
        seed.deserialize(NodeDeserializer::part(&entry.value)).map_err(|fault| {
            // The place of an empty value is not worth showing; that of its key is.
            let fault = if entry.value.value == Value::Null { fault.at_key(entry.key_bytes) } else { fault };
            fault.in_value(&entry.value).in_key(step, &entry.key, entry.key_bytes)
        })
    }
}

/// What [`super::Spanned`] reads: where the value starts and ends, whether it is plain text, and the value.
struct Place<'n> {
    node: &'n Node,
    next: u8,
}

impl<'de> SeqAccess<'de> for Place<'_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        self.next += 1;
        let plain = matches!(self.node.value, Value::Text { plain: true, .. });
        match self.next {
            1 => seed.deserialize(UsizeDeserializer::new(self.node.bytes.start)).map(Some),
            2 => seed.deserialize(UsizeDeserializer::new(self.node.bytes.end)).map(Some),
            3 => seed.deserialize(BoolDeserializer::new(plain)).map(Some),
            4 => seed.deserialize(NodeDeserializer::part(self.node)).map(Some),
            _ => Ok(None),
        }
    }
}

/// A variant without content.
struct Word<'n>(&'n str);

impl<'de> EnumAccess<'de> for Word<'_> {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Fault> {
        let word: StrDeserializer<'_, Fault> = self.0.into_deserializer();
        Ok((seed.deserialize(word)?, self))
    }
}

impl<'de> VariantAccess<'de> for Word<'_> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, Fault> {
        Err(Fault::without_content())
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Fault> {
        Err(Fault::without_content())
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, Fault> {
        Err(Fault::without_content())
    }
}

impl Fault {
    fn without_content() -> Self {
        Self::custom("this word stands alone")
    }

    fn at_key(mut self, key_bytes: crate::finding::Bytes) -> Self {
        if matches!(self.problem, Problem::WrongType { .. }) {
            self.bytes = Some(key_bytes);
        }
        self
    }
}
