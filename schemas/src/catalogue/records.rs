//! Reading CSV files record by record, with every problem in them.

use super::LoadProblems;

/// Calls `take` with every record that is UTF-8 and has as many fields as the header; the others become problems.
pub(crate) fn each_record(
    file: &str,
    bytes: &[u8],
    header: &[&str],
    problems: &mut LoadProblems,
    mut take: impl FnMut(u64, &csv::StringRecord, &mut LoadProblems),
) {
    const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(bytes);
    let mut first = true;
    for record in reader.byte_records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                problems.add(
                    file,
                    error.position().map_or(0, csv::Position::line),
                    format!("is no valid CSV: {error}"),
                );
                return;
            }
        };
        let line = record.position().map_or(0, csv::Position::line);
        let Ok(record) = csv::StringRecord::from_byte_record(record) else {
            problems.add(file, line, "is not UTF-8: save the file as UTF-8");
            continue;
        };
        if std::mem::take(&mut first) {
            if record.iter().ne(header.iter().copied()) {
                problems.add(
                    file,
                    line,
                    format!("wrong header: expected {}", header.join(",")),
                );
                return;
            }
        } else if record.len() != header.len() {
            problems.add(
                file,
                line,
                format!("has {} fields: expected {}", record.len(), header.len()),
            );
        } else {
            take(line, &record, problems);
        }
    }
    if first {
        problems.add(
            file,
            1,
            format!("is empty: expected the header {}", header.join(",")),
        );
    }
}
