#!lua flags=allow-oom
-- audit({field, value} …)
-- Add a row to the audit, also in a full Redis. About 1,000,000 at most are kept.
-- KEYS  audit:rows stream
-- Reply the row's id
-- include base
return redis.call('XADD', P .. 'audit:rows', 'MAXLEN', '~', 1000000, '*', 'at', now_ms(), unpack(ARGV))
