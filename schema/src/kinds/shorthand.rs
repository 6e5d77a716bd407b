//! Values that are written as one scalar or, to say more, as a mapping: `vcpus: 2` or `vcpus: {online: 2, max: 4}`.
//!
//! Read by a visitor rather than an untagged enum, which would lose every place and say only that nothing matched.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, IntoDeserializer, MapAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// A long form that has a short one.
pub(crate) trait Shorthand: for<'de> Deserialize<'de> + JsonSchema {
    /// The short form.
    type Short: for<'de> Deserialize<'de> + JsonSchema;
    /// What is expected, for a message.
    const EXPECTING: &'static str;

    /// What the short form stands for.
    fn from_short(short: Self::Short) -> Self;
}

/// A value in its long form, however it was written.
#[derive(Debug)]
pub(crate) struct ShortOr<T>(pub(crate) T);

impl<'de, T: Shorthand> Deserialize<'de> for ShortOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShorthandVisitor(PhantomData)).map(Self)
    }
}

impl<T: Shorthand> JsonSchema for ShortOr<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("ShortOr{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (short, long) = (generator.subschema_for::<T::Short>(), generator.subschema_for::<T>());
        json_schema!({"anyOf": [short, long]})
    }
}

struct ShorthandVisitor<T>(PhantomData<T>);

impl<T: Shorthand> ShorthandVisitor<T> {
    fn short<'de, E: de::Error>(value: impl IntoDeserializer<'de, E>) -> Result<T, E> {
        T::Short::deserialize(value.into_deserializer()).map(T::from_short)
    }
}

impl<'de, T: Shorthand> Visitor<'de> for ShorthandVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTING)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<T, E> {
        Self::short(value)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<T, E> {
        Self::short(value)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<T, E> {
        Self::short(value)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<T, E> {
        Self::short(value)
    }

    fn visit_map<A: MapAccess<'de>>(self, mapping: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(mapping))
    }
}
