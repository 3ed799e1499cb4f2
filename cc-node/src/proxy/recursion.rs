//! Recursion on 3xx (RFC 3261 §16.7 step 4): where the target's domain or trunk allows it, the Contacts of a redirection
//! take the place of the branch that named them. Each is judged as if the caller had called it: by the caller's rights,
//! the location database and the routes, so a redirection reaches nothing that the caller could not.

use super::context::{Context, LegState};
use super::engine::Proxy;
use crate::record::Redirected;
use crate::service::{self, Choice};
use crate::station::Station;
use crate::turn::Turn;
use common::sip::{Contact, HeaderId, NameAddr, SipMessage, SipUri, Uri};

/// Redirections of one request that are followed, whatever they name.
const MAX_REDIRECTIONS: u8 = 5;
/// Contacts of one redirection that are looked at.
const MAX_CONTACTS: usize = 10;

impl Proxy {
    /// Whether the redirection was followed: then its targets wait in `context.redirected` for [`Proxy::choose`].
    pub(super) fn follow(
        &mut self,
        turn: &mut Turn<'_>,
        station: &Station,
        context: &mut Context,
        at: usize,
        response: &SipMessage,
    ) -> bool {
        let ended = context.final_sent || context.cancelled || context.declined;
        if ended || !context.legs[at].target.recurse || context.redirections == MAX_REDIRECTIONS {
            return false;
        }
        let Some(caller) = context.caller.clone() else { return false };
        let mut choices: Vec<Choice> = Vec::new();
        let mut order = 0u16;
        for uri in contacts(response) {
            let Ok(parsed) = Uri::parse(&uri) else { continue };
            let Ok(plan) = service::decide(station, turn.view, turn.now, &caller, &parsed, Vec::new()) else {
                continue;
            };
            context.decisions.extend(plan.decisions);
            // Behind those before it, in its own order: a trunk's second gateway is for when the first one cannot serve.
            let last = plan.choices.iter().map(|choice| choice.order).max().unwrap_or(0);
            let behind = |choice: Choice| Choice { order: order.saturating_add(choice.order), ..choice };
            choices.extend(plan.choices.into_iter().map(behind));
            order = order.saturating_add(last).saturating_add(1);
        }
        choices.retain(|choice| !is_tried(context, choice));
        choices.truncate(service::MAX_TARGETS.saturating_sub(context.legs.len()));
        if choices.is_empty() {
            return false;
        }
        context.redirections += 1;
        self.take_the_place(context, at, choices);
        true
    }

    /// The new targets go where the redirected branch was, those of lower q behind it.
    fn take_the_place(&mut self, context: &mut Context, at: usize, mut choices: Vec<Choice>) {
        let leg = &mut context.legs[at];
        if let Some(handle) = leg.timer.take() {
            self.timers.cancel(handle);
        }
        leg.state = LegState::Redirected;
        leg.alternatives.clear();
        let (order, branch) = (leg.target.order, leg.target.branch.as_str().into());
        let ranks = choices.iter().map(|choice| choice.order).max().unwrap_or(0);
        for later in &mut context.legs[context.started..] {
            if later.target.order > order {
                later.target.order = later.target.order.saturating_add(ranks);
            }
        }
        choices.iter_mut().for_each(|choice| choice.order = choice.order.saturating_add(order));
        context.redirected = choices;
        context.instead_of = Some(Redirected { branch, ranks });
    }
}

/// §16.5: no URI is tried twice.
fn is_tried(context: &Context, choice: &Choice) -> bool {
    let same = |uri: &str| match (SipUri::parse(uri), SipUri::parse(&choice.uri)) {
        (Ok(a), Ok(b)) => a.same_as(&b),
        _ => uri == choice.uri,
    };
    context.legs.iter().any(|leg| same(&leg.target.uri))
}

/// URIs of a redirection's Contacts, higher q first (none = 1), without headers: those would be ours to answer for.
fn contacts(response: &SipMessage) -> Vec<String> {
    let read = |value| Contact::parse(std::str::from_utf8(value).ok()?).ok()?.addr();
    let mut found: Vec<(u16, NameAddr<'_>)> = response
        .values(HeaderId::Contact)
        .take(MAX_CONTACTS)
        .filter_map(read)
        .map(|contact| (contact.q_thousandths().ok().flatten().unwrap_or(1000), contact))
        .collect();
    found.sort_by_key(|(q, _)| std::cmp::Reverse(*q));
    let bare = |contact: &NameAddr<'_>| match SipUri::parse(contact.uri_text) {
        Ok(uri) => uri.without_headers().to_string(),
        Err(_) => contact.uri_text.to_owned(),
    };
    found.iter().map(|(_, contact)| bare(contact)).collect()
}
