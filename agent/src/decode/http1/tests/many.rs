//! 10,000 exchanges of every kind, split and with losses: no field is another exchange's.

use super::{
    super::super::trial::{Event, Random, Trial, lossy, pieces, rx, splits, tx},
    *,
};

const COUNT: usize = 10_000;

/// A request whose target has a number, and its response, with the number in a field.
fn exchange(number: usize, random: &mut Random) -> [Event; 2] {
    let body = "b".repeat(random.below(60));
    let (method, sent) = match random.below(4) {
        0 => ("GET", "\r\n".to_owned()),
        1 => ("HEAD", "\r\n".to_owned()),
        2 => ("POST", format!("Content-Length: {}\r\n\r\n{body}", body.len())),
        _ => ("PUT", format!("Transfer-Encoding: chunked\r\n\r\n{}", chunked(&body, random))),
    };
    let request = format!("{method} /{number} HTTP/1.1\r\nHost: a\r\nN: {number}\r\n{sent}");
    let answer = "r".repeat(random.below(90));
    let length = format!("Content-Length: {}\r\n\r\n", answer.len());
    let (status, got) = match random.below(5) {
        0 => ("304 Not Modified", length),
        1 => ("204 No Content", "\r\n".to_owned()),
        2 if method != "HEAD" => {
            ("200 OK", format!("Transfer-Encoding: chunked\r\n\r\n{}", chunked(&answer, random)))
        }
        _ if method == "HEAD" => ("200 OK", length),
        _ => ("500 Internal Server Error", length + &answer),
    };
    let early = if random.below(6) == 0 { "HTTP/1.1 100 Continue\r\n\r\n" } else { "" };
    [tx(request), rx(format!("{early}HTTP/1.1 {status}\r\nN: {number}\r\n{got}"))]
}

fn chunked(body: &str, random: &mut Random) -> String {
    let mut all = String::new();
    let mut left = body;
    while !left.is_empty() {
        let (chunk, rest) = left.split_at(1 + random.below(left.len()));
        write!(all, "{:x}\r\n{chunk}\r\n", chunk.len()).unwrap();
        left = rest;
    }
    all + if random.below(2) == 0 { "0\r\n\r\n" } else { "0\r\nT: x\r\n\r\n" }
}

/// So many exchanges; in half of the conversations some requests are sent before earlier ones are
/// answered.
fn talk(count: usize, random: &mut Random) -> Vec<Event> {
    let mut events = Vec::new();
    let pipelines = 2 * random.below(2);
    let mut number = 0;
    while number < count {
        let together = (1 + random.below(8).saturating_sub(5) * pipelines).min(count - number);
        let some: Vec<_> = (number..number + together).map(|n| exchange(n, random)).collect();
        let (asked, answered): (Vec<_>, Vec<_>) = some.into_iter().map(|[a, b]| (a, b)).unzip();
        events.extend(asked.into_iter().chain(answered));
        number += together;
    }
    events
}

fn exchanges(events: &[Event]) -> Vec<Exchange> {
    let of = |message: Message| match message.content {
        Content::Http(exchange) => Some(Exchange { duration_ns: None, ..*exchange }),
        _ => None,
    };
    let mut trial = Trial::of(OPTIONS);
    events.iter().for_each(|event| trial.push(event));
    trial.finish().into_iter().filter_map(of).collect()
}

#[test]
fn splitting_changes_nothing() {
    let mut random = Random(7);
    let events = talk(COUNT, &mut random);
    let whole = exchanges(&events);
    let number = |exchange: &Exchange| {
        exchange.request.as_ref()?.target.as_ref()?[1..].parse::<usize>().ok()
    };
    assert!(whole.iter().filter_map(number).eq(0..COUNT));
    assert!(whole.iter().all(|exchange| exchange.response.is_some()));
    for largest in [1, 30] {
        assert!(exchanges(&pieces(&events, largest, &mut random)) == whole, "pieces to {largest}");
    }
    let few = talk(20, &mut random);
    let whole = exchanges(&few);
    for split in splits(&few) {
        assert_eq!(exchanges(&split), whole, "{split:?}");
    }
}

#[test]
fn gaps_make_nothing_wrong() {
    let mut random = Random(11);
    let (mut told, mut paired) = (0, 0);
    while told < COUNT {
        let events = talk(100, &mut random);
        told += 100;
        let whole = exchanges(&events);
        for exchange in exchanges(&lossy(&events, &mut random, 10)) {
            paired += usize::from(is_part(&exchange, &whole));
        }
    }
    assert!(paired > 3000, "{paired} exchanges are told whole");
}

/// Holds an exchange against those that there were. Whether it has both sides.
fn is_part(told: &Exchange, whole: &[Exchange]) -> bool {
    let numbered = |number: &[u8]| {
        let number: usize = std::str::from_utf8(number).unwrap().parse().unwrap();
        (number, &whole[number])
    };
    let asked = told.request.as_ref().map(|request| {
        let (number, of) = numbered(&request.target.as_ref().unwrap().as_bytes()[1..]);
        let expect = of.request.as_ref().unwrap();
        let body = if request.body.truncated { &request.body } else { &expect.body };
        let expect = Request { body: body.clone(), ..expect.clone() };
        assert_eq!(request, &expect);
        number
    });
    let answered = told.response.as_ref().map(|response| {
        let (number, of) = numbered(response.headers.first("n").unwrap());
        let expect = of.response.as_ref().unwrap();
        let body = if response.body.truncated { &response.body } else { &expect.body };
        let expect = Response { body: body.clone(), ..expect.clone() };
        assert_eq!(response, &expect);
        number
    });
    if let Some((asked, answered)) = asked.zip(answered) {
        assert_eq!(asked, answered);
    }
    asked.is_some() && answered.is_some()
}
