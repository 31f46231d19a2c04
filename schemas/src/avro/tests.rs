use arrow::array::{Array, AsArray, RecordBatch};
use arrow_avro::reader::ReaderBuilder;
use arrow_avro::schema::{AvroSchema, Fingerprint, FingerprintAlgorithm, SchemaStore};
use proptest::prelude::*;

use super::*;
use crate::arrow::{EventBatchBuilder, EventColumns, event_schema};
use crate::event::{COLUMNS, Event};

fn event(n: u64) -> Event {
    Event {
        event_id: Some(format!("00000000-0000-4000-8000-{n:012}")),
        schema_version: Some(1),
        event_type: Some("service.delivered".into()),
        op: Some("assert".into()),
        occurred_at: Some(1_772_323_200_000 + n as i64),
        recorded_at: Some(1_772_323_260_000),
        source_id: Some("c-330502001005".into()),
        incarnation: Some(i64::MAX),
        source_seq: Some(n as i64),
        area_code: Some("330502001005".into()),
        subject_kind: Some("service".into()),
        subject_id: Some(format!("s-{n}")),
        count: Some(-3),
        minutes: Some(i32::MIN),
        value: Some(-129),
        unit: Some("m2".into()),
        qualifier: Some("exact".into()),
        attrs: [
            ("line".to_owned(), "服务 2221890".to_owned()),
            ("b".to_owned(), String::new()),
        ]
        .into(),
        ..Event::default()
    }
}

fn message(event: &Event) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&event.as_ref(), &mut out).unwrap();
    out
}

fn decode(messages: &[Vec<u8>]) -> (Vec<Event>, Vec<usize>) {
    let (mut events, mut faults) = (Vec::new(), Vec::new());
    for (index, message) in messages.iter().enumerate() {
        match read(message) {
            Ok(message) => events.push(message.as_ref().to_event()),
            Err(_) => faults.push(index),
        }
    }
    (events, faults)
}

/// What another reader of the same schema makes of a message.
fn by_arrow_avro(message: &[u8]) -> Option<RecordBatch> {
    let mut store = SchemaStore::new();
    store
        .register(AvroSchema::new(SCHEMA_V1.to_owned()))
        .unwrap();
    let mut decoder = ReaderBuilder::new()
        .with_writer_schema_store(store)
        .with_reader_schema(AvroSchema::new(SCHEMA_V1.to_owned()))
        .with_tz(arrow_avro::codec::Tz::Utc)
        .build_decoder()
        .unwrap();
    let used = decoder.decode(message).ok()?;
    let batch = decoder.flush().ok()??;
    (used == message.len() && batch.num_rows() == 1).then_some(batch)
}

/// The first row, with the map's keys sorted as in an owned event.
fn first_row(batch: &RecordBatch) -> Event {
    EventColumns::of(batch).unwrap().row(0).to_event()
}

#[test]
fn a_place_put_in_later_makes_the_same_message() {
    for place in [(1, 1), (i64::MAX, 300), (-1, i64::MIN)] {
        let whole = Event {
            incarnation: Some(place.0),
            source_seq: Some(place.1),
            ..event(7)
        };
        for given in [&event(7), &whole] {
            let mut message_in_parts = b"before".to_vec();
            let unplaced = Unplaced::encode(&given.as_ref()).unwrap();
            unplaced.place(place.0, place.1, &mut message_in_parts);
            assert_eq!(
                message_in_parts,
                [b"before", message(&whole).as_slice()].concat()
            );
        }
    }
    let incomplete = Event::default();
    assert_eq!(
        Unplaced::encode(&incomplete.as_ref()).unwrap_err().0,
        "event_id"
    );
}

#[test]
fn the_fingerprint_of_layout_1_is_pinned() {
    let computed = AvroSchema::new(SCHEMA_V1.to_owned())
        .fingerprint(FingerprintAlgorithm::Rabin)
        .unwrap();
    assert_eq!(
        computed,
        Fingerprint::Rabin(FINGERPRINT_V1),
        "the schema file changed: write a new layout instead"
    );
}

#[test]
fn the_columns_stand_in_the_same_order_everywhere() {
    let schema: serde_json::Value = serde_json::from_str(SCHEMA_V1).unwrap();
    let avro: Vec<&str> = schema["fields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|field| field["name"].as_str().unwrap())
        .collect();
    let arrow = event_schema();
    let arrow: Vec<&str> = arrow
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    assert_eq!(avro, COLUMNS);
    assert_eq!(arrow, COLUMNS);
}

#[test]
fn an_event_passes_through_avro_and_arrow_unchanged() {
    let mut events: Vec<Event> = (0..20_000).map(event).collect();
    events[7] = Event {
        value: Some(i64::MAX),
        amount_fen: Some(i64::MIN),
        attrs: Default::default(),
        ..event(7)
    };
    events[7].value = Some(999_999_999_999_999_999);
    let messages: Vec<Vec<u8>> = events.iter().map(message).collect();
    let (read, faults) = decode(&messages);
    assert!(faults.is_empty());
    assert_eq!(read, events);
    let mut builder = EventBatchBuilder::default();
    for event in &events {
        builder.append(&event.as_ref()).unwrap();
    }
    let batch = builder.finish().unwrap();
    let columns = EventColumns::of(&batch).unwrap();
    let stored: Vec<Event> = (0..columns.len())
        .map(|row| columns.row(row).to_event())
        .collect();
    assert_eq!(stored, events);
}

#[test]
fn another_reader_of_the_schema_reads_the_same() {
    let full = Event {
        value: Some(-999_999_999_999_999_999),
        amount_fen: Some(i64::MIN),
        target_occurred_at: Some(-1),
        ..event(7)
    };
    for event in [
        event(0),
        full,
        Event {
            attrs: Default::default(),
            ..event(3)
        },
    ] {
        let batch = by_arrow_avro(&message(&event)).unwrap();
        assert_eq!(first_row(&batch), event);
        assert_eq!(batch.column_by_name("attrs").unwrap().as_map().len(), 1);
    }
}

#[test]
fn a_map_in_blocks_that_tell_their_size_is_read() {
    let mut blocks = message(&Event {
        attrs: Default::default(),
        ..event(1)
    });
    assert_eq!(blocks.pop(), Some(0));
    // Two blocks of one entry each: minus one, six bytes, "a" = "xy"; then one, "b" = "".
    blocks.extend([1, 10, 2, b'a', 4, b'x', b'y', 2, 2, b'b', 0, 0]);
    let read = read(&blocks).unwrap().as_ref().to_event();
    assert_eq!(
        read.attrs,
        [
            ("a".to_owned(), "xy".to_owned()),
            ("b".to_owned(), String::new())
        ]
        .into()
    );
    assert_eq!(first_row(&by_arrow_avro(&blocks).unwrap()), read);
}

#[test]
fn what_a_message_lacks_is_told_by_column() {
    let whole = message(&event(1));
    assert_eq!(
        read(&whole[..15]).unwrap_err(),
        ReadError::Truncated("event_id")
    );
    assert_eq!(
        read(&[&whole[..], &[0]].concat()).unwrap_err(),
        ReadError::Longer
    );
    assert_eq!(read(b"{}").unwrap_err(), ReadError::Framing);
    let mut other = whole.clone();
    other[5] ^= 1;
    assert_eq!(read(&other).unwrap_err(), ReadError::UnknownSchema);
}

#[test]
fn texts_are_utf_8_whatever_their_length() {
    let find = |bytes: &[u8], text: &str| {
        let mut windows = bytes.windows(text.len());
        windows.position(|part| part == text.as_bytes()).unwrap()
    };
    for text in [
        "a",
        "abcdefg",
        "abcdefghi",
        "abcdefghijklmnopqrstuvwxyz0123456789",
    ] {
        let subject_id = format!("{text}-id");
        let message = message(&Event {
            subject_id: Some(subject_id.clone()),
            ..event(1)
        });
        let at = find(&message, &subject_id);
        for byte in at..at + subject_id.len() {
            let mut broken = message.clone();
            broken[byte] = 0xFF;
            assert_eq!(read(&broken).err(), Some(ReadError::Text("subject_id")));
        }
    }
}

#[test]
fn a_missing_required_column_is_named_and_leaves_the_buffer_as_it_was() {
    let mut out = vec![1, 2];
    let without = Event {
        area_code: None,
        ..event(1)
    };
    assert_eq!(
        encode(&without.as_ref(), &mut out),
        Err(EncodeError("area_code"))
    );
    assert_eq!(out, [1, 2]);
}

#[test]
fn bad_messages_among_good_ones_are_found_and_the_good_ones_kept() {
    let mut messages: Vec<Vec<u8>> = (0..500).map(|n| message(&event(n))).collect();
    messages[3].truncate(40);
    messages[100].push(0);
    messages[101] = Vec::new();
    messages[200] = b"{}".to_vec();
    messages[300][5] ^= 1;
    let id = messages[499].windows(4).position(|w| w == b"0000").unwrap();
    messages[499][id] = 0xFF;
    let (read, faults) = decode(&messages);
    assert_eq!(faults, [3, 100, 101, 200, 300, 499]);
    let expected: Vec<Event> = (0..500)
        .filter(|n| !faults.contains(&(*n as usize)))
        .map(event)
        .collect();
    assert_eq!(read, expected);
}

#[test]
fn a_decimal_of_too_many_digits_is_a_fault() {
    let mut wide = message(&Event {
        value: Some(0x0102_0304_0506_0708),
        ..event(1)
    });
    let at = wide
        .windows(8)
        .position(|w| w == [1, 2, 3, 4, 5, 6, 7, 8])
        .unwrap();
    wide[at] = 0x7F;
    assert_eq!(decode(&[message(&event(0)), wide]).1, [1]);
}

#[test]
fn every_truncation_is_a_fault_and_the_neighbours_survive() {
    let whole = message(&event(1));
    for length in 0..whole.len() {
        let (read, faults) = decode(&[
            message(&event(0)),
            whole[..length].to_vec(),
            message(&event(2)),
        ]);
        assert_eq!((read.len(), faults), (2, vec![1]), "cut at {length}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn no_bytes_break_the_decoder_or_its_neighbours(
        flips in proptest::collection::vec((0usize..300, any::<u8>()), 1..8),
        tail in proptest::collection::vec(any::<u8>(), 0..60),
        cut in 10usize..300,
    ) {
        let mut bad = message(&event(1));
        for (at, byte) in flips {
            let at = at % bad.len();
            bad[at] = byte;
        }
        bad.truncate(cut);
        bad.extend(tail);
        let other = by_arrow_avro(&bad);
        let mine = read(&bad).map(|message| message.as_ref().to_event());
        if let (Ok(mine), Some(other)) = (mine, other) {
            prop_assert_eq!(mine, first_row(&other));
        }
        let (read, faults) = decode(&[message(&event(0)), bad, message(&event(2))]);
        prop_assert_eq!(&read[0], &event(0));
        prop_assert_eq!(read.last().unwrap(), &event(2));
        prop_assert_eq!(read.len() + faults.len(), 3);
    }
}
