//! What has brought down SIP servers: a seed for each bug class. Each says whose bug it was and what
//! it did there. Where a bug is one of state, of a stream or of load, the seed is its message, and the place named
//! in `also` has the sequence. Every target of SIP text eats all of them first, unchanged.

pub struct Seed {
    /// The number under which it is known, or the advisory.
    pub origin: &'static str,
    /// What was wrong there.
    pub was: &'static str,
    /// Further target that has the part of it that is no single message; empty if there is none.
    pub also: &'static str,
    pub octets: &'static [u8],
}

macro_rules! request {
    ($method:literal $uri:literal, $via:literal, $from:literal, $to:literal, $more:literal) => {
        concat!(
            $method,
            " ",
            $uri,
            " SIP/2.0\r\nVia: ",
            $via,
            "\r\nMax-Forwards: 70\r\nFrom: ",
            $from,
            "\r\nTo: ",
            $to,
            "\r\nCall-ID: history\r\nCSeq: 1 ",
            $method,
            "\r\n",
            $more,
            "\r\n"
        )
        .as_bytes()
    };
}

pub const SEEDS: &[Seed] = &[
    Seed {
        origin: "CVE-2018-8828",
        was: "Kamailio: a REGISTER whose branch and From tag fill a buffer exactly wrote one octet behind it",
        also: "node",
        octets: request!("REGISTER" "sip:rack.test", "SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000", "<sip:1001@rack.test>;tag=0000000000000000000000000000000000000000000000000000000000000000", "<sip:1001@rack.test>", "Content-Length: 0\r\n"),
    },
    Seed {
        origin: "CVE-2018-14767",
        was: "Kamailio: two To headers, one with an empty tag, read a pointer that nobody had set",
        also: "node",
        octets: request!("INVITE" "sip:bob@rack.test", "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKa", "<sip:a@rack.test>;tag=1", "<sip:bob@rack.test>;tag=", "To: <sip:bob@rack.test>\r\nContent-Length: 0\r\n"),
    },
    Seed {
        origin: "CVE-2020-27507",
        was: "Kamailio: an INVITE with fields twice and an over-long tag overran a buffer",
        also: "node",
        octets: request!("INVITE" "sip:bob@rack.test", "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKa;branch=z9hG4bKb", "<sip:a@rack.test>;tag=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "<sip:bob@rack.test>", "From: <sip:a@rack.test>;tag=2\r\nCall-ID: again\r\nCSeq: 2 INVITE\r\n"),
    },
    Seed {
        origin: "CVE-2017-9372",
        was: "PJSIP in Asterisk: a CSeq with a long method and a Via without branch overran the buffer of a transaction key",
        also: "node",
        octets: b"INVITE sip:bob@rack.test SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1\r\nFrom: <sip:a@rack.test>;tag=1\r\nTo: <sip:bob@rack.test>\r\nCall-ID: history\r\nCSeq: 4294967295 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\r\n\r\n",
    },
    Seed {
        origin: "CVE-2023-28098",
        was: "OpenSIPS: an Authorization that ends within a parameter's name was read behind its end",
        also: "digest",
        octets: request!("REGISTER" "sip:safe.test", "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKa", "<sip:1001@safe.test>;tag=1", "<sip:1001@safe.test>", "Authorization: Digest username=\"1001\", rea\r\nContent-Length: 0\r\n"),
    },
    Seed {
        origin: "CVE-2022-24754",
        was: "PJSIP: a digest longer than 32 characters was copied into 32",
        also: "digest",
        octets: request!("INVITE" "sip:1002@safe.test", "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKa", "<sip:1001@safe.test>;tag=1", "<sip:1002@safe.test>", "Proxy-Authorization: Digest username=\"1001\", realm=\"safe.test\", nonce=\"\", uri=\"sip:1002@safe.test\", response=\"00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000\", cnonce=\"\", nc=000000001, qop=auth\r\n"),
    },
    Seed {
        origin: "CVE-2026-45537",
        was: "the class: a URI that does not print as it was read, so that two readers take it for two addresses",
        also: "uri",
        octets: request!("INVITE" "sip:%62ob%40safe.test;x@rack.test:05060;;lr=?a=b&", "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKa", "<sip:%%34%30@rack.test>;tag=1", "<sip:b%6Fb:@rack.test:5060>", ""),
    },
    Seed {
        origin: "CVE-2026-45103",
        was: "the class: a Content-Length that wraps around makes the next octets of a stream a message of their own",
        also: "message",
        octets: request!("MESSAGE" "sip:bob@rack.test", "SIP/2.0/TCP 10.0.0.1;branch=z9hG4bKa", "<sip:a@rack.test>;tag=1", "<sip:bob@rack.test>", "Content-Length: 18446744073709551617\r\n"),
    },
    Seed {
        origin: "CVE-2026-49840",
        was: "the class: a negative Content-Length on a stream ends the message before its head",
        also: "message",
        octets: request!("MESSAGE" "sip:bob@rack.test", "SIP/2.0/TCP 10.0.0.1;branch=z9hG4bKa", "<sip:a@rack.test>;tag=1", "<sip:bob@rack.test>", "l: -1\r\n"),
    },
    Seed {
        origin: "CVE-2026-23457",
        was: "Linux nf_conntrack_sip: a Content-Length above 2^32 was cut to 32 bits, what follows read as a second message",
        also: "message",
        octets: request!("MESSAGE" "sip:bob@rack.test", "SIP/2.0/TCP 10.0.0.1;branch=z9hG4bKa", "<sip:a@rack.test>;tag=1", "<sip:bob@rack.test>", "Content-Length: 4294967328\r\n"),
    },
    Seed {
        origin: "CVE-2018-7286",
        was: "Asterisk: connections that close during a flood of INVITEs left their transactions behind",
        also: "node",
        octets: request!("INVITE" "sip:bob@rack.test", "SIP/2.0/TCP 10.0.0.1:9;branch=z9hG4bKflood", "<sip:a@rack.test>;tag=1", "<sip:bob@rack.test>", "Contact: <sip:a@10.0.0.1:9;transport=tcp>\r\n"),
    },
    Seed {
        origin: "CVE-2021-31878",
        was: "Asterisk: a re-INVITE without SDP behind the BYE of its dialog crashed it",
        also: "node",
        octets: b"INVITE sip:bob@10.0.0.2 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKre\r\nRoute: <sip:192.0.2.1;lr;sr=EgEAAQ>\r\nFrom: <sip:a@rack.test>;tag=1\r\nTo: <sip:bob@rack.test>;tag=b\r\nCall-ID: history\r\nCSeq: 3 INVITE\r\nContent-Length: 0\r\n\r\n",
    },
    Seed {
        origin: "CVE-2022-23608",
        was: "PJSIP: of a forked call, the first dialog's end freed what the second one used",
        also: "node",
        octets: b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKf\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKa\r\nFrom: <sip:a@rack.test>;tag=1\r\nTo: <sip:bob@rack.test>;tag=second\r\nCall-ID: history\r\nCSeq: 1 INVITE\r\n\r\n",
    },
    Seed {
        origin: "CVE-2020-28242",
        was: "Asterisk: an INVITE answered 401 again and again with another nonce was repeated without end",
        also: "node",
        octets: b"SIP/2.0 401 Unauthorized\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKf\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKa\r\nFrom: <sip:a@rack.test>;tag=1\r\nTo: <sip:bob@rack.test>;tag=b\r\nCall-ID: history\r\nCSeq: 1 INVITE\r\nWWW-Authenticate: Digest realm=\"x\", nonce=\"again\"\r\n\r\n",
    },
    Seed {
        origin: "CVE-2021-37624",
        was: "FreeSWITCH: MESSAGE was delivered without authentication",
        also: "strangers",
        octets: request!("MESSAGE" "sip:1001@safe.test", "SIP/2.0/UDP 10.0.0.66;branch=z9hG4bKa", "<sip:1002@safe.test>;tag=1", "<sip:1001@safe.test>", "Content-Length: 0\r\n"),
    },
    Seed {
        origin: "CVE-2021-41157",
        was: "FreeSWITCH: SUBSCRIBE was taken without authentication",
        also: "strangers",
        octets: request!("SUBSCRIBE" "sip:1001@safe.test", "SIP/2.0/UDP 10.0.0.66;branch=z9hG4bKa", "<sip:1002@safe.test>;tag=1", "<sip:1001@safe.test>", "Event: presence\r\nExpires: 3600\r\nContact: <sip:x@10.0.0.66>\r\n"),
    },
    Seed {
        origin: "CVE-2020-28361",
        was: "Kamailio: white space before the colon hid a header from those who remove it",
        also: "edit",
        octets: request!("INVITE" "sip:bob@rack.test", "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKa", "<sip:a@rack.test>;tag=1", "<sip:bob@rack.test>", "P-Asserted-Identity : <sip:boss@rack.test>\r\nP-Asserted-Identity\t: <sip:boss@rack.test>\r\n"),
    },
    Seed {
        origin: "AST-2016-009 (CVE-2016-9938)",
        was: "Asterisk: control characters before the colon passed for white space, so a second To hid from the proxy before it",
        also: "message",
        octets: request!("INVITE" "sip:bob@rack.test", "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKa", "<sip:a@rack.test>;tag=1", "<sip:bob@rack.test>", "To\x0b: <sip:bob@rack.test>;tag=x\r\n"),
    },
    Seed {
        origin: "CVE-2021-41145",
        was: "FreeSWITCH: a flood of requests with ever new Call-IDs filled the memory",
        also: "strangers",
        octets: request!("OPTIONS" "sip:safe.test", "SIP/2.0/UDP 10.0.0.66;branch=z9hG4bKflood", "<sip:x@safe.test>;tag=1", "<sip:safe.test>", ""),
    },
    Seed {
        origin: "AST-2016-005",
        was: "Asterisk: connections that never said anything used up the file descriptors; the first octets of such a one",
        also: "scan",
        octets: b"\r\n\r\n",
    },
    Seed {
        origin: "CVE-2026-45538",
        was: "OpenSIPS: a message turned into JSON brought it down; the class: octets that an encoder does not expect",
        also: "reply",
        octets: b"INVITE sip:bob@rack.test SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKa\r\nFrom: \"\\\x01\x1b[2J\xff\" <sip:a@rack.test>;tag=\"1\r\nTo: <sip:bob@rack.test>\r\nCall-ID: his\ttory\"}\xc3\x28\r\nCSeq: 1 INVITE\r\nSubject: \0\x08\r\n\r\n",
    },
    Seed {
        origin: "CVE-2026-45100",
        was: "the class: a name from the network written into another format without escaping",
        also: "reply",
        octets: request!("INVITE" "sip:%0d%0aVia:%20x@rack.test", "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK\";x=\"", "\"%0d%0a\" <sip:a%22%2c@rack.test>;tag=1%0d%0a", "<sip:bob@rack.test>", "Reason: Q.850;text=\"\\\",\\\"x\\\":1\"\r\n"),
    },
    Seed {
        origin: "CVE-2021-43611",
        was: "belle-sip: a display name that ends with a backslash was read behind its end",
        also: "headers",
        octets: request!("INVITE" "sip:bob@rack.test", "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKa", "\"a\\\" <sip:a@rack.test>;tag=1", "\"\\", ""),
    },
];

#[test]
fn each_seed_says_what_it_was_and_where_its_sequence_is() {
    let targets = ["", "scan", "message", "headers", "uri", "edit", "reply", "digest", "node", "strangers"];
    for seed in SEEDS {
        assert!(!seed.was.is_empty() && !seed.octets.is_empty(), "{}", seed.origin);
        assert!(targets.contains(&seed.also), "{}: {}", seed.origin, seed.also);
    }
}
