SELECT
  topic_epoch, partition, "offset", disposition, code, field, reason, resolves, ingested_at, broker_at,
  source_id, incarnation, source_seq, event_id, event_type, op, occurred_at, recorded_at, local_date,
  area_code, home_area_code, street_code, district_code, city_code, province_code,
  payload, payload_bytes, payload_sha256
FROM ledger
WHERE disposition IN ('quarantined', 'parked')
