-- Added to `events` where the ledger has reversals: what was corrected or retracted does not count any more.
  AND NOT EXISTS (
    SELECT 1 FROM ledger AS later WHERE later.disposition = 'reversed' AND later.event_id = ledger.event_id
      -- An id is one event only within these.
      AND later.partition = ledger.partition AND later.local_date = ledger.local_date)
