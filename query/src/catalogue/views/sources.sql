WITH seen AS (
  SELECT
    source_id,
    max(recorded_at) AS last_event_at,
    max(ingested_at) AS last_seen_at,
    count(*) FILTER (WHERE disposition = 'accepted') AS accepted,
    count(*) FILTER (WHERE disposition = 'duplicate') AS duplicate,
    count(*) FILTER (WHERE disposition = 'quarantined') AS quarantined,
    count(*) FILTER (WHERE disposition = 'parked') AS parked,
    max(date_part('epoch', ingested_at) - date_part('epoch', recorded_at))
      FILTER (WHERE ingested_at >= now() - INTERVAL '1 hour') AS lag_max_1h_seconds,
    approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY date_part('epoch', ingested_at) - date_part('epoch', recorded_at))
      FILTER (WHERE ingested_at >= now() - INTERVAL '1 day') AS lag_p50_1d_seconds,
    approx_percentile_cont(0.95) WITHIN GROUP (ORDER BY date_part('epoch', ingested_at) - date_part('epoch', recorded_at))
      FILTER (WHERE ingested_at >= now() - INTERVAL '1 day') AS lag_p95_1d_seconds
  FROM ledger
  WHERE source_id IS NOT NULL AND resolves IS NULL
  GROUP BY source_id
),
numbered AS (
  SELECT
    source_id,
    count(*) AS incarnations,
    sum(received) AS sequence_received,
    sum(last - first + 1 - received) AS sequence_missing
  FROM (
    SELECT source_id, incarnation, min(source_seq) AS first, max(source_seq) AS last,
      count(DISTINCT source_seq) AS received
    FROM ledger
    WHERE source_id IS NOT NULL AND incarnation IS NOT NULL AND source_seq IS NOT NULL
    GROUP BY source_id, incarnation
  )
  GROUP BY source_id
)
SELECT
  seen.source_id, last_event_at, last_seen_at,
  date_part('epoch', now()) - date_part('epoch', last_seen_at) AS silent_seconds,
  lag_p50_1d_seconds, lag_p95_1d_seconds, lag_max_1h_seconds,
  accepted, duplicate, quarantined, parked,
  incarnations, sequence_received, sequence_missing
FROM seen LEFT JOIN numbered ON seen.source_id = numbered.source_id
