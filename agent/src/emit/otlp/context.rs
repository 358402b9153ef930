//! Header fields in, the trace that a request belongs to out: W3C Trace Context, and B3 in both of its
//! forms. What is not exactly as they say is ignored: anybody can write it.

use crate::decode::Fields;

/// Bytes of `tracestate` that are kept: as much as everybody has to pass on (Trace Context, section
/// 3.3.1.5).
const STATE: usize = 512;

/// What the header fields of a request say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Context {
    /// Absent when the request belongs to no trace.
    pub(super) parent: Option<Parent>,
    /// Whether somebody decided that this trace is not recorded.
    pub(super) unsampled: bool,
}

/// The span that a request was sent from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parent {
    pub(super) trace: [u8; 16],
    pub(super) span: [u8; 8],
    /// The flags of `traceparent`.
    pub(super) flags: u8,
    /// `tracestate`; empty when there is none.
    pub(super) state: String,
}

/// Bit 0 of the flags.
const SAMPLED: u8 = 1;

impl Context {
    /// `traceparent` is believed first.
    pub(super) fn of(headers: &Fields) -> Self {
        w3c(headers).or_else(|| b3(headers)).or_else(|| b3_fields(headers)).unwrap_or_default()
    }

    fn new(parent: Option<Parent>, unsampled: bool) -> Self {
        Self { parent, unsampled }
    }
}

fn w3c(headers: &Fields) -> Option<Context> {
    let text = only(headers, "traceparent")?;
    let mut parts = text.split('-');
    let (version, trace, span, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let [version] = hex::<1>(version)?;
    let [flags] = hex::<1>(flags)?;
    // "Version ff is invalid", and later ones may have more behind the flags (section 3.2.2).
    if version == 0xff || (version == 0 && parts.next().is_some()) || !lower(text) {
        return None;
    }
    let flags = if version == 0 { flags & 3 } else { flags & SAMPLED };
    let (trace, span, state) = (id(trace)?, id(span)?, state(headers));
    Some(Context::new(Some(Parent { trace, span, flags, state }), flags & SAMPLED == 0))
}

/// The fields joined in their order; nothing if that is too long, or no list.
fn state(headers: &Fields) -> String {
    let mut state = String::new();
    for value in headers.all("tracestate") {
        let Some(text) = std::str::from_utf8(value).ok().filter(|text| is_state(text)) else {
            return String::new();
        };
        if !state.is_empty() && !text.is_empty() {
            state.push(',');
        }
        state.push_str(text);
        if state.len() > STATE {
            return String::new();
        }
    }
    state
}

fn is_state(text: &str) -> bool {
    let printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
    printable && text.split(',').all(|member| member.trim().is_empty() || member.contains('='))
}

/// `b3: {TraceId}-{SpanId}-{SamplingState}-{ParentSpanId}`, the last two may be missing; or the state
/// alone.
fn b3(headers: &Fields) -> Option<Context> {
    let text = only(headers, "b3")?;
    if let Some(sampled) = sampled(text) {
        return Some(Context::new(None, !sampled));
    }
    let mut parts = text.split('-');
    let (trace, span) = (b3_trace(parts.next()?)?, id(parts.next()?)?);
    let sampled = parts.next().map_or(Some(true), sampled)?;
    if parts.next().is_some_and(|parent| hex::<8>(parent).is_none()) || parts.next().is_some() {
        return None;
    }
    Some(Context::new(Some(by_b3(trace, span, sampled)), !sampled))
}

/// `X-B3-TraceId` and its like.
fn b3_fields(headers: &Fields) -> Option<Context> {
    let sampled = match (only(headers, "x-b3-flags"), only(headers, "x-b3-sampled")) {
        (Some("1"), _) => true,
        (_, Some(state)) => sampled(state)?,
        (_, None) => true,
    };
    let trace = only(headers, "x-b3-traceid").and_then(b3_trace);
    let span = only(headers, "x-b3-spanid").and_then(id);
    let parent = trace.zip(span).map(|(trace, span)| by_b3(trace, span, sampled));
    Some(Context::new(parent, !sampled))
}

const fn by_b3(trace: [u8; 16], span: [u8; 8], sampled: bool) -> Parent {
    Parent { trace, span, flags: sampled as u8, state: String::new() }
}

/// `d` asks for debugging, which includes it. Words are of older senders.
fn sampled(state: &str) -> Option<bool> {
    match state {
        "1" | "d" | "true" => Some(true),
        "0" | "false" => Some(false),
        _ => None,
    }
}

/// Those of 64 bits are the lower half.
fn b3_trace(text: &str) -> Option<[u8; 16]> {
    let Some(short) = hex::<8>(text) else { return id(text) };
    let mut whole = [0; 16];
    whole.iter_mut().skip(8).zip(short).for_each(|(to, from)| *to = from);
    (short != [0; 8]).then_some(whole)
}

/// An identifier: not all zeroes.
fn id<const N: usize>(text: &str) -> Option<[u8; N]> {
    hex(text).filter(|id| *id != [0; N])
}

/// Exactly so many bytes, in hexadecimal.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let digit =
        |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = digit(high)? << 4 | digit(low)?;
    }
    Some(bytes)
}

fn lower(text: &str) -> bool {
    !text.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// The value of a field that is there once: of several, nobody knows which one is meant.
fn only<'a>(headers: &'a Fields, name: &'a str) -> Option<&'a str> {
    let mut values = headers.all(name);
    let value = values.next().filter(|_| values.next().is_none())?;
    std::str::from_utf8(value).ok().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    fn context(fields: &[(&'static str, &str)]) -> Context {
        Context::of(&fields.iter().map(|(name, value)| (*name, value.as_bytes())).collect())
    }

    /// The trace and the span in hexadecimal, and the flags.
    fn parent(fields: &[(&'static str, &str)]) -> Option<(String, String, u8)> {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let Parent { trace, span, flags, .. } = context(fields).parent?;
        Some((hex(&trace), hex(&span), flags))
    }

    fn known(flags: u8) -> Option<(String, String, u8)> {
        Some((TRACE.to_owned(), SPAN.to_owned(), flags))
    }

    #[test]
    fn traceparent() {
        let w3c = |text: &str| parent(&[("traceparent", text)]);
        assert_eq!(w3c(&format!("00-{TRACE}-{SPAN}-01")), known(1));
        assert_eq!(w3c(&format!(" 00-{TRACE}-{SPAN}-03\t")), known(3));
        assert_eq!(w3c(&format!("00-{TRACE}-{SPAN}-00")), known(0));
        assert_eq!(w3c(&format!("cc-{TRACE}-{SPAN}-ff-what-comes")), known(1));
        let zeroes = "0".repeat(32);
        for wrong in [
            String::new(),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("0-{TRACE}-{SPAN}-01"),
            format!("00-{zeroes}-{SPAN}-01"),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{TRACE}0-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-g1"),
            format!("00-{}-{SPAN}-01", TRACE.replace('0', "\u{e9}")),
            format!("00{TRACE}{SPAN}01"),
        ] {
            assert_eq!(w3c(&wrong), None, "{wrong}");
            assert!(!context(&[("traceparent", &wrong)]).unsampled, "{wrong}");
        }
        let good = format!("00-{TRACE}-{SPAN}-01");
        assert_eq!(parent(&[("traceparent", &good), ("traceparent", &good)]), None);
    }

    #[test]
    fn tracestate() {
        let good = format!("00-{TRACE}-{SPAN}-01");
        let state = |states: &[&str]| {
            let fields = states.iter().map(|state| ("tracestate", *state));
            let fields: Vec<_> =
                [("traceparent", good.as_str())].into_iter().chain(fields).collect();
            context(&fields).parent.unwrap().state
        };
        assert_eq!(state(&["a=1,b@c=2", "d=3"]), "a=1,b@c=2,d=3");
        assert_eq!(state(&[""]), "");
        assert_eq!(state(&["a=1,,b=2"]), "a=1,,b=2");
        for wrong in ["\u{1b}[31m=1", "a", &format!("a={}", "1".repeat(STATE))] {
            assert_eq!(state(&["a=1", wrong]), "", "{wrong}");
        }
    }

    #[test]
    fn b3_in_one_field() {
        let b3 = |text: &str| parent(&[("b3", text)]);
        assert_eq!(b3(&format!("{TRACE}-{SPAN}-1")), known(1));
        assert_eq!(b3(&format!("{TRACE}-{SPAN}-d-05e3ac9a4f6e3b90")), known(1));
        assert_eq!(b3(&format!("{TRACE}-{SPAN}-0")), known(0));
        assert_eq!(b3(&format!("{TRACE}-{SPAN}")), known(1));
        let short = Some((format!("{}{SPAN}", "0".repeat(16)), SPAN.to_owned(), 1));
        assert_eq!(b3(&format!("{SPAN}-{SPAN}-1")), short);
        for wrong in [
            TRACE.to_owned(),
            format!("{TRACE}-{SPAN}-2"),
            format!("{TRACE}-{SPAN}-1-x"),
            format!("{TRACE}-{SPAN}-1-{SPAN}-1"),
            format!("{TRACE}1-{SPAN}-1"),
            format!("0000000000000000-{SPAN}-1"),
        ] {
            assert_eq!(b3(&wrong), None, "{wrong}");
        }
        assert_eq!(context(&[("b3", "0")]), Context { parent: None, unsampled: true });
        assert_eq!(context(&[("b3", "1")]), Context::default());
        assert!(context(&[("b3", &format!("{TRACE}-{SPAN}-0"))]).unsampled);
    }

    #[test]
    fn b3_in_several_fields() {
        let ids = [("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN)];
        let with = |more: &[(&'static str, &'static str)]| [&ids, more].concat();
        assert_eq!(parent(&ids), known(1));
        assert_eq!(parent(&with(&[("x-b3-sampled", "0")])), known(0));
        assert!(context(&with(&[("x-b3-sampled", "false")])).unsampled);
        assert_eq!(parent(&with(&[("x-b3-sampled", "0"), ("x-b3-flags", "1")])), known(1));
        assert_eq!(parent(&with(&[("x-b3-sampled", "maybe")])), None);
        assert_eq!(parent(&[("x-b3-traceid", TRACE)]), None);
        assert!(context(&[("x-b3-sampled", "0")]).unsampled);
    }

    #[test]
    fn one_that_is_wrong_gives_way_to_the_next() {
        let good = format!("{TRACE}-{SPAN}-0");
        assert_eq!(parent(&[("traceparent", "00"), ("b3", &good)]), known(0));
        let other = format!("00-{}-{SPAN}-01", TRACE.replace('0', "1"));
        assert_ne!(parent(&[("traceparent", &other), ("b3", &good)]), known(0));
        assert_eq!(context(&[]), Context::default());
    }
}
