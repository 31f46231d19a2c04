SELECT
  register, area_code, area_tier, street_code, district_code, city_code, province_code,
  as_of, lead(as_of) OVER (PARTITION BY register, area_code ORDER BY as_of) AS superseded_on,
  value, unit, qualifier, attrs, event_id, recorded_at, source_id, ref_version, after_lock, topic_epoch, partition, "offset"
FROM (
  SELECT *, row_number() OVER (
    PARTITION BY register, area_code, as_of ORDER BY recorded_at DESC, event_id DESC) AS place
  FROM registers
  WHERE NOT EXISTS (
    SELECT 1 FROM registers AS later WHERE later.qualifier = 'reversed' AND later.event_id = registers.event_id
      -- An id is one event only within these.
      AND later.partition = registers.partition AND later.as_of = registers.as_of)
)
WHERE place = 1
