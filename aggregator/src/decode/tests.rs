use siji_schemas::arrow::EventColumns;
use siji_schemas::avro;

use super::*;
use siji_schemas::Event;

fn event(n: u64) -> Event {
    Event {
        event_id: Some(format!("00000000-0000-4000-8000-{n:012}")),
        schema_version: Some(1),
        event_type: Some("visit.made".into()),
        op: Some("assert".into()),
        occurred_at: Some(1_772_323_200_000),
        recorded_at: Some(1_772_323_260_000),
        area_code: Some("330502001005".into()),
        subject_kind: Some("visit".into()),
        subject_id: Some("v-1".into()),
        qualifier: Some("exact".into()),
        ..Event::default()
    }
}

fn value(n: u64, json: bool) -> Vec<u8> {
    if json {
        return serde_json::to_vec(&event(n)).unwrap();
    }
    let mut out = Vec::new();
    avro::encode(&event(n).as_ref(), &mut out).unwrap();
    out
}

fn decode(values: &[Vec<u8>]) -> (Vec<Option<Event>>, Vec<usize>) {
    let mut chunk = Chunk::new(0);
    for (offset, value) in values.iter().enumerate() {
        chunk.push(offset as i64, None, None, Some(value), None);
    }
    let decoded = Decode::new().unwrap().decode(&chunk).unwrap();
    let columns = EventColumns::of(&decoded.events).unwrap();
    assert_eq!(columns.len(), values.len(), "one row a record");
    let rows = (0..columns.len()).map(|row| columns.row(row).to_event());
    let rows = rows
        .map(|event| event.event_id.is_some().then_some(event))
        .collect();
    (rows, decoded.faults.iter().map(|(row, _)| *row).collect())
}

#[test]
fn records_of_both_kinds_and_broken_ones_keep_their_places() {
    let values = vec![
        value(0, false),
        value(1, true),
        b"neither".to_vec(),
        value(3, false),
        value(4, true)[..20].to_vec(),
        Vec::new(),
        value(6, true),
        value(7, false)[..30].to_vec(),
        vec![b'{'; MAX_EVENT_BYTES + 1],
    ];
    let (rows, faults) = decode(&values);
    let expected = [
        Some(0),
        Some(1),
        None,
        Some(3),
        None,
        None,
        Some(6),
        None,
        None,
    ]
    .map(|n| n.map(event));
    assert_eq!((rows, faults), (expected.to_vec(), vec![2, 4, 5, 7, 8]));
}

#[test]
fn chunks_of_one_kind_are_read_whole() {
    for json in [false, true] {
        let values: Vec<_> = (0..100).map(|n| value(n, json)).collect();
        let (rows, faults) = decode(&values);
        assert!(faults.is_empty());
        assert_eq!(rows, (0..100).map(|n| Some(event(n))).collect::<Vec<_>>());
    }
}
