//! Which digest algorithms a domain's challenges name: `md5`, `sha-256`, `sha-512-256`, `both`, or a list of them.

use crate::sip::Algorithm;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;

/// At least one algorithm, each once, the strongest first whatever the order in the file: that is how a challenge names
/// them (RFC 8760 §2.4). MD5 alone, the default, is what every phone understands: many give up when a second challenge
/// follows, or when the first names an algorithm that they lack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestOffer(Vec<Algorithm>);

impl DigestOffer {
    /// `None` for an empty list. What stands twice is kept once.
    pub fn of(algorithms: &[Algorithm]) -> Option<DigestOffer> {
        let mut strongest_first = algorithms.to_vec();
        strongest_first.sort_unstable_by(|a, b| b.cmp(a));
        strongest_first.dedup();
        (!strongest_first.is_empty()).then_some(DigestOffer(strongest_first))
    }

    /// Strongest first, never empty.
    pub fn algorithms(&self) -> &[Algorithm] {
        &self.0
    }

    pub fn has(&self, algorithm: Algorithm) -> bool {
        self.0.contains(&algorithm)
    }

    pub(super) fn is_default(&self) -> bool {
        *self == DigestOffer::default()
    }
}

impl Default for DigestOffer {
    fn default() -> Self {
        DigestOffer(vec![Algorithm::Md5])
    }
}

/// What a rack file calls an algorithm.
fn name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Md5 => "md5",
        Algorithm::Sha256 => "sha-256",
        Algorithm::Sha512_256 => "sha-512-256",
    }
}

/// One word of the file. `both` is from before there were three.
fn word<E: de::Error>(text: &str) -> Result<Vec<Algorithm>, E> {
    if text.eq_ignore_ascii_case("both") {
        return Ok(vec![Algorithm::Sha256, Algorithm::Md5]);
    }
    match Algorithm::of(text) {
        Some(algorithm) => Ok(vec![algorithm]),
        None => Err(E::unknown_variant(text, &["md5", "sha-256", "sha-512-256", "both"])),
    }
}

impl Serialize for DigestOffer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => serializer.serialize_str(name(*one)),
            [Algorithm::Sha256, Algorithm::Md5] => serializer.serialize_str("both"),
            several => {
                let mut list = serializer.serialize_seq(Some(several.len()))?;
                several.iter().try_for_each(|algorithm| list.serialize_element(name(*algorithm)))?;
                list.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for DigestOffer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WordOrList)
    }
}

struct WordOrList;

impl<'de> Visitor<'de> for WordOrList {
    type Value = DigestOffer;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("md5, sha-256, sha-512-256 or both, or a list such as [sha-256, md5]")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<DigestOffer, E> {
        Ok(DigestOffer::of(&word(text)?).unwrap_or_default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<DigestOffer, A::Error> {
        let mut all = Vec::new();
        while let Some(text) = list.next_element::<Cow<'de, str>>()? {
            for algorithm in word(&text)? {
                if all.contains(&algorithm) {
                    return Err(de::Error::custom(format!("`{}` stands in the list twice", name(algorithm))));
                }
                all.push(algorithm);
            }
        }
        DigestOffer::of(&all).ok_or_else(|| de::Error::custom("`digest` is an empty list: nobody could answer"))
    }
}

impl JsonSchema for DigestOffer {
    fn schema_name() -> Cow<'static, str> {
        "DigestOffer".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let words = ["md5", "sha-256", "sha-512-256"];
        json_schema!({
            "description": "`md5` alone is what every phone understands: many give up when a second challenge follows, or \
                when the first names an algorithm that they lack. A list offers all of its algorithms at once, the strongest \
                first (RFC 8760 §2.4); `both` is [sha-256, md5].",
            "anyOf": [
                { "type": "string", "enum": ["md5", "sha-256", "sha-512-256", "both"] },
                {
                    "type": "array",
                    "items": { "type": "string", "enum": words },
                    "minItems": 1,
                    "uniqueItems": true
                }
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use Algorithm::{Md5, Sha256, Sha512_256};

    fn read(text: &str) -> Result<DigestOffer, String> {
        serde_yaml::from_str(text).map_err(|e| e.to_string())
    }

    #[test]
    fn one_word_or_a_list_and_always_the_strongest_first() {
        for (text, algorithms, written) in [
            ("md5", &[Md5][..], "md5"),
            ("sha-256", &[Sha256], "sha-256"),
            ("SHA-512-256", &[Sha512_256], "sha-512-256"),
            ("both", &[Sha256, Md5], "both"),
            ("[sha-256]", &[Sha256], "sha-256"),
            ("[md5, sha-512-256]", &[Sha512_256, Md5], "- sha-512-256\n- md5"),
            ("[md5, sha-512-256, sha-256]", &[Sha512_256, Sha256, Md5], "- sha-512-256\n- sha-256\n- md5"),
        ] {
            let offer = read(text).unwrap();
            assert_eq!(offer.algorithms(), algorithms, "{text}");
            assert_eq!(serde_yaml::to_string(&offer).unwrap().trim_end(), written);
            assert_eq!(read(written), Ok(offer), "what is written is read");
        }
    }

    #[test]
    fn nothing_unknown_twice_or_empty() {
        for (text, why) in [
            ("sha-512", "unknown variant `sha-512`"),
            ("[md5, sha1]", "unknown variant `sha1`"),
            ("[]", "empty list"),
            ("[md5, both]", "`md5` stands in the list twice"),
            ("7", "md5, sha-256, sha-512-256 or both"),
        ] {
            let said = read(text).unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
        }
    }
}
