//! The bounds: whatever comes, few series, and no request that is not counted.

use std::time::Duration;

use super::{table::PLACES, *};
use crate::{
    decode::{Content, System},
    emit::sample,
};

fn http(status: u16, method: &str) -> Request {
    let mut record = sample::http();
    let exchange = sample::exchange(&mut record);
    exchange.request.as_mut().unwrap().method = Some(method.to_owned());
    exchange.response.as_mut().unwrap().status = Some(status);
    of(&record.message.content)
}

fn of(content: &Content) -> Request {
    Request::of(content).unwrap().0
}

fn container(number: u32) -> Container {
    Container { name: Some(format!("container-{number}")), ..Container::default() }
}

/// Counts one.
fn count(table: &mut Table, container: &Container, request: Request) {
    table.series(Place::of(Some(container)), request).count(Some(1));
}

fn sum(table: &Table) -> u64 {
    table.rows().iter().map(|(_, _, series)| series.requests()).sum()
}

/// The requests of containers with this name.
fn named(table: &Table, name: &str) -> u64 {
    let rows = table.rows().into_iter();
    let named = rows.filter(|(_, place, _)| place.iter().any(|(_, value)| value == name));
    named.map(|(_, _, series)| series.requests()).sum()
}

#[test]
fn many_containers_share_one_name() {
    let mut table = Table::default();
    for number in 0..1_000 {
        count(&mut table, &container(number), http(200, "GET"));
    }
    assert_eq!(table.rows().len(), PLACES + 1);
    assert_eq!((sum(&table), named(&table, "_OTHER")), (1_000, 1_000 - PLACES as u64));
    count(&mut table, &container(3), http(200, "GET"));
    assert_eq!(named(&table, "container-3"), 2, "it keeps its name");
}

#[test]
fn one_container_cannot_take_all_the_room() {
    let mut table = Table::default();
    let mut counted = 0;
    for number in 0..20 {
        for status in 0..=700 {
            for method in ["GET", "POST", "ODD", "MADE-UP"] {
                count(&mut table, &container(number), http(status, method));
                counted += 1;
            }
            if number == 0 && status == 700 {
                assert!(table.rows().len() < 210, "{}", table.rows().len());
            }
        }
    }
    assert!(table.rows().len() < 2_100, "{}", table.rows().len());
    assert_eq!(sum(&table), counted);
}

#[test]
fn silent_containers_give_way() {
    let (mut table, now) = (Table::default(), Instant::now());
    let hours = |number: u64| now + Duration::from_secs(3_600 * number);
    for number in 0..150 {
        count(&mut table, &container(number), http(200, "GET"));
    }
    assert!(!table.retire(hours(1)), "they have just counted");
    count(&mut table, &container(7), http(200, "GET"));
    let late = table.series(Place::of(Some(&container(1))), http(200, "GET"));
    assert!(table.retire(hours(2)), "all but one are silent");
    assert_eq!((sum(&table), named(&table, "container-7")), (151, 2));
    // A stream may be about to count one more where it has counted before.
    late.count(None);
    count(&mut table, &container(149), http(200, "GET"));
    assert!(!table.retire(hours(2)));
    assert_eq!((sum(&table), named(&table, "container-149")), (153, 1));
    assert_eq!(named(&table, "_OTHER"), 150);
}

#[test]
fn room_is_not_made_when_nobody_needs_it() {
    let (mut table, now) = (Table::default(), Instant::now());
    count(&mut table, &container(1), http(200, "GET"));
    assert!(!table.retire(now));
    assert!(!table.retire(now + Duration::from_secs(36_000)));
    assert_eq!(named(&table, "container-1"), 1);
}

#[test]
fn durations_fall_into_buckets_by_their_limits() {
    let series = Series::new(series::REQUEST);
    for duration in [0, 5_000_000, 5_000_001, 10_000_000_000, u64::MAX / 4] {
        series.count(Some(duration));
    }
    series.count(None);
    let Durations { count, buckets, .. } = series.durations();
    assert_eq!((series.requests(), count), (6, 5));
    let filled: Vec<_> = buckets.into_iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(filled, [(0.005, 2), (0.01, 1), (10.0, 1), (f64::INFINITY, 1)]);
}

#[test]
fn what_stands_for_others_says_no_more_than_the_protocol() {
    let [one, other] = [http(200, "GET"), http(500, "POST")].map(Request::folded);
    assert_eq!(one, other);
    let operation = of(&sample::operation(System::Mysql).message.content);
    assert_ne!(one, operation.folded());
}

#[test]
fn pods_have_the_names_of_kubernetes() {
    let pod = Some(sample::pod());
    let in_pod = Container { name: Some("k8s_web_web-0".to_owned()), pod, ..Container::default() };
    let labels = |container| {
        let labels = Place::of(container).labels().into_iter();
        labels.map(|(_, value)| value.into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(labels(Some(&in_pod)), ["web", "shop", "web-0"]);
    assert_eq!(labels(None), ["", "", ""]);
    let id = Some("0123456789abcdef".to_owned());
    let unnamed = Container { id, ..Container::default() };
    assert_eq!(labels(Some(&unnamed)), ["0123456789ab", "", ""]);
}
