#!lua flags=allow-oom
-- fetch(job id, fence, fetch id, sealed url, life ms, most waiting)
-- Ask worker-system for what lies behind a URL of a running job; never for a private one. Sent twice it asks once.
-- The message is for the task workers.tasks.fetch(fetch id); it holds nothing else.
-- KEYS  job:<id> hash · fetch:<fetch id> hash · system list
-- Reply "ok" | "lost" another holds the job, or nobody | "private" | "full" nobody gets to what waits already
-- include base
-- include envelope
local id, fence, fetch, url, life_ms, most = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
local job = redis.call('HMGET', P .. 'job:' .. id, 'state', 'fence', 'private', 'tenant')
if job[1] ~= 'running' or job[2] ~= fence then return 'lost' end
if job[3] == '1' then return 'private' end
local key = P .. 'fetch:' .. fetch
if redis.call('EXISTS', key) == 1 then return 'ok' end
if redis.call('LLEN', P .. 'system') >= most then return 'full' end
redis.call('HSET', key, 'tenant', job[4], 'job', id, 'url', url, 'life', life_ms)
redis.call('PEXPIRE', key, life_ms)
redis.call('LPUSH', P .. 'system', envelope('workers.tasks.fetch', '\\"' .. fetch .. '\\"', fetch, 'system', fetch))
return 'ok'
