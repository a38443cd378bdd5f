-- What a bearer has settled in a month is the sum of its daily rollups, which are read when its cap is first looked at.
-- A row of its own was written with every commit: for callers with a key each, another page a call.

DROP TABLE bearer_months;
