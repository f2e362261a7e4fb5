use mainstay_core::telemetry::RequestId;
use mainstay_core::telemetry::trace_context::{TraceContext, TraceState};
use proptest::prelude::*;

const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[test]
fn a_child_keeps_the_trace_and_names_its_own_span() {
    let caller = TraceContext::parse(CALLER).unwrap().with_state(TraceState::parse("rojo=1"));
    let child = caller.child();
    assert_eq!(child.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_ne!(child.span_id(), caller.span_id());
    assert!(child.is_sampled());
    assert_eq!(child.state().as_str(), "rojo=1");
}

#[test]
fn headers_that_break_the_standard_are_ignored() {
    let ids = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";
    for header in [
        String::new(),
        format!("00-{ids}"),
        format!("00-{ids}-"),
        format!("00-{ids}-1"),
        format!("00-{ids}-0x"),
        format!("ff-{ids}-01"),
        format!("0-{ids}-01"),
        format!(".0-{ids}-01"),
        format!(" 00-{ids}-01"),
        format!("00-{ids}-01 "),
        format!("00-{ids}-01-what-the-future-will-be-like"),
        format!("01-{ids}-01.what-the-future-will-be-like"),
        format!("00-{}-01", ids.to_uppercase()),
        format!("00_{ids}_01"),
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01".into(),
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01".into(),
        format!("00-{}-01", ids.replace('4', "é")),
    ] {
        assert_eq!(TraceContext::parse(&header), None, "{header:?}");
    }
}

#[test]
fn a_later_version_is_read_by_its_known_part() {
    let known = TraceContext::parse(CALLER).unwrap();
    for later in [CALLER.replacen("00", "cc", 1), CALLER.replacen("00", "01", 1) + "-more.of it"] {
        assert_eq!(TraceContext::parse(&later).as_ref(), Some(&known), "{later}");
        assert_eq!(known.to_header(), CALLER, "passed on as version 00");
    }
}

#[test]
fn flags_we_do_not_know_are_not_passed_on() {
    let context = TraceContext::parse(&CALLER.replace("-01", "-fe")).unwrap();
    assert!(!context.is_sampled());
    assert!(context.to_header().ends_with("-00"));
}

#[test]
fn every_root_is_a_new_valid_trace() {
    let (one, other) = (TraceContext::new_root(), TraceContext::new_root().with_sampled(true));
    assert_ne!(one.trace_id(), other.trace_id());
    assert_eq!(TraceContext::parse(&one.to_header()), Some(one));
    assert_eq!(TraceContext::parse(&other.to_header()), Some(other));
}

#[test]
fn an_invalid_member_empties_the_state() {
    for header in ["", " , ,", "a", "=1", "A=1", "a=", "a=1,a=2", "a=1,b", "a=b=c", "a=é", "a=\u{1}"] {
        assert!(TraceState::parse(header).is_empty(), "{header:?}");
    }
    let many: Vec<String> = (0..33).map(|i| format!("k{i}=v")).collect();
    assert!(TraceState::parse(&many.join(",")).is_empty());
    assert_eq!(TraceState::parse(&many[..32].join(", ")).as_str(), many[..32].join(","));
    assert_eq!(
        TraceState::parse("fw529a3039@dt=FfAB, \t 1-a_*/=x y,,").as_str(),
        "fw529a3039@dt=FfAB,1-a_*/=x y"
    );
}

#[test]
fn a_long_state_loses_its_long_members_first_and_then_the_oldest() {
    let long = format!("long={}", "v".repeat(200));
    let short: Vec<String> = (0..6).map(|i| format!("k{i}={}", "v".repeat(90))).collect();
    let header = format!("{},{long},{}", short[0], short[1..].join(","));
    assert_eq!(TraceState::parse(&header).as_str(), short[..5].join(","));
}

proptest! {
    #[test]
    fn no_text_makes_the_parsers_panic(text in any::<String>(), state in "[a-c =,é\u{0}]{0,80}") {
        let _ = TraceContext::parse(&text);
        prop_assert!(TraceState::parse(&text).as_str().len() <= 512);
        let parsed = TraceState::parse(&state);
        prop_assert_eq!(TraceState::parse(parsed.as_str()), parsed, "parsing is idempotent");
    }

    #[test]
    fn one_changed_byte_is_another_context_or_none(at in 0..55_usize, byte in 0_u8..128) {
        let mut header = CALLER.as_bytes().to_vec();
        header[at] = byte;
        let header = String::from_utf8(header).unwrap();
        if let Some(context) = TraceContext::parse(&header) {
            prop_assert_eq!(&context.to_header()[3..53], &header[3..53]);
        }
    }

    #[test]
    fn any_valid_header_round_trips(trace in 1_u128.., span in 1_u64.., sampled: bool) {
        let header = format!("00-{trace:032x}-{span:016x}-0{}", u8::from(sampled));
        prop_assert_eq!(TraceContext::parse(&header).unwrap().to_header(), header);
    }

    #[test]
    fn the_state_to_pass_on_is_bounded(members in prop::collection::vec(("[a-z]{1,20}", "[!-+]{1,256}"), 0..32)) {
        let header: Vec<String> = members.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let state = TraceState::parse(&header.join(","));
        prop_assert!(state.as_str().len() <= 512);
        prop_assert!(state.is_empty() || state.as_str().split(',').all(|member| header.iter().any(|h| h == member)));
    }

    #[test]
    fn a_request_id_is_always_safe_for_headers_and_logs(header in any::<Option<String>>()) {
        let id = RequestId::accept(header.as_deref());
        prop_assert!(RequestId::parse(id.as_str()).is_some());
    }

    #[test]
    fn a_valid_request_id_is_kept(header in "[A-Za-z0-9._-]{1,128}") {
        let id = RequestId::accept(Some(&header));
        prop_assert_eq!(id.to_string(), header);
    }
}

#[test]
fn made_up_request_ids_differ() {
    assert_ne!(RequestId::random(), RequestId::random());
    assert_eq!(RequestId::parse(&"a".repeat(129)), None);
}
