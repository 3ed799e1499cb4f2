//! Ordinary SIP: one message of each kind, in several spellings. The programs of changes start from these and from
//! [`super::history`].

use super::history;

pub const INVITE: &[u8] = b"INVITE sip:bob@rack.test SIP/2.0\r\n\
Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK776asdhds;rport\r\n\
Max-Forwards: 70\r\n\
From: \"Alice, \\\"A\\\"\" <sip:alice@rack.test>;tag=1928301774\r\n\
To: Bob <sip:bob@rack.test>\r\n\
Call-ID: a84b4c76e66710@10.0.0.1\r\n\
CSeq: 314159 INVITE\r\n\
Contact: <sip:alice@10.0.0.1:5060;transport=udp>;+sip.instance=\"<urn:uuid:f81d4fae-7dec>\"\r\n\
Allow: INVITE, ACK, CANCEL, BYE\r\n\
Supported: 100rel, timer, path\r\n\
Session-Expires: 1800;refresher=uac\r\n\
Content-Type: application/sdp\r\n\
Content-Length: 45\r\n\
\r\n\
v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nt=0 0\r\n\r\n\r\n";

pub const COMPACT: &[u8] = b"INVITE sips:+1-201-555;phone-context=x@rack.test:5061;user=phone SIP/2.0\r\n\
v: SIP / 2.0 / UDP first.example.com:4000;ttl=16\r\n ;maddr=224.2.0.1 ;branch=z9hG4bKa7c6a8dlze.1,\r\n\
 SIP/2.0/TCP [2001:db8::9]:5060;received=2001:db8::10;branch=1\r\n\
f: sip:caller@[2001:db8::1];tag=323\r\n\
t: \"x\" <sip:vivekg@rack.test;method=REGISTER>;tag=b\r\n\
i: 98asdj7\r\n\
l:0\r\n\
CSeq: 0009\r\n  INVITE\r\n\
m:\"Quoted string \\\"\\\"\" <sip:jdrosen@example.com>;q=0.7;newparam = newvalue,\r\n tel:4443322\r\n\
Route: <sip:192.0.2.1;lr;sr=EQEAAQAAAAA>, <sip:services.example.com;lr;unknownwith=value>\r\n\
s: folded\r\n\tsubject\r\n\
NewFangledHeader:   newfangled value\r\n continued\r\n\
\r\n";

pub const REGISTER: &[u8] = b"REGISTER sip:safe.test SIP/2.0\r\n\
Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKr1;rport\r\n\
Max-Forwards: 70\r\n\
From: <sip:1001@safe.test>;tag=r\r\n\
To: <sip:1001@safe.test>\r\n\
Call-ID: register@10.0.0.1\r\n\
CSeq: 2 REGISTER\r\n\
Contact: <sip:1001@10.0.0.1:5060>;q=0.5;expires=60, <sip:1001@10.0.0.1:5062>;reg-id=1\r\n\
Authorization: Digest username=\"1001\", realm=\"safe.test\", nonce=\"AAAA\", uri=\"sip:safe.test\", \
response=\"00000000000000000000000000000000\", algorithm=MD5, cnonce=\"x\", qop=auth, nc=00000001\r\n\
Path: <sip:edge.example.com;lr;ob>\r\n\
Expires: 3600\r\n\
Content-Length: 0\r\n\r\n";

pub const UNREGISTER: &[u8] = b"REGISTER sip:rack.test SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKr2\r\n\
From: sip:1001@rack.test;tag=r\r\nTo: sip:1001@rack.test\r\nCall-ID: r\r\nCSeq: 3 REGISTER\r\nContact: *\r\nExpires: 0\r\n\r\n";

pub const RINGING: &[u8] = b"SIP/2.0 180 Ringing\r\n\
Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1AAAAAAAAAAABBBBBBBB;sr=EQEAAQAAAAA\r\n\
Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK776asdhds;rport=5060;received=10.0.0.1\r\n\
Record-Route: <sip:192.0.2.1:5060;lr;sr=EgEAAQAAAAAAAAAAAAAAAAEAB0EAB>\r\n\
From: <sip:alice@rack.test>;tag=1928301774\r\n\
To: <sip:bob@rack.test>;tag=b\r\n\
Call-ID: a84b4c76e66710@10.0.0.1\r\n\
CSeq: 314159 INVITE\r\n\
Contact: <sip:bob@10.0.0.2:5060>\r\n\
Require: 100rel\r\nRSeq: 1\r\n\
Content-Length: 0\r\n\r\n";

pub const MOVED: &[u8] = b"SIP/2.0 302 \r\nv: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx,SIP/2.0/UDP 10.0.0.1\r\n\
f: <sip:a@b>;tag=1\r\nt: <sip:c@d>;tag=2\r\ni: x\r\nCSeq: 1 INVITE\r\n\
m: <sip:e@f>;q=1.0, \"g\" <sip:h@i>;q=0.25;expires=5\r\nRetry-After: 120 (busy (very)) ;duration=60\r\n\r\n";

pub const CHALLENGE: &[u8] = b"SIP/2.0 407 Proxy Authentication Required\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx\r\n\
From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\n\
Proxy-Authenticate: Digest realm=\"rack.test\", nonce=\"x/y==\", stale=true, algorithm=SHA-256, qop=\"auth,auth-int\"\r\n\
WWW-Authenticate: Digest realm=\"o\\\"k\", nonce=\"n\"\r\nContent-Length: 0\r\n\r\n";

pub const BYE: &[u8] = b"BYE sip:bob@10.0.0.2:5060 SIP/2.0\r\n\
Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKbye\r\nRoute: <sip:192.0.2.1:5060;lr;sr=EgEAAQ>\r\n\
Max-Forwards: 1\r\nFrom: <sip:alice@rack.test>;tag=1928301774\r\nTo: <sip:bob@rack.test>;tag=b\r\n\
Call-ID: a84b4c76e66710@10.0.0.1\r\nCSeq: 314160 BYE\r\nReason: Q.850;cause=16;text=\"bye\"\r\nContent-Length: 0\r\n\r\n";

pub const STRICT: &[u8] = b"REFER sip:192.0.2.1:5060;lr;sr=EgEAAQ SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1\r\n\
Route: <sip:10.0.0.2>, <sip:bob@10.0.0.2:5060?Subject=x>\r\nFrom: <sip:a@b>;tag=1\r\nTo: <tel:+1201555;ext=1>;tag=2\r\n\
Call-ID: s\r\nCSeq: 7 REFER\r\nRefer-To: <sip:c@d?Replaces=x%40y%3Bto-tag%3D1>\r\nMax-Breadth: 4\r\nProxy-Require: sec-agree\r\n\r\n";

pub const MESSAGE: &[u8] =
    b"MESSAGE sip:%62ob@RACK.test;x=%41?y=z&a=b SIP/2.0\r\nVia: SIP/2.0/WSS host;branch=z9hG4bKm\r\n\
From: <sip:a@b>;tag=1\r\nTo: <sip:b@c>\r\nCall-ID: m\r\nCSeq: 1 MESSAGE\r\nExpires: 4294967296\r\n\
Content-Type: multipart/mixed;boundary=\"x\"\r\nContent-Length: 9\r\n\r\n--x\r\n\0\xff\r\nTRAILING";

/// All of them with the bug classes of history: what a program of changes starts from.
pub fn messages() -> Vec<&'static [u8]> {
    let own = [INVITE, COMPACT, REGISTER, UNREGISTER, RINGING, MOVED, CHALLENGE, BYE, STRICT, MESSAGE];
    own.into_iter().chain(history::SEEDS.iter().map(|seed| seed.octets)).collect()
}

/// Values of headers, and URIs, for the targets that read one value.
pub const VALUES: &[&[u8]] = &[
    b"SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK776asdhds;rport;received=10.9.8.7",
    b"SIP / 2.0 / TLS  [2001:db8::9] : 5061 ; received = [::1];maddr=224.2.0.1;ttl=1;x=\"y;z\"",
    b"\"Alice, \\\"A\\\"\" <sip:alice@rack.test;tag=no?x=y>;tag=1928301774;q=0.5;expires=60",
    b"sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n",
    b"*",
    b"314159 INVITE",
    b"120 (busy (very)) ;duration=60",
    b"Digest username=\"1001\", realm=\"safe.test\", nonce=\"AAAA\", uri=\"sip:safe.test;x=\\\"1\\\"\", \
      response=\"00000000000000000000000000000000\", algorithm=MD5, cnonce=\"x\", qop=auth, nc=00000001, opaque=\"\"",
    b"Digest realm=\"rack.test\", nonce=\"x/y==\", stale=true, algorithm=SHA-256, qop=\"auth,auth-int\"",
    b"<sip:192.0.2.1;lr;sr=EQEAAQAAAAA>, <sip:services.example.com;lr;unknownwith=value>",
    b"Digest username=\"a\", username=\"b\", realm=x, nonce=, uri=\"\r\n \", response=\"",
];

pub const URIS: &[&[u8]] = &[
    b"sip:alice@rack.test",
    b"sips:alice:pw@[2001:db8::1]:5071;transport=tls;lr?Subject=x&body=%41",
    b"sip:%61lice;par=u%40example.net@RACK.test:5060;Transport=UDP;x=%41",
    b"sip:+1(201)555-0123;phone-context=x@rack.test;user=phone",
    b"tel:+1-201-555-0123;phone-context=example.com",
    b"sip:rack.test.",
    b"urn:service:sos",
    b"sip:a%00b@rack.test",
    b"sip:%%34%30@rack.test",
    b"sip:%40@rack.test",
];
