-- A registry that comes back after another one is loaded again: only the last load is in force.
SELECT ref_version, area_code, parent_code, tier, name, kind, valid_from, valid_to, loaded_at
FROM ref_areas
WHERE ref_version = (SELECT ref_version FROM ref_areas ORDER BY loaded_at DESC, ref_version DESC LIMIT 1)
  AND loaded_at = (SELECT max(loaded_at) FROM ref_areas)
