SELECT
  event_id, schema_version, event_type, op, target_event_id, target_occurred_at, occurred_at, recorded_at,
  source_id, incarnation, source_seq, area_code, home_area_code, grid_code, subject_kind, subject_id, case_kind,
  service_code, channel, actor_role, actor_ref, resident_ref, handler_code, handler_tier, due_at, outcome, rating,
  count, amount_fen, minutes, value, unit, qualifier, fee_mode, fund_source, attrs,
  local_date, area_tier, street_code, district_code, city_code, province_code,
  handler_street_code, handler_district_code, handler_city_code, handler_province_code, ref_version, after_lock,
  topic_epoch, partition, "offset", ingested_at, broker_at
FROM ledger
WHERE disposition = 'accepted' AND op <> 'retract'
