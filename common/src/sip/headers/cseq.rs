//! CSeq (RFC 3261 §20.16).

use crate::sip::{HeaderId, Method, ParseError, lex};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CSeq {
    /// Below 2^31 (RFC 3261 §8.1.1.5).
    pub number: u32,
    pub method: Method,
}

impl CSeq {
    /// Number and method's octets of a good value.
    pub(crate) fn split(value: &[u8]) -> Option<(u32, &[u8])> {
        let end = value.iter().position(|b| lex::is_space(*b))?;
        let number = u32::try_from(lex::digits(&value[..end])?).ok().filter(|n| *n < 1 << 31)?;
        let method = lex::trim(&value[end..]);
        lex::is_token(method).then_some((number, method))
    }

    pub fn parse(value: &[u8]) -> Result<CSeq, ParseError> {
        let wrong = |why| ParseError::Malformed { header: HeaderId::CSeq, why };
        let value = lex::trim(value);
        let end = value.iter().position(|b| lex::is_space(*b)).ok_or(wrong("not a number and a method"))?;
        let number = lex::digits(&value[..end]).ok_or(wrong("not a number and a method"))?;
        let number = u32::try_from(number).ok().filter(|n| *n < 1 << 31).ok_or(wrong("the number is 2^31 or more"))?;
        let method = Method::parse(lex::trim(&value[end..])).ok_or(wrong("the method is not a word"))?;
        Ok(CSeq { number, method })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sip_cseq() {
        assert_eq!(CSeq::parse(b"0009\r\n  INVITE"), Ok(CSeq { number: 9, method: Method::Invite }));
        for bad in
            ["", "9", "INVITE 9", "-1 INVITE", "2147483648 INVITE", "36893488147419103232 REGISTER", "9 INVITE INVITE"]
        {
            assert!(CSeq::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
