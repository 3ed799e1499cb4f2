//! From the shorthand for one machine to the three lists that services read; and the demo rack itself.

use super::digest_offer::DigestOffer;
use super::limits::Limits;
use super::network::{CcNode, Listener, LoadManager, LocationServer, OneMachine, Planes};
use super::rack::Rack;
use super::service::{Auth, Domain, Mode, Provisioning, SubscriberRange};
use super::tuning::{Dns, Egress, Heartbeat, Log, Registrar, SessionTimers, Timers};
use crate::ids::{NodeId, Transport};
use crate::placement::Policy;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

impl Rack {
    /// The demo rack: loopback, domain `rack.test`, phones 1001 to 1020 with the password `secret`.
    pub fn one_machine_default(nodes: u16) -> Rack {
        let listener = Listener {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 5060,
            transport: Transport::Udp,
            advertise: None,
        };
        let domain = Domain {
            name: "rack.test".into(),
            auth: Auth::Digest,
            digest: DigestOffer::default(),
            provisioning: Provisioning::Closed,
            default: false,
            mode: Mode::Proxy,
            recursion: false,
        };
        Rack {
            name: "demo".into(),
            key: None,
            key_file: None,
            listeners: vec![listener],
            domains: vec![domain],
            registrar: Registrar::default(),
            subscribers: vec![SubscriberRange { first: 1001, last: 1020, domain: None, password: "secret".into() }],
            one_machine: Some(OneMachine { nodes, ..OneMachine::default() }),
            load_managers: Vec::new(),
            cc_nodes: Vec::new(),
            location_servers: Vec::new(),
            nodes: Vec::new(),
            heartbeat: Heartbeat::default(),
            placement: Policy::default(),
            egress: Egress::default(),
            trunks: Vec::new(),
            routes: Vec::new(),
            private_headers: Vec::new(),
            timers: Timers::default(),
            dns: Dns::default(),
            session_timers: SessionTimers::default(),
            limits: Limits::default(),
            log: Log::default(),
        }
    }

    /// The same rack with `one_machine` written out as lists. Ports that would not fit into 16 bits saturate; a rack
    /// without [`Rack::problems`] has none.
    pub fn expand(&self) -> Rack {
        let mut rack = self.clone();
        let Some(one) = rack.one_machine.take() else { return rack };
        let port = |offset: u16| one.base_port.saturating_add(offset);
        let admin = |offset: u16| SocketAddr::new(one.address, port(offset));
        let planes = Planes { a: one.address, b: None };
        rack.load_managers = vec![LoadManager {
            id: 1,
            planes,
            control_port: port(1),
            egress_port: port(10),
            workers: one.workers,
            admin: admin(101),
        }];
        rack.cc_nodes = (1..=one.nodes)
            .map(|i| CcNode {
                id: NodeId(i),
                planes,
                sip_port: port(i.saturating_mul(20).saturating_add(200)),
                workers: one.workers,
                shadow_port: port(i.saturating_mul(20).saturating_add(210)),
                control_port: port(i.saturating_add(20)),
                admin: admin(i.saturating_add(110)),
                class: 1,
                failure_domain: None,
                weight: 100,
            })
            .collect();
        rack.location_servers = vec![LocationServer { id: 1, planes, port: port(2), admin: admin(102), api: one.api }];
        rack
    }
}
