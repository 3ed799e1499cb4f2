//! Messages of RFC 4475 §3.1.1 that every element must accept, and a few of §3.1.2 that it may refuse with an answer.
#![allow(clippy::unwrap_used)]

use common::sip::{Edit, Limits, Listeners, Scan, SipMessage, scan};

const SDP: &str = "v=0\no=mhandley 29739 7272939 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\n\
    m=audio 49217 RTP/AVP 0 12\nm=video 3227 RTP/AVP 31\na=rtpmap:31 LPC\n";

fn octets(text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n").into_bytes()
}

fn parse(octets: &[u8]) -> SipMessage {
    SipMessage::parse(octets.to_vec().into(), &Limits::default()).unwrap()
}

/// Parsed, valid, scanned with the same Call-ID, and unchanged by an edit without patches.
fn accepted(octets: &[u8]) -> SipMessage {
    let message = parse(octets);
    assert_eq!(message.validate(), Ok(()));
    let Scan::Sip(scanned) = scan(octets, &Listeners::default()) else { panic!("the scan refuses it") };
    assert_eq!(scanned.call_id, message.call_id());
    assert_eq!(Edit::new(&message).finish(), message.trimmed_bytes());
    message
}

fn refused(text: &str) -> (u16, String) {
    let invalid = parse(&octets(text)).validate().unwrap_err();
    (invalid.status, invalid.reason)
}

#[test]
fn sip_torture_wsinv() {
    let m = accepted(&octets(&format!(
        "INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0\nTO :\n sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n\n\
         from   : \"J Rosenberg \\\\\\\"\"       <sip:jdrosen@example.com>\n  ;\n  tag = 98asjd8\nMaX-fOrWaRdS: 0068\n\
         Call-ID: wsinv.ndaksdj@192.0.2.1\nContent-Length   : 150\ncseq: 0009\n  INVITE\nVia  : SIP  /   2.0\n /UDP\n    192.0.2.2;branch=390skdjuw\n\
         s :\nNewFangledHeader:   newfangled value\n continued newfangled value\nUnknownHeaderWithUnusualValue: ;;,,;;,;\n\
         Content-Type: application/sdp\nRoute:\n <sip:services.example.com;lr;unknownwith=value;unknown-no-value>\n\
         v:  SIP  / 2.0  / TCP     spindle.example.com   ;\n  branch  =   z9hG4bK9ikj8  ,\n SIP  /    2.0   / UDP  192.168.255.111   ; branch=\n z9hG4bK30239\n\
         m:\"Quoted string \\\"\\\"\" <sip:jdrosen@example.com> ; newparam =\n      newvalue ;\n  secondparam ; q = 0.33\n\n{SDP}"
    )));
    assert_eq!((m.to_tag(), m.from_tag(), m.cseq().unwrap().number), (Some("1918181833n"), Some("98asjd8"), 9));
    let vias: Vec<_> = m.vias().unwrap().iter().map(|v| (v.transport, v.host, v.branch())).collect();
    assert_eq!(
        vias,
        [
            ("UDP", "192.0.2.2", Some("390skdjuw")),
            ("TCP", "spindle.example.com", Some("z9hG4bK9ikj8")),
            ("UDP", "192.168.255.111", Some("z9hG4bK30239"))
        ]
    );
    let contact = m.contacts().unwrap()[0].addr().unwrap();
    assert_eq!(
        (contact.param("newparam"), contact.param("secondparam"), contact.q_thousandths()),
        (Some(Some("newvalue")), Some(None), Ok(Some(330)))
    );
    assert_eq!(
        (m.max_forwards(), m.routes().unwrap()[0].uri().unwrap().sip().unwrap().is_loose()),
        (Ok(Some(68)), true)
    );
    assert_eq!(m.body().len(), 150);
}

#[test]
fn sip_torture_intmeth() {
    let text = "!interesting-Method0123456789_*+`.%indeed'~ sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com SIP/2.0\n\
        Via: SIP/2.0/TCP host1.example.com;branch=z9hG4bK-.!%66*_+`'~\n\
        To: \"BEL:\\\x07 NUL:\\\0 DEL:\\\x7f\" <sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@example.com>\n\
        From: token1~` token2'+_ token3*%!.- <sip:mundane@example.com>;fromParam''~+*_!.-%=\"работающий\";tag=_token~1'+`*%!-.\n\
        Call-ID: intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{\nCSeq: 139122385 !interesting-Method0123456789_*+`.%indeed'~\n\
        Max-Forwards: 255\nextensionHeader-!.%*+_`'~:\u{feff}大停電\nContent-Length: 0\n\n";
    let m = accepted(&octets(text));
    assert_eq!((m.method().as_str(), m.method().label()), ("!interesting-Method0123456789_*+`.%indeed'~", "OTHER"));
    let uri = m.uri().unwrap().sip().unwrap();
    assert_eq!((uri.user, uri.host), (Some("1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"), "example.com"));
    assert_eq!(uri.password, Some("&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"));
    assert_eq!((m.from_tag(), m.top_via().unwrap().branch()), (Some("_token~1'+`*%!-."), Some("z9hG4bK-.!%66*_+`'~")));
    assert_eq!(m.header_named("extensionHeader-!.%*+_`'~"), Some("\u{feff}大停電".as_bytes()));
}

#[test]
fn sip_torture_esc01() {
    let m = accepted(&octets(&format!(
        "INVITE sip:sips%3Auser%40example.com@example.net SIP/2.0\nTo: sip:%75se%72@example.com\nFrom: <sip:I%20have%20spaces@example.net>;tag=938\n\
         Max-Forwards: 87\ni: esc01.239409asdfakjkn23onasd0-3234\nCSeq: 234234 INVITE\nVia: SIP/2.0/UDP host5.example.net;branch=z9hG4bKkdjuw\n\
         C: application/sdp\nContact:\n  <sip:cal%6Cer@host5.example.net;%6C%72;n%61me=v%61lue%25%34%31>\nContent-Length: 150\n\n{SDP}"
    )));
    let user = |uri: common::sip::Uri<'_>| uri.sip().unwrap().user_unescaped().unwrap().into_owned();
    assert_eq!(user(m.uri().unwrap()), "sips:user@example.com");
    assert_eq!(user(m.to().unwrap().uri().unwrap()), "user");
    assert_eq!(user(m.from().unwrap().uri().unwrap()), "I have spaces");
    assert_eq!(user(m.contacts().unwrap()[0].addr().unwrap().uri().unwrap()), "caller");
}

#[test]
fn sip_torture_escnull_and_esc02() {
    let m = accepted(&octets(
        "REGISTER sip:example.com SIP/2.0\nTo: sip:null-%00-null@example.com\nFrom: sip:null-%00-null@example.com;tag=839923423\nMax-Forwards: 70\n\
         Call-ID: escnull.39203ndfvkjdasfkq3w4otrq0adsfdfnavd\nCSeq: 14398234 REGISTER\nVia: SIP/2.0/UDP host5.example.com;branch=z9hG4bKkdjuw\n\
         Contact: <sip:%00@host5.example.com>\nContact: <sip:%00%00@host5.example.com>\nL:0\n\n",
    ));
    let users: Vec<_> = m
        .contacts()
        .unwrap()
        .iter()
        .map(|c| c.addr().unwrap().uri().unwrap().sip().unwrap().user_unescaped().unwrap().len())
        .collect();
    assert_eq!(users, [1, 2]);
    let m = accepted(&octets(
        "RE%47IST%45R sip:registrar.example.com SIP/2.0\nTo: \"%Z%45\" <sip:resource@example.com>\nFrom: \"%Z%45\" <sip:resource@example.com>;tag=f232jadfj23\n\
         Call-ID: esc02.asdfnqwo34rq23i34jrjasdcnl23nrlknsdf\nVia: SIP/2.0/TCP host.example.com;branch=z9hG4bK209%fzsnel234\n\
         CSeq: 29344 RE%47IST%45R\nMax-Forwards: 70\nContact: <sip:alias1@host1.example.com>\nC%6Fntact: <sip:alias2@host2.example.com>\n\
         Contact: <sip:alias3@host3.example.com>\nl: 0\n\n",
    ));
    assert_eq!((m.method().as_str(), m.contacts().unwrap().len()), ("RE%47IST%45R", 2));
}

#[test]
fn sip_torture_lwsdisp() {
    let m = accepted(&octets(
        "OPTIONS sip:user@example.com SIP/2.0\nTo: sip:user@example.com\nFrom: caller<sip:caller@example.com>;tag=323\nMax-Forwards: 70\n\
         Call-ID: lwsdisp.1234abcd@funky.example.com\nCSeq: 60 OPTIONS\nVia: SIP/2.0/UDP funky.example.com;branch=z9hG4bKkdjuw\nl: 0\n\n",
    ));
    assert_eq!((m.from().unwrap().display, m.from_tag()), (Some("caller"), Some("323")));
}

#[test]
fn sip_torture_longreq() {
    let caller = "amazinglylongcallername".repeat(5);
    let mut text = format!(
        "INVITE sip:user@example.com SIP/2.0\nTo: \"I have a user name of {} proportion\" <sip:user@example.com:6000;unknownparam1=very{}value;\
         longparam{}=shortvalue;very{}ParameterNameWithNoValue>\nF: sip:{caller}@example.net;tag=12{}424;unknownheaderparam{}=unknowheaderparam{};\
         unknownValueless{}\nCall-ID: longreq.one{}longcallid\nCSeq: 3882340 INVITE\nUnknown-{}-Name: unknown-{}-value;unknown-{}-parameter-name=unknown-{}-parameter-value\n",
        "extreme".repeat(10),
        "long".repeat(20),
        "name".repeat(25),
        "long".repeat(25),
        "982".repeat(50),
        "name".repeat(20),
        "value".repeat(15),
        "paramname".repeat(10),
        "really".repeat(20),
        "Long".repeat(20),
        "long".repeat(20),
        "long".repeat(20),
        "long".repeat(20)
    );
    let spelled = [
        "Via: ", "v: ", "V: ", "Via: ", "ViA: ", "VIa: ", "VIA: ", "via: ", "viA: ", "vIa: ", "vIA: ", "V :  ",
        "v :  ", "V  : ", "v  : ", "Via : ", "Via  : ",
    ];
    for n in (1..=33).rev() {
        text += &format!("{}SIP/2.0/TCP sip{n}.example.com\n", spelled.get(33 - n).unwrap_or(&"Via: "));
    }
    text += &format!(
        "Via: SIP/2.0/TCP host.example.com;received=192.0.2.5;branch=very{}branchvalue\nMax-Forwards: 70\nContact: <sip:{caller}@host5.example.net>\n\
         Content-Type: application/sdp\nl: 150\n\n{SDP}",
        "long".repeat(50)
    );
    let m = accepted(&octets(&text));
    assert_eq!((m.vias().unwrap().len(), m.top_via().unwrap().host), (34, "sip33.example.com"));
    assert_eq!(m.from_tag().map(str::len), Some(155));
}

#[test]
fn sip_torture_dblreq_is_cut_at_content_length() {
    let m = accepted(&octets(
        "REGISTER sip:example.com SIP/2.0\nTo: sip:j.user@example.com\nFrom: sip:j.user@example.com;tag=43251j3j324\nMax-Forwards: 8\n\
         I: dblreq.0ha0isndaksdj99sdfafnl3lk233412\nContact: sip:j.user@host.example.com\nCSeq: 8 REGISTER\n\
         Via: SIP/2.0/UDP 192.0.2.125;branch=z9hG4bKkdjuw23492\nContent-Length: 0\n\nINVITE sip:joe@example.com SIP/2.0\nt: sip:joe@example.com\n\n",
    ));
    assert!(m.body().is_empty() && m.trimmed_bytes().ends_with(b"Content-Length: 0\r\n\r\n"));
}

#[test]
fn sip_torture_semiuri() {
    let m = accepted(&octets(
        "OPTIONS sip:user;par=u%40example.net@example.com SIP/2.0\nTo: sip:j_user@example.com\nFrom: sip:caller@example.org;tag=33242\nMax-Forwards: 3\n\
         Call-ID: semiuri.0ha0isndaksdj\nCSeq: 8 OPTIONS\nAccept: application/sdp, application/pkcs7-mime,\n        multipart/mixed, multipart/signed,\n\
         \x20       message/sip, message/sipfrag\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKkdjuw\nl: 0\n\n",
    ));
    let uri = m.uri().unwrap().sip().unwrap();
    assert_eq!(
        (uri.user_unescaped().as_deref(), uri.host, uri.params.is_empty()),
        (Some("user;par=u@example.net"), "example.com", true)
    );
    assert_eq!(m.texts(common::sip::HeaderId::Accept).count(), 6);
}

#[test]
fn sip_torture_transports() {
    let m = accepted(&octets(
        "OPTIONS sip:user@example.com SIP/2.0\nTo: sip:user@example.com\nFrom: <sip:caller@example.com>;tag=323\nMax-Forwards: 70\n\
         Call-ID:  transports.kijh4akdnaqjkwendsasfdj\nAccept: application/sdp\nCSeq: 60 OPTIONS\nVia: SIP/2.0/UDP t1.example.com;branch=z9hG4bKkdjuw\n\
         Via: SIP/2.0/SCTP t2.example.com;branch=z9hG4bKklasjdhf\nVia: SIP/2.0/TLS t3.example.com;branch=z9hG4bK2980unddj\n\
         Via: SIP/2.0/UNKNOWN t4.example.com;branch=z9hG4bKasd0f3en\nVia: SIP/2.0/TCP t5.example.com;branch=z9hG4bK0a9idfnee\nl: 0\n\n",
    ));
    let transports: Vec<_> = m.vias().unwrap().iter().map(|v| v.transport).collect();
    assert_eq!(transports, ["UDP", "SCTP", "TLS", "UNKNOWN", "TCP"]);
}

#[test]
fn sip_torture_mpart01_with_a_binary_part() {
    // The RFC's second part is an S/MIME signature; any octets serve, NUL, line ends and what is no UTF-8 among them.
    let mut body = octets(
        "--7a9cbec02ceef655\nContent-Type: text/plain\nContent-Transfer-Encoding: binary\n\nHello\n--7a9cbec02ceef655\n\
        Content-Type: application/octet-stream\nContent-Transfer-Encoding: binary\n\n",
    );
    body.extend((0..=255u8).chain(*b"\r\n\r\n\0\0\r\rVia: x\r\n"));
    body.extend(octets("\n--7a9cbec02ceef655--\n"));
    let mut message = octets(&format!(
        "MESSAGE sip:kumiko@example.org SIP/2.0\nVia: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK-d87543-4dade06d0bdb11ee-1--d87543-;rport\nMax-Forwards: 70\n\
         Route: <sip:127.0.0.1:5080>\nContact: <sip:fluffy@127.0.0.1:5070>\nTo: <sip:kumiko@example.org>\nFrom: <sip:fluffy@example.com>;tag=2fb0dcc9\n\
         Call-ID: 3d9485ad0c49859b@Zmx1ZmZ5LW1hYy0xNi5sb2NhbA..\nCSeq: 1 MESSAGE\nContent-Transfer-Encoding: binary\n\
         Content-Type: multipart/mixed;boundary=7a9cbec02ceef655\nDate: Sat, 15 Oct 2005 04:44:56 GMT\nUser-Agent: SIPimp.org/0.2.5 (curses)\n\
         Content-Length: {}\n\n",
        body.len()
    ));
    message.extend_from_slice(&body);
    let m = accepted(&message);
    assert_eq!(m.body(), body);
}

#[test]
fn sip_torture_unreason_and_noreason() {
    let m = accepted(&octets(&format!(
        "SIP/2.0 200 = 2**3 * 5**2 но сто девяносто девять - простое\nVia: SIP/2.0/UDP 192.0.2.198;branch=z9hG4bK1324923\n\
         Call-ID: unreason.1234ksdfak3j2erwedfsASdf\nCSeq: 35 INVITE\nFrom: sip:user@example.com;tag=11141343\nTo: sip:user@example.edu;tag=2229\n\
         Content-Length: 150\nContent-Type: application/sdp\nContact: <sip:user@host198.example.com>\n\n{SDP}"
    )));
    assert_eq!(m.reason(), "= 2**3 * 5**2 но сто девяносто девять - простое".as_bytes());
    let m = accepted(&octets(
        "SIP/2.0 100 \nVia: SIP/2.0/UDP 192.0.2.105;branch=z9hG4bK2398ndaoe\nCall-ID: noreason.asndj203insdf99223ndf\nCSeq: 35 INVITE\n\
         From: <sip:user@example.com>;tag=39ansfi3\nTo: <sip:user@example.edu>;tag=902jndnke3\nContent-Length: 0\nContact: <sip:user@host105.example.com>\n\n",
    ));
    assert_eq!((m.status(), m.reason()), (100, &b""[..]));
}

#[test]
fn sip_torture_badinv01_and_multi01_are_answered_400() {
    let badinv = "INVITE sip:user@example.com SIP/2.0\nTo: sip:j.user@example.com\nFrom: sip:caller@example.net;tag=134161461246\nMax-Forwards: 7\n\
        Call-ID: badinv01.0ha0isndaksdjasdf3234nas\nCSeq: 8 INVITE\nVia: SIP/2.0/UDP 192.0.2.15;;,;,,\nContact: \"Joe\" <sip:joe@example.org>;;;;\nContent-Length: 0\n\n";
    assert_eq!(refused(badinv), (400, "Malformed Via".into()));
    let multi = "INVITE sip:user@company.com SIP/2.0\nContact: <sip:caller@host25.example.net>\nVia: SIP/2.0/UDP 192.0.2.25;branch=z9hG4bKkdjuw\nMax-Forwards: 70\n\
        CSeq: 5 INVITE\nCall-ID: multi01.98asdh@192.0.2.1\nCSeq: 59 INVITE\nCall-ID: multi01.98asdh@192.0.2.2\nFrom: sip:caller@example.com;tag=3413415\n\
        To: sip:user@example.com\nContent-Length: 0\n\n";
    assert_eq!(refused(multi), (400, "More Than One CSeq".into()));
}
