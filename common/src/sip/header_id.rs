//! The headers we know by number, with their compact forms (RFC 3261 §7.3.3, §20, and the IANA registry).

macro_rules! headers {
    ($($id:ident $name:literal $(| $other:literal)* $shape:ident),+ $(,)?) => {
        /// A header's name. `Other` passes through by its text.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum HeaderId {
            $($id,)+
            Other,
        }

        impl HeaderId {
            /// Every header that has a number.
            pub const KNOWN: &[HeaderId] = &[$(HeaderId::$id),+];

            /// Every name on the wire, long or compact, with its number.
            const NAMES: &[(&str, HeaderId)] = &[$(($name, HeaderId::$id), $(($other, HeaderId::$id),)*)+];

            /// The long form as RFC 3261 writes it; `Other` has none of its own.
            pub fn name(self) -> &'static str {
                match self {
                    $(HeaderId::$id => $name,)+
                    HeaderId::Other => "(other)",
                }
            }

            const fn shape(self) -> Shape {
                match self {
                    $(HeaderId::$id => Shape::$shape,)+
                    HeaderId::Other => Shape::Free,
                }
            }
        }
    };
}

/// How often a header may stand in a message.
#[derive(PartialEq)]
enum Shape {
    /// Once, with one value.
    One,
    /// A comma list, which is the same as several header lines.
    List,
    /// No list, and several lines are borne: commas mean something else, or nothing depends on it.
    Free,
}

headers! {
    Via "Via" | "v" List,
    From "From" | "f" One,
    To "To" | "t" One,
    CallId "Call-ID" | "i" One,
    CSeq "CSeq" One,
    Contact "Contact" | "m" List,
    MaxForwards "Max-Forwards" One,
    Route "Route" List,
    RecordRoute "Record-Route" List,
    ContentLength "Content-Length" | "l" One,
    ContentType "Content-Type" | "c" One,
    Allow "Allow" List,
    Supported "Supported" | "k" List,
    UserAgent "User-Agent" Free,
    Expires "Expires" One,
    Authorization "Authorization" Free,
    ProxyAuthorization "Proxy-Authorization" Free,
    WwwAuthenticate "WWW-Authenticate" Free,
    ProxyAuthenticate "Proxy-Authenticate" Free,
    Require "Require" List,
    ProxyRequire "Proxy-Require" List,
    Unsupported "Unsupported" List,
    Path "Path" List,
    ServiceRoute "Service-Route" List,
    Accept "Accept" List,
    AcceptContact "Accept-Contact" | "a" List,
    AcceptEncoding "Accept-Encoding" List,
    AcceptLanguage "Accept-Language" List,
    AlertInfo "Alert-Info" List,
    AllowEvents "Allow-Events" | "u" List,
    AuthenticationInfo "Authentication-Info" Free,
    CallInfo "Call-Info" List,
    ContentDisposition "Content-Disposition" Free,
    ContentEncoding "Content-Encoding" | "e" List,
    ContentLanguage "Content-Language" List,
    Date "Date" Free,
    Diversion "Diversion" List,
    ErrorInfo "Error-Info" List,
    Event "Event" | "o" One,
    HistoryInfo "History-Info" List,
    Identity "Identity" | "y" Free,
    InReplyTo "In-Reply-To" List,
    MaxBreadth "Max-Breadth" One,
    MimeVersion "MIME-Version" Free,
    MinExpires "Min-Expires" One,
    MinSe "Min-SE" One,
    Organization "Organization" Free,
    PAssertedIdentity "P-Asserted-Identity" List,
    PPreferredIdentity "P-Preferred-Identity" List,
    Priority "Priority" Free,
    Privacy "Privacy" Free,
    RAck "RAck" One,
    RSeq "RSeq" One,
    Reason "Reason" List,
    ReferTo "Refer-To" | "r" One,
    ReferredBy "Referred-By" | "b" One,
    RejectContact "Reject-Contact" | "j" List,
    Replaces "Replaces" One,
    ReplyTo "Reply-To" One,
    RequestDisposition "Request-Disposition" | "d" List,
    RetryAfter "Retry-After" One,
    Server "Server" Free,
    SessionExpires "Session-Expires" | "x" One,
    SipEtag "SIP-ETag" One,
    SipIfMatch "SIP-If-Match" One,
    Subject "Subject" | "s" Free,
    SubscriptionState "Subscription-State" One,
    TargetDialog "Target-Dialog" One,
    Timestamp "Timestamp" Free,
    Warning "Warning" List,
}

/// Places of the table of names; a power of two, four times the names.
const PLACES: usize = 512;

/// Where a name is looked for first, by its length and its outer letters in any case.
const fn place(name: &[u8]) -> usize {
    let (first, last) = (name[0] | 0x20, name[name.len() - 1] | 0x20);
    let middle = name[name.len() / 2] | 0x20;
    (first as usize * 31 + last as usize * 7 + middle as usize * 73 + name.len() * 129) % PLACES
}

/// Numbers in `NAMES` plus one, by place; a name that finds its place taken stands in the next free one.
const TABLE: [u8; PLACES] = {
    let mut table = [0; PLACES];
    let mut at = 0;
    while at < HeaderId::NAMES.len() {
        let mut to = place(HeaderId::NAMES[at].0.as_bytes());
        while table[to] != 0 {
            to = (to + 1) % PLACES;
        }
        table[to] = at as u8 + 1;
        at += 1;
    }
    table
};

impl HeaderId {
    /// From the name on the wire, long or compact, in any case.
    pub fn of(name: &[u8]) -> HeaderId {
        if name.is_empty() {
            return HeaderId::Other;
        }
        let mut at = place(name);
        while let Some(number) = TABLE[at].checked_sub(1) {
            let (known, id) = HeaderId::NAMES[usize::from(number)];
            // Mostly it is written as the standard writes it.
            if name == known.as_bytes() || name.eq_ignore_ascii_case(known.as_bytes()) {
                return id;
            }
            at = (at + 1) % PLACES;
        }
        HeaderId::Other
    }

    /// Whether the value is a comma list of values, each as good as a line of its own.
    pub fn is_list(self) -> bool {
        self.shape() == Shape::List
    }

    /// Whether a second one makes the message malformed (RFC 3261 §7.3.1).
    pub const fn is_single(self) -> bool {
        matches!(self.shape(), Shape::One)
    }
}

/// Names of headers; all that have no number are one.
#[derive(Clone, Copy, Debug)]
pub struct HeaderSet(u128);

const _: () = assert!(HeaderId::KNOWN.len() < 128);

impl HeaderSet {
    pub const NONE: HeaderSet = HeaderSet(0);

    /// See [`HeaderId::is_single`].
    pub(super) const SINGLE: HeaderSet = {
        let (mut set, mut at) = (HeaderSet::NONE, 0);
        while at < HeaderId::KNOWN.len() {
            if HeaderId::KNOWN[at].is_single() {
                set = set.with(HeaderId::KNOWN[at]);
            }
            at += 1;
        }
        set
    };

    pub const fn with(self, id: HeaderId) -> HeaderSet {
        HeaderSet(self.0 | 1 << id as u8)
    }

    pub const fn contains(self, id: HeaderId) -> bool {
        self.0 & 1 << id as u8 != 0
    }

    pub const fn or(self, other: HeaderSet) -> HeaderSet {
        HeaderSet(self.0 | other.0)
    }

    /// Whether a name is in both.
    pub const fn meets(self, other: HeaderSet) -> bool {
        self.0 & other.0 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sip_header_names_long_compact_and_in_any_case() {
        assert_eq!(HeaderId::of(b"v"), HeaderId::Via);
        assert_eq!(HeaderId::of(b"cAlL-iD"), HeaderId::CallId);
        assert_eq!(HeaderId::of(b"I"), HeaderId::CallId);
        assert_eq!(HeaderId::of(b"X-Odd"), HeaderId::Other);
        assert_eq!(HeaderId::of(b""), HeaderId::Other);
        for (name, id) in HeaderId::NAMES {
            assert_eq!(HeaderId::of(name.to_ascii_uppercase().as_bytes()), *id);
        }
        for id in HeaderId::KNOWN {
            assert_eq!(HeaderId::of(id.name().as_bytes()), *id);
        }
    }
}
