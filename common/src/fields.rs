//! A keyed hash over fields, each with its length, so that no two lists of fields look alike. Branches, tags, tokens and
//! the keys of transactions are made by it. The fields are laid side by side and hashed in one go: fields are short, and a
//! hasher that is fed piece by piece costs more for each piece than for its octets.

use siphasher::{sip, sip128};

/// Room for what most messages have, so that nothing is allocated.
const SHORT: usize = 448;

pub struct Fields {
    short: [u8; SHORT],
    length: usize,
    /// All of it, once it is longer.
    long: Vec<u8>,
}

impl Fields {
    /// `domain` keeps hashes of different kinds under one key apart.
    #[inline]
    pub fn new(domain: u8) -> Fields {
        let mut short = [0; SHORT];
        short[0] = domain;
        Fields { short, length: 1, long: Vec::new() }
    }

    pub fn field(&mut self, octets: &[u8]) {
        let length = (octets.len() as u32).to_be_bytes();
        let Some((room, rest)) = self.short.get_mut(self.length..).and_then(|rest| rest.split_at_mut_checked(4)) else {
            self.raw(&length);
            return self.raw(octets);
        };
        room.copy_from_slice(&length);
        self.length += 4;
        match rest.get_mut(..octets.len()) {
            Some(room) => {
                room.copy_from_slice(octets);
                self.length += octets.len();
            }
            None => self.raw(octets),
        }
    }

    /// What has one length always, or stands last.
    pub fn raw(&mut self, octets: &[u8]) {
        let end = self.length + octets.len();
        if let Some(room) = self.short.get_mut(self.length..end) {
            room.copy_from_slice(octets);
        } else {
            if self.long.is_empty() {
                self.long.extend_from_slice(&self.short[..self.length]);
            }
            self.long.extend_from_slice(octets);
        }
        self.length = end;
    }

    fn octets(&self) -> &[u8] {
        self.short.get(..self.length).unwrap_or(&self.long)
    }

    /// SipHash-2-4.
    pub fn hash64(&self, key: &[u8; 16]) -> u64 {
        sip::SipHasher24::new_with_key(key).hash(self.octets())
    }

    /// SipHash-2-4 with 128 bits.
    pub fn hash128(&self, key: &[u8; 16]) -> u128 {
        sip128::SipHasher24::new_with_key(key).hash(self.octets()).as_u128()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use siphasher::sip128::Hasher128;
    use std::hash::Hasher;

    #[test]
    fn side_by_side_is_as_piece_by_piece() {
        let (key, long) = ([7; 16], [9; 2 * SHORT]);
        // The second one fills the room to the last octet.
        for second in [0, 1, SHORT - 16, SHORT - 13, SHORT - 12, SHORT - 11, SHORT - 10, SHORT - 9, 2 * SHORT] {
            let (mut narrow, mut wide) =
                (sip::SipHasher24::new_with_key(&key), sip128::SipHasher24::new_with_key(&key));
            let mut fields = Fields::new(3);
            narrow.write_u8(3);
            wide.write_u8(3);
            for field in [&b""[..], &long[..second], b"end"] {
                fields.field(field);
                let length = (field.len() as u32).to_be_bytes();
                [&length[..], field].iter().for_each(|part| {
                    narrow.write(part);
                    wide.write(part);
                });
            }
            assert_eq!((fields.hash64(&key), fields.hash128(&key)), (narrow.finish(), wide.finish128().as_u128()));
        }
    }
}
