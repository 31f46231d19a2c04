SELECT
  topic_epoch, partition, "offset", disposition, code, field, reason, resolves, ingested_at, broker_at,
  source_id, incarnation, source_seq, event_id, event_type, op, occurred_at, recorded_at, local_date,
  area_code, home_area_code, street_code, district_code, city_code, province_code,
  payload, payload_bytes, payload_sha256
FROM ledger
WHERE disposition IN ('quarantined', 'parked')
  -- Whoever waited and was decided about later has a row of its own.
  AND NOT EXISTS (
    SELECT 1 FROM ledger AS later WHERE later.resolves IS NOT NULL AND later.disposition <> 'reversed'
      AND later.resolves =
        CASE WHEN ledger.resolves IS NULL THEN concat_ws('/', ledger.topic_epoch, ledger.partition, ledger."offset") END)
