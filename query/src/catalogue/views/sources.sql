-- The ledger is read once, by opening of a spool. Percentiles cannot be put together from parts, so lags are read by
-- themselves, from the files of the last day alone.
WITH openings AS (
  SELECT
    source_id,
    incarnation,
    max(recorded_at) FILTER (WHERE disposition IN ('accepted', 'duplicate')) AS last_event_at,
    -- A later decision about a record is no sign of its source.
    max(ingested_at) FILTER (WHERE resolves IS NULL) AS last_seen_at,
    count(*) FILTER (WHERE disposition = 'accepted') AS accepted,
    count(*) FILTER (WHERE disposition = 'duplicate') AS duplicate,
    count(*) FILTER (WHERE disposition = 'quarantined') AS quarantined,
    count(*) FILTER (WHERE disposition = 'parked') - count(*) FILTER (WHERE resolves IS NOT NULL) AS parked,
    max(source_seq) FILTER (WHERE source_seq >= 0) - min(source_seq) FILTER (WHERE source_seq >= 0) + 1 AS numbers,
    count(DISTINCT source_seq) FILTER (WHERE source_seq >= 0) AS received
  FROM ledger
  WHERE source_id IS NOT NULL AND disposition <> 'reversed'
  GROUP BY source_id, incarnation
),
seen AS (
  SELECT
    source_id,
    max(last_event_at) AS last_event_at,
    max(last_seen_at) AS last_seen_at,
    sum(accepted) AS accepted,
    sum(duplicate) AS duplicate,
    sum(quarantined) AS quarantined,
    sum(parked) AS parked,
    count(numbers) FILTER (WHERE incarnation IS NOT NULL) AS incarnations,
    sum(received) FILTER (WHERE incarnation IS NOT NULL AND numbers IS NOT NULL) AS sequence_received,
    sum(numbers - received) FILTER (WHERE incarnation IS NOT NULL) AS sequence_missing
  FROM openings
  GROUP BY source_id
),
lags AS (
  SELECT
    source_id,
    max(lag) FILTER (WHERE ingested_at >= now() - INTERVAL '1 hour') AS max_1h,
    approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY lag) AS p50_1d,
    approx_percentile_cont(0.95) WITHIN GROUP (ORDER BY lag) AS p95_1d
  FROM (
    SELECT source_id, ingested_at, date_part('epoch', ingested_at) - date_part('epoch', recorded_at) AS lag
    FROM ledger
    WHERE source_id IS NOT NULL AND resolves IS NULL AND disposition IN ('accepted', 'duplicate')
      AND ingested_at >= now() - INTERVAL '1 day'
  )
  GROUP BY source_id
)
SELECT
  seen.source_id, last_event_at, last_seen_at,
  date_part('epoch', now()) - date_part('epoch', last_seen_at) AS silent_seconds,
  p50_1d AS lag_p50_1d_seconds, p95_1d AS lag_p95_1d_seconds, max_1h AS lag_max_1h_seconds,
  accepted, duplicate, quarantined, parked,
  incarnations, sequence_received, sequence_missing
FROM seen LEFT JOIN lags ON seen.source_id = lags.source_id
